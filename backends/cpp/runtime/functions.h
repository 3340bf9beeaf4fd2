// Arithmetic with the corner cases of the tile dialect, and elementary functions.
//
// exp, exp2, log, tanh and erf of floats are polynomials fitted here (minimax, by weighted least
// squares): within 2 ulp, exact at NaN and infinities. Other functions are the C library's.
#pragma once

#include "quotients.h"

namespace aicc {

// ------------------------------------------------------------------ arithmetic

// The greater and the lesser of floats; y where either is NaN.
AICC_INLINE vec<float> greater(vec<float> x, vec<float> y) {
#if defined(AICC_AVX512)
  x.part[0] = (vec<float>::native)_mm512_max_ps((__m512)x.part[0], (__m512)y.part[0]);
  return x;
#else
  return select(x > y, x, y);
#endif
}
AICC_INLINE vec<float> lesser(vec<float> x, vec<float> y) {
#if defined(AICC_AVX512)
  x.part[0] = (vec<float>::native)_mm512_min_ps((__m512)x.part[0], (__m512)y.part[0]);
  return x;
#else
  return select(x < y, x, y);
#endif
}

template <class T>
AICC_INLINE vec<T> maximum(vec<T> x, vec<T> y) {
  if constexpr (std::is_same<T, float>::value) return select(x != x, x, greater(x, y));
  vec<T> z = select(x > y, x, y);
  if constexpr (std::is_floating_point<T>::value) z = select(x != x, x, z);
  return z;
}
template <class T>
AICC_INLINE vec<T> minimum(vec<T> x, vec<T> y) {
  if constexpr (std::is_same<T, float>::value) return select(x != x, x, lesser(x, y));
  vec<T> z = select(x < y, x, y);
  if constexpr (std::is_floating_point<T>::value) z = select(x != x, x, z);
  return z;
}
AICC_INLINE mask maximum(mask x, mask y) { return x | y; }
AICC_INLINE mask minimum(mask x, mask y) { return x & y; }

template <class T>
AICC_INLINE T absolute(T x) {
  return std::is_floating_point<T>::value ? std::fabs(x) : x < 0 ? T(-x) : x;
}
AICC_INLINE float absolute(float x) { return std::fabs(x); }
AICC_INLINE double absolute(double x) { return std::fabs(x); }
template <class T>
AICC_INLINE vec<T> absolute(vec<T> x) {
  if constexpr (std::is_same<T, float>::value)
    return bitcast<float>(bitcast<uint32_t>(x) & 0x7fffffffu);
  else if constexpr (std::is_same<T, double>::value)
    return bitcast<double>(bitcast<uint64_t>(x) & 0x7fffffffffffffffull);
  else
    return select(x < T(0), T(0) - x, x);
}

#if defined(AICC_AVX512)
#define AICC_ROUND(name, call, mode)                                                     \
  AICC_INLINE float name(float x) { return call; }                                       \
  AICC_INLINE double name(double x) { return call; }                                     \
  AICC_INLINE vec<float> name(vec<float> x) {                                            \
    x.part[0] = (vec<float>::native)_mm512_roundscale_ps((__m512)x.part[0], mode);       \
    return x;                                                                            \
  }                                                                                      \
  AICC_INLINE vec<double> name(vec<double> x) {                                          \
    for (int i = 0; i < 2; ++i)                                                          \
      x.part[i] = (vec<double>::native)_mm512_roundscale_pd((__m512d)x.part[i], mode);   \
    return x;                                                                            \
  }
#else
#define AICC_ROUND(name, call, mode)                                                     \
  AICC_INLINE float name(float x) { return call; }                                       \
  AICC_INLINE double name(double x) { return call; }                                     \
  template <class T>                                                                     \
  AICC_INLINE vec<T> name(vec<T> x) {                                                    \
    return each<T>(x, [](T e) { return name(e); });                                      \
  }
#endif
AICC_ROUND(round_even, std::nearbyint(x), 8)
AICC_ROUND(floor, std::floor(x), 9)
AICC_ROUND(ceil, std::ceil(x), 10)
AICC_ROUND(trunc, std::trunc(x), 11)
#undef AICC_ROUND

AICC_INLINE float sqrt(float x) { return std::sqrt(x); }
AICC_INLINE double sqrt(double x) { return std::sqrt(x); }
template <class T>
AICC_INLINE vec<T> sqrt(vec<T> x) {
#if defined(AICC_AVX512)
  if constexpr (std::is_same<T, float>::value) {
    x.part[0] = (typename vec<T>::native)_mm512_sqrt_ps((__m512)x.part[0]);
    return x;
  }
  if constexpr (std::is_same<T, double>::value) {
    for (auto& part : x.part) part = (typename vec<T>::native)_mm512_sqrt_pd((__m512d)part);
    return x;
  }
#endif
  return each<T>(x, [](T e) { return std::sqrt(e); });
}
template <class T>
AICC_INLINE T rsqrt(T x) {
  return T(1) / sqrt(x);
}

// Shifts by less than the width: the caller sees to more.
template <class T, class = std::enable_if_t<std::is_integral<T>::value>>
AICC_INLINE T shift_left(T x, T by) {
  return T(std::make_unsigned_t<T>(x) << (by & T(sizeof(T) * 8 - 1)));
}
template <class T, class = std::enable_if_t<std::is_integral<T>::value>>
AICC_INLINE T shift_right(T x, T by) {
  return T(x >> (by & T(sizeof(T) * 8 - 1)));
}
template <class T>
AICC_INLINE vec<T> shift_left(vec<T> x, vec<T> by) {
  return x << (by & T(sizeof(T) * 8 - 1));
}
template <class T>
AICC_INLINE vec<T> shift_right(vec<T> x, vec<T> by) {
  return x >> (by & T(sizeof(T) * 8 - 1));
}

// ------------------------------------------------------------------ elementary functions

// x * 2^n for whole n from -250 to 250, and 0 where some is false, whatever x and n are there. What
// would become 0 is left out so: a multiplication that underflows takes 200 clocks.
AICC_INLINE vec<float> scaled(mask some, vec<float> x, vec<float> n) {
#if defined(AICC_AVX512)
  const __m512 y = _mm512_maskz_scalef_ps(some.bits, (__m512)x.part[0], (__m512)n.part[0]);
  x.part[0] = (vec<float>::native)y;
  return x;
#else
  vec<int32_t> whole, half;
  vec<float> safe = select(some & (n == n), n, 0.0f);
  for (int i = 0; i < W; ++i) whole.set(i, int32_t(safe.lane(i)));
  half = whole >> 1;
  vec<float> low = bitcast<float>((half + 127) << 23);
  return select(some, x * low * bitcast<float>((whole - half + 127) << 23), 0.0f);
#endif
}

// e^r for |r| <= ln(2) / 2.
AICC_INLINE vec<float> exp_near(vec<float> r) {
  vec<float> p = 1.3946073786942541e-3f + r * 1.9918385654047518e-4f;
  p = 8.3332643542309119e-3f + r * p;
  p = 4.1666269935057329e-2f + r * p;
  p = 1.6666666860701440e-1f + r * p;
  p = 5.0000000779054332e-1f + r * p;
  p = 1.0f + r * p;
  return 1.0f + r * p;
}

// e^x for x that some is true of, which are 89 at most: where it is false 0.
AICC_INLINE vec<float> exp_where(mask some, vec<float> x) {
  vec<float> n = round_even(x * 1.44269504f);
  vec<float> r = x - n * 0.693145752f;  // ln(2) in two parts, the first of 16 bits
  r = r - n * 1.42860677e-6f;
  return scaled(some, exp_near(r), n);
}

// 0 below the least float; masked scores of attention are all -inf. NaN stays.
AICC_INLINE vec<float> exp(vec<float> x) {
  return exp_where(~(x < -104.0f), lesser(vec<float>(89.0f), x));
}

AICC_INLINE vec<float> exp2(vec<float> x) {
  const mask some = ~(x < -150.0f);
  x = lesser(vec<float>(128.0f), x);
  vec<float> n = round_even(x);
  return scaled(some, exp_near((x - n) * 0.693147181f), n);
}

AICC_INLINE vec<float> log(vec<float> x) {
  mask tiny = x < 1.17549435e-38f;
  vec<float> a = select(tiny, x * 8388608.0f, x);
  vec<int32_t> bits = bitcast<int32_t>(a);
  vec<int32_t> e = (bits - 0x3f3504f3) >> 23;  // so that the mantissa lies around 1
  vec<float> f = bitcast<float>(bits - (e << 23)) - 1.0f;
  vec<float> n = convert<float>(e) - select(tiny, vec<float>(23.0f), 0.0f);
  vec<float> p = -0.11789841011215935f + f * 0.06915427470973241f;
  p = 0.11872967245874158f + f * p;
  p = -0.12384342268740738f + f * p;
  p = 0.14218658562146771f + f * p;
  p = -0.16669251186188194f + f * p;
  p = 0.2000222659987051f + f * p;
  p = -0.24999986592958662f + f * p;
  p = 0.3333331044013907f + f * p;
  vec<float> square = f * f;
  vec<float> y = n * 1.42860677e-6f + f * square * p - 0.5f * square;
  y = n * 0.693145752f + (f + y);
  const float inf = std::numeric_limits<float>::infinity();
  y = select(x == inf, x, y);
  y = select(x == 0.0f, vec<float>(-inf), y);
  return select(x >= 0.0f, y, vec<float>(std::numeric_limits<float>::quiet_NaN()));
}

AICC_INLINE vec<float> with_sign(vec<float> size, vec<float> sign) {
  return bitcast<float>(bitcast<uint32_t>(size) | (bitcast<uint32_t>(sign) & 0x80000000u));
}

AICC_INLINE vec<float> tanh(vec<float> x) {
  vec<float> a = absolute(x), s = x * x;
  vec<float> p = -0.00818267640100446f + s * 0.00214753892944202f;
  p = 0.02170296827632644f + s * p;
  p = -0.05394720451707041f + s * p;
  p = 0.13333209766134227f + s * p;
  p = -0.33333330906746766f + s * p;
  vec<float> far = 1.0f - 2.0f / (exp_where(true, lesser(vec<float>(88.0f), a + a)) + 1.0f);
  return select(a < 0.625f, x * (1.0f + s * p), with_sign(far, x));
}

AICC_INLINE vec<float> erf(vec<float> x) {
  vec<float> a = absolute(x), s = x * x;
  vec<float> p = -8.1819279887496838e-4f + s * 8.5388416764031695e-5f;
  p = 5.2044361005953652e-3f + s * p;
  p = -2.6860752848543140e-2f + s * p;
  p = 1.1283719723953661e-1f + s * p;
  p = -3.7612635310471765e-1f + s * p;
  p = 0.12837916680237838f + s * p;
  vec<float> near = x + x * p;
  vec<float> t = lesser(vec<float>(4.0f), a);
  vec<float> q = -4.3231036987140020e-4f + t * 2.0910270979688475e-5f;
  q = 4.1605588401101637e-3f + t * q;
  q = -2.5091571804686477e-2f + t * q;
  q = 1.0823672338369332e-1f + t * q;
  q = 6.3338656154719819e-1f + t * q;
  q = 1.1294951969759612f + t * q;
  q = -1.7055915747306132e-4f + t * q;
  vec<float> far = with_sign(1.0f - exp_where(true, -q), x);  // q is 16 at most
  return select(a < 0.9f, near, far);
}

// What is rare, out of the way of what isn't.
template <class F>
__attribute__((noinline, cold)) vec<float> one_by_one(vec<float> x, F f) {
  return each<float>(x, f);
}
template <class F>
__attribute__((noinline, cold)) vec<float> one_by_one(vec<float> x, vec<float> y, F f) {
  return each<float>(x, y, f);
}

// sin and cos: x less a multiple of pi/2, in double, then a polynomial; far out, the library's.
AICC_INLINE vec<float> sine(vec<float> x, int turn) {
  vec<float> a = absolute(x);
  if (any(a > 65536.0f))
    return one_by_one(x, [turn](float e) { return turn ? std::cos(e) : std::sin(e); });
  vec<float> n = round_even(x * 0.636619772f);
  vec<double> wide = convert<double>(n);
  wide = convert<double>(x) - wide * 1.5707963267948966 - wide * 6.123233995736766e-17;
  vec<float> r = convert<float>(wide);
  vec<int32_t> quarter = convert<int32_t>(select(x == x, n, 0.0f)) + turn;
  vec<float> s = r * r;
  vec<float> p = -1.9839327130651872e-4f + s * 2.7182372216474647e-6f;
  p = 8.3333293622612648e-3f + s * p;
  p = -1.6666666641426334e-1f + s * p;
  vec<float> sine = r * (1.0f + s * p);
  p = 2.4799511767743764e-5f + s * -2.7209548052124621e-7f;
  p = -1.3888883722642865e-3f + s * p;
  p = 4.1666666622477450e-2f + s * p;
  vec<float> cosine = 1.0f - (0.5f * s - s * s * p);
  vec<float> y = select((quarter & 1) == 0, sine, cosine);
  y = select((quarter & 2) == 0, y, -y);
  return turn ? y : select(x == 0.0f, x, y);  // the sign of zero stays
}
AICC_INLINE vec<float> sin(vec<float> x) { return sine(x, 0); }
AICC_INLINE vec<float> cos(vec<float> x) { return sine(x, 1); }

#define AICC_ALSO(name)                                                          \
  AICC_INLINE float name(float x) { return name(vec<float>(x)).lane(0); }        \
  AICC_INLINE double name(double x) { return std::name(x); }                     \
  AICC_INLINE vec<double> name(vec<double> x) {                                  \
    return each<double>(x, [](double e) { return std::name(e); });               \
  }
AICC_ALSO(exp)
AICC_ALSO(exp2)
AICC_ALSO(log)
AICC_ALSO(tanh)
AICC_ALSO(erf)
AICC_ALSO(sin)
AICC_ALSO(cos)
#undef AICC_ALSO

// ------------------------------------------------------------------ across lanes

// In pairs: the one half with the other, then the quarters of what that gives, and so on.
template <class T, class F>
AICC_INLINE T across(vec<T> x, F f) {
  T all[W];
  for (int i = 0; i < W; ++i) all[i] = T(x.lane(i));
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) all[i] = f(all[i], all[i + half]);
  return all[0];
}
template <class T>
AICC_INLINE T sum(vec<T> x) {
#if defined(AICC_AVX512)
  if constexpr (std::is_same<T, float>::value) return _mm512_reduce_add_ps((__m512)x.part[0]);
#endif
  return across(x, [](T a, T b) { return T(a + b); });
}
template <class T>
AICC_INLINE T product(vec<T> x) {
  return across(x, [](T a, T b) { return T(a * b); });
}
template <class T>
AICC_INLINE T maximum(vec<T> x) {
#if defined(AICC_AVX512)
  if constexpr (std::is_same<T, float>::value) {
    const __m512 y = (__m512)x.part[0];
    return any(x != x) ? std::numeric_limits<float>::quiet_NaN() : _mm512_reduce_max_ps(y);
  }
#endif
  return across(x, [](T a, T b) { return maximum(a, b); });
}
template <class T>
AICC_INLINE T minimum(vec<T> x) {
#if defined(AICC_AVX512)
  if constexpr (std::is_same<T, float>::value) {
    const __m512 y = (__m512)x.part[0];
    return any(x != x) ? std::numeric_limits<float>::quiet_NaN() : _mm512_reduce_min_ps(y);
  }
#endif
  return across(x, [](T a, T b) { return minimum(a, b); });
}

// The greatest or least element so far and where it is; NaN wins, then the first index or the last.
// Each lane has its own, of the elements that it was given.
template <class T, bool most>
struct extreme {
  vec<T> best;
  vec<int64_t> places;
  mask seen = mask(false);

  template <class L>
  AICC_INLINE void look(L lanes, vec<T> x, vec<int64_t> at) {
    const mask here = lanes.active(), nan = x != x, had = best != best;
    const mask better = (most ? x > best : x < best) | (nan & ~had) | ~seen;
    const mask same = (x == best) | (nan & had);
    mask taken = here & better;
    if (any(same)) taken = taken | (here & same & (at < places));
    best = select(taken, x, best);
    places = select(taken, at, places);
    seen = seen | here;
  }
  // The lane that has the best of all; -1 if none was given anything.
  AICC_INLINE int lane() const {
    int found = -1;
    for (int i = 0; i < W; ++i) {
      if (!seen.lane(i)) continue;
      const auto x = best.lane(i), y = best.lane(found < 0 ? i : found);
      const bool same = x == y || (x != x && y != y);
      const bool better = x != x ? y == y : y == y && (most ? x > y : x < y);
      if (found < 0 || better || (same && places.lane(i) < places.lane(found))) found = i;
    }
    return found;
  }
  AICC_INLINE T value() const { return lane() < 0 ? T() : T(best.lane(lane())); }
  AICC_INLINE int64_t at() const { return lane() < 0 ? 0 : places.lane(lane()); }
};

}  // namespace aicc
