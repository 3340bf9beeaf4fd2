// Further functions on floats, lane by lane within 2 units in the last place.
//
// Polynomials are minimax ones of f(t) / t in t^2, fitted here by weighted least squares; what
// loses digits in float is computed in double. Those of double are the library's.
#pragma once

#include "functions.h"

namespace aicc {

#define AICC_LIBRARY1(name, call)                                      \
  AICC_INLINE float name(float x) { return name(vec<float>(x)).lane(0); } \
  AICC_INLINE double name(double x) { return call; }                   \
  AICC_INLINE vec<double> name(vec<double> x) {                        \
    return each<double>(x, [](double e) { return name(e); });          \
  }
#define AICC_LIBRARY2(name, call)                                      \
  AICC_INLINE float name(float x, float y) {                           \
    return name(vec<float>(x), vec<float>(y)).lane(0);                 \
  }                                                                    \
  AICC_INLINE double name(double x, double y) { return call; }         \
  AICC_INLINE vec<double> name(vec<double> x, vec<double> y) {         \
    return each<double>(x, y, [](double a, double b) { return name(a, b); }); \
  }

constexpr float INF = std::numeric_limits<float>::infinity();

AICC_INLINE mask is_odd(vec<float> whole) {  // of numbers below 2^31; larger ones are even
  const vec<float> near = select(absolute(whole) < 16777216.0f, whole, 0.0f);
  return (convert<int32_t>(near) & 1) != 0;
}
AICC_INLINE mask is_negative(vec<float> x) { return bitcast<int32_t>(x) < 0; }

// p[0] + p[1] s + p[2] s^2 ...
template <class T, int N>
AICC_INLINE vec<T> polynomial(vec<T> s, const T (&p)[N]) {
  vec<T> y = vec<T>(p[N - 1]);
  for (int i = N - 2; i >= 0; --i) y = p[i] + s * y;
  return y;
}

// ------------------------------------------------------------------ exponentials

AICC_INLINE vec<float> expm1(vec<float> x) {
  // 2^n (e^r - 1) + (2^n - 1); beyond 20 the 1 doesn't count, and below -20 nothing else does.
  vec<float> a = lesser(vec<float>(20.0f), x);
  a = greater(vec<float>(-20.0f), a);
  const vec<float> n = round_even(a * 1.44269504f);
  vec<float> r = a - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  const float P[] = {5.0000000779054332e-1f, 1.6666666860701440e-1f, 4.1666269935057329e-2f,
                     8.3332643542309119e-3f, 1.3946073786942541e-3f, 1.9918385654047518e-4f};
  const vec<float> near = r + r * r * polynomial(r, P), two = scaled(true, vec<float>(1.0f), n);
  const vec<float> y = select(n == 0.0f, near, two * near + (two - 1.0f));
  return select(x > 20.0f, exp(x), select(x == 0.0f, x, y));
}

// e^x / 2, which is finite a little farther out than e^x.
AICC_INLINE vec<float> half_exp(vec<float> x) {
  const mask some = ~(x < -103.0f);
  x = lesser(vec<float>(90.0f), x);
  const vec<float> n = round_even(x * 1.44269504f);
  vec<float> r = x - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  return scaled(some, exp_near(r), n - 1.0f);
}

AICC_INLINE vec<float> sinh(vec<float> x) {
  const vec<float> a = absolute(x), s = x * x;
  const float P[] = {0.16666666488718868f, 0.008333350598022267f, 0.00019836066254155855f,
                     2.8174396097114123e-06f};
  const vec<float> h = half_exp(a);
  return select(a < 1.0f, x + x * s * polynomial(s, P), with_sign(h - 0.25f / h, x));
}
AICC_INLINE vec<float> cosh(vec<float> x) {
  const vec<float> h = half_exp(absolute(x));
  return h + 0.25f / h;
}

// ------------------------------------------------------------------ logarithms

// The natural logarithm of doubles that are normal and positive, to 40 bits.
AICC_INLINE vec<double> log_wide(vec<double> x) {
  const vec<int64_t> bits = bitcast<int64_t>(x);
  const vec<int64_t> e = (bits - 0x3fe6a09e667f3bcd) >> 52;  // so that the mantissa lies around 1
  const vec<double> m = bitcast<double>(bits - (e << 52)), s = (m - 1.0) / (m + 1.0), q = s * s;
  const double P[] = {2.0,      2.0 / 3,  2.0 / 5,  2.0 / 7, 2.0 / 9,
                      2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17};
  const vec<double> n = bitcast<double>(e + 0x4338000000000000) - 0x1.8p52;
  return n * 0.69314718055994531 + s * polynomial(q, P);
}

AICC_INLINE vec<float> log1p(vec<float> x) {
  // log(u) of u = 1 + x rounded, and what rounding lost: u + c is 1 + x exactly.
  const vec<float> u = 1.0f + x, b = u - 1.0f;
  const vec<float> c = (1.0f - (u - b)) + (x - b);
  const vec<int32_t> bits = bitcast<int32_t>(u);
  const vec<int32_t> e = (bits - 0x3f3504f3) >> 23;
  const vec<float> f = bitcast<float>(bits - (e << 23)) - 1.0f;
  const vec<float> n = convert<float>(e);
  const float P[] = {0.3333331044013907f,   -0.24999986592958662f, 0.2000222659987051f,
                     -0.16669251186188194f, 0.14218658562146771f,  -0.12384342268740738f,
                     0.11872967245874158f,  -0.11789841011215935f, 0.06915427470973241f};
  // c / m, where it counts at all; 1 / m is nearly 1 - f + f^2.
  const mask counts = absolute(n) < 30.0f;
  const vec<float> small = select(counts, c * scaled(counts, vec<float>(1.0f), -n), 0.0f);
  const vec<float> square = f * f;
  vec<float> y = n * 1.42860677e-6f + small * (1.0f - f + square);
  y = y + (f * square * polynomial(f, P) - 0.5f * square);
  y = n * 0.693145752f + (f + y);
  y = select(x == INF, x, y);
  y = select(x == -1.0f, vec<float>(-INF), y);
  y = select(x == 0.0f, x, y);
  return select(x >= -1.0f, y, vec<float>(std::numeric_limits<float>::quiet_NaN()));
}

AICC_INLINE vec<float> log2(vec<float> x) {
  const mask normal = (x > 0.0f) & (x < INF);
  const vec<double> wide = log_wide(convert<double>(select(normal, x, 1.0f)));
  vec<float> y = convert<float>(wide * 1.4426950408889634);
  y = select(x == INF, x, y);
  y = select(x == 0.0f, vec<float>(-INF), y);
  return select(x >= 0.0f, y, vec<float>(std::numeric_limits<float>::quiet_NaN()));
}

AICC_INLINE vec<float> asinh(vec<float> x) {
  const vec<float> a = absolute(x);
  const vec<double> w = convert<double>(select(a < INF, a, 1.0f));
  const vec<float> far = convert<float>(log_wide(w + sqrt(w * w + 1.0)));
  const vec<float> y = select(a < 1e-3f, x * (1.0f - x * x * 0.166666667f), with_sign(far, x));
  return select(a < INF, y, x);
}
AICC_INLINE vec<float> acosh(vec<float> x) {
  const mask inside = (x >= 1.0f) & (x < INF);
  const vec<double> w = convert<double>(select(inside, x, 1.0f));
  const vec<float> y = convert<float>(log_wide(w + sqrt((w - 1.0) * (w + 1.0))));
  const vec<float> nan = vec<float>(std::numeric_limits<float>::quiet_NaN());
  return select(inside, y, select(x == INF, x, nan));
}
AICC_INLINE vec<float> atanh(vec<float> x) {
  const vec<float> a = absolute(x);
  const mask inside = a < 1.0f;
  const vec<double> w = convert<double>(select(inside, x, 0.0f));
  const vec<float> far = convert<float>(log_wide((1.0 + w) / (1.0 - w)) * 0.5);
  const vec<float> y = select(a < 1e-3f, x * (1.0f + x * x * 0.333333333f), far);
  const vec<float> nan = vec<float>(std::numeric_limits<float>::quiet_NaN());
  return select(inside, y, select(a == 1.0f, with_sign(vec<float>(INF), x), nan));
}

// ------------------------------------------------------------------ powers

// x^y as 2^(y log2 |x|) in double, with the sign of an odd power; ends as in C's pow.
AICC_INLINE vec<float> power(vec<float> x, vec<float> y) {
  const vec<float> a = absolute(x);
  if (any((a == INF) | (absolute(y) == INF) | (x != x) | (y != y)))
    return one_by_one(x, y, [](float p, float q) { return std::pow(p, q); });
  const vec<double> base = convert<double>(select(a == 0.0f, vec<float>(1.0f), a));
  vec<double> t = convert<double>(y) * (log_wide(base) * 1.4426950408889634);
  t = select(t < 200.0, t, 200.0);
  t = select(t > -200.0, t, -200.0);
  const vec<float> n = round_even(convert<float>(t));
  const double P[] = {1.0,
                      0.69314718055994531,
                      0.24022650695910072,
                      0.055504108664821580,
                      0.0096181291076284772,
                      0.0013333558146428443,
                      0.00015403530393381610,
                      1.5252733804059840e-05,
                      1.3215486790144309e-06,
                      1.0178086009239700e-07};
  const vec<float> p = convert<float>(polynomial(t - convert<double>(n), P));
  vec<float> z = scaled(~(n < -151.0f), p, n);
  const vec<float> at_zero = select(y > 0.0f, vec<float>(0.0f), select(y < 0.0f, INF, 1.0f));
  z = select(a == 0.0f, at_zero, z);
  const vec<float> whole = round_even(y);
  z = select(is_negative(x) & (whole == y) & is_odd(whole), -z, z);
  const mask undefined = (x < 0.0f) & (whole != y);
  return select(undefined, vec<float>(std::numeric_limits<float>::quiet_NaN()), z);
}

// ------------------------------------------------------------------ circular functions

AICC_INLINE vec<float> tan(vec<float> x) {
  if (any(absolute(x) > 65536.0f)) return one_by_one(x, [](float e) { return std::tan(e); });
  const vec<float> n = round_even(x * 0.636619772f);
  vec<double> wide = convert<double>(n);
  wide = convert<double>(x) - wide * 1.5707963267948966 - wide * 6.123233995736766e-17;
  const vec<double> s = wide * wide;
  const double P[] = {0.33333351587069615,  0.13332604817706747,     0.054066134547316666,
                      0.021251835122503483, 0.010910670283097326,    -1.2337438665651398e-06,
                      0.004419292341952908};
  const vec<double> t = wide + wide * s * polynomial(s, P);
  const mask turned = (convert<int32_t>(select(x == x, n, 0.0f)) & 1) != 0;
  return select(x == 0.0f, x, select(turned, convert<float>(-1.0 / t), convert<float>(t)));
}

constexpr double ASIN[] = {0.16666753924893443, 0.07495241879891082, 0.04547708623604517,
                           0.024147659156703888, 0.04221847360176556};
// asin(t) for t^2 = s of 1/4 at most.
AICC_INLINE vec<float> asin_near(vec<float> t, vec<float> s) {
  const float P[] = {float(ASIN[0]), float(ASIN[1]), float(ASIN[2]), float(ASIN[3]), float(ASIN[4])};
  return t + t * s * polynomial(s, P);
}
AICC_INLINE vec<float> asin(vec<float> x) {
  const vec<float> a = absolute(x);
  const vec<double> s = convert<double>(0.5f - 0.5f * a), t = sqrt(s);
  const vec<float> far = convert<float>(1.5707963267948966 - 2.0 * (t + t * s * polynomial(s, ASIN)));
  return select(a < 0.5f, asin_near(x, x * x), with_sign(far, x));
}
AICC_INLINE vec<float> acos(vec<float> x) {
  const vec<float> a = absolute(x), s = 0.5f - 0.5f * a, t = sqrt(s);
  const vec<float> half = asin_near(t, s), far = half + half;
  const vec<float> near = 1.57079637f - (asin_near(x, x * x) + 4.37113883e-8f);
  const vec<float> left = 3.14159274f - (far + 8.74227766e-8f);
  return select(a < 0.5f, near, select(is_negative(x), left, far));
}

// atan(t) for t from 0 to 1.
AICC_INLINE vec<float> atan_near(vec<float> t) {
  const vec<float> s = t * t;
  const float P[] = {-0.33333301865535714f, 0.19998638577649056f,  -0.14265244838633026f,
                     0.1095757300800483f,   -0.08419449129360185f, 0.058234371378519695f,
                     -0.03145551795104722f, 0.011064340249528971f, -0.0018271901021013428f};
  return t + t * s * polynomial(s, P);
}
AICC_INLINE vec<float> atan(vec<float> x) {
  const vec<float> a = absolute(x);
  const mask far = a > 1.0f;
  const vec<float> y = atan_near(select(far, 1.0f / a, a));
  return with_sign(select(far, 1.57079637f - (y + 4.37113883e-8f), y), x);
}
AICC_INLINE vec<float> atan2(vec<float> y, vec<float> x) {
  const vec<float> a = absolute(y), b = absolute(x);
  const mask steep = a > b;
  const vec<float> low = select(steep, b, a), high = select(steep, a, b);
  vec<float> t = select(high == 0.0f, vec<float>(0.0f), low / high);
  t = select((high == INF) & (low == INF), vec<float>(1.0f), t);
  vec<float> z = atan_near(t);
  z = select(steep, 1.57079637f - (z + 4.37113883e-8f), z);
  z = select(is_negative(x), 3.14159274f - (z + 8.74227766e-8f), z);
  z = with_sign(z, y);
  return select((x != x) | (y != y), x + y, z);
}

// ------------------------------------------------------------------ remainders

// x - y trunc(x / y), exactly: in double, where the quotient has 27 bits at most.
AICC_INLINE vec<float> fmod(vec<float> x, vec<float> y) {
  const vec<double> a = convert<double>(x), b = convert<double>(y), q = trunc(a / b);
  if (!all_of((absolute(q) < 134217728.0) & (absolute(y) < INF)))
    return one_by_one(x, y, [](float p, float r) { return std::fmod(p, r); });
  const vec<float> rest = convert<float>(a - q * b);
  return with_sign(absolute(rest), x);
}

AICC_LIBRARY1(expm1, std::expm1(x))
AICC_LIBRARY1(log1p, std::log1p(x))
AICC_LIBRARY1(log2, std::log2(x))
AICC_LIBRARY1(tan, std::tan(x))
AICC_LIBRARY1(asin, std::asin(x))
AICC_LIBRARY1(acos, std::acos(x))
AICC_LIBRARY1(atan, std::atan(x))
AICC_LIBRARY1(sinh, std::sinh(x))
AICC_LIBRARY1(cosh, std::cosh(x))
AICC_LIBRARY1(asinh, std::asinh(x))
AICC_LIBRARY1(acosh, std::acosh(x))
AICC_LIBRARY1(atanh, std::atanh(x))
AICC_LIBRARY2(fmod, std::fmod(x, y))
AICC_LIBRARY2(atan2, std::atan2(x, y))
AICC_LIBRARY2(power, std::pow(x, y))
#undef AICC_LIBRARY1
#undef AICC_LIBRARY2

}  // namespace aicc
