// Conversions between element types: floats of 16 and 8 bits, integers by truncation, signedness.
#pragma once

#include "memory.h"

namespace aicc {

AICC_INLINE float to_float(f16 x) {
#if defined(__F16C__)
  return _cvtsh_ss(x.bits);
#else
  uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = x.bits & 0x7fff;
  if (rest >= 0x7c00) return bitcast<float>(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest >= 0x0400) return bitcast<float>(sign | ((rest << 13) + (112u << 23)));
  float small = float(rest) * 0x1p-24f;
  return sign ? -small : small;
#endif
}
AICC_INLINE float to_float(bf16 x) { return bitcast<float>(uint32_t(x.bits) << 16); }

AICC_INLINE f16 to_f16(float x) {
#if defined(__F16C__)
  return f16{uint16_t(_cvtss_sh(x, 0))};
#else
  uint32_t u = bitcast<uint32_t>(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
  if (a > 0x7f800000) return f16{uint16_t(sign | 0x7e00 | (a >> 13 & 0x3ff))};
  if (a >= 0x477ff000) return f16{uint16_t(sign | 0x7c00)};
  if (a >= 0x38800000) {
    uint32_t r = a - (112u << 23);
    return f16{uint16_t(sign | (r + 0xfff + (r >> 13 & 1)) >> 13)};
  }
  return f16{uint16_t(sign | uint32_t(std::nearbyint(bitcast<float>(a) * 0x1p24f)))};
#endif
}
AICC_INLINE bf16 to_bf16(float x) {
  uint32_t u = bitcast<uint32_t>(x);
  if (x != x) return bf16{uint16_t((u >> 16 & 0x8000) | 0x7fc0)};
  return bf16{uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}

// OCP 8-bit floating point, section 5: e4m3 has no infinity, and its largest pattern is NaN.
AICC_INLINE float to_float(f8e4m3 x) {
  uint32_t sign = uint32_t(x.bits & 0x80) << 24, rest = x.bits & 0x7f;
  if (rest == 0x7f) return bitcast<float>(sign | 0x7fc00000);
  return bitcast<float>(sign | rest << 20) * 0x1p120f;
}
AICC_INLINE float to_float(f8e5m2 x) { return to_float(f16{uint16_t(x.bits << 8)}); }

AICC_INLINE f8e4m3 to_f8e4m3(float x) {
  uint32_t u = bitcast<uint32_t>(x), sign = u >> 24 & 0x80, a = u & 0x7fffffff;
  if (a > 0x43e80000) return f8e4m3{uint8_t(sign | 0x7f)};  // beyond 464
  if (a >= 0x3c800000) {
    uint32_t r = a - (120u << 23);
    return f8e4m3{uint8_t(sign | (r + 0x7ffff + (r >> 20 & 1)) >> 20)};
  }
  return f8e4m3{uint8_t(sign | uint32_t(std::nearbyint(bitcast<float>(a) * 0x1p9f)))};
}
AICC_INLINE f8e5m2 to_f8e5m2(float x) {
  uint32_t u = bitcast<uint32_t>(x), sign = u >> 24 & 0x80, a = u & 0x7fffffff;
  if (a > 0x7f800000) return f8e5m2{uint8_t(sign | 0x7e)};
  if (a >= 0x47700000) return f8e5m2{uint8_t(sign | 0x7c)};  // 61440 and beyond
  if (a >= 0x38800000) {
    uint32_t r = a - (112u << 23);
    return f8e5m2{uint8_t(sign | (r + 0xfffff + (r >> 21 & 1)) >> 21)};
  }
  return f8e5m2{uint8_t(sign | uint32_t(std::nearbyint(bitcast<float>(a) * 0x1p16f)))};
}
template <class T>
constexpr bool is_float8 = std::is_same<T, f8e4m3>::value || std::is_same<T, f8e5m2>::value;

// Integers wrap; floats are cut toward zero, and what doesn't fit is as the CPU has it.
template <class To, class From>
AICC_INLINE To convert(From x) {
  if constexpr (std::is_same<From, To>::value)
    return x;
  else if constexpr (std::is_same<From, f16>::value || std::is_same<From, bf16>::value ||
                     is_float8<From>)
    return convert<To>(to_float(x));
  else if constexpr (std::is_same<To, f16>::value) {
#if defined(__x86_64__) && defined(__FLT16_MAX__)
    if constexpr (std::is_same<From, double>::value) return bitcast<f16>(_Float16(x));
#endif
    return to_f16(float(x));
  } else if constexpr (std::is_same<To, bf16>::value)
    return to_bf16(float(x));
  else if constexpr (std::is_same<To, f8e4m3>::value)
    return to_f8e4m3(float(x));
  else if constexpr (std::is_same<To, f8e5m2>::value)
    return to_f8e5m2(float(x));
  else if constexpr (std::is_same<To, bool>::value)
    return x != From(0);
  else if constexpr (std::is_floating_point<From>::value && std::is_integral<To>::value) {
    if constexpr (sizeof(To) < 4)
      return To(convert<int32_t>(x));
    else if constexpr (std::is_same<To, uint32_t>::value)
      return To(convert<int64_t>(x));
    else if constexpr (std::is_same<To, uint64_t>::value)
      return x >= From(0x1p63) ? To(convert<int64_t>(x - From(0x1p63))) ^ (To(1) << 63)
                               : To(convert<int64_t>(x));
    else {
      constexpr From limit = sizeof(To) == 4 ? From(0x1p31) : From(0x1p63);
      return x >= -limit && x < limit ? To(x) : std::numeric_limits<To>::min();
    }
  } else
    return To(x);
}

template <class T>
constexpr bool is_half = std::is_same<T, f16>::value || std::is_same<T, bf16>::value;
template <class T>
constexpr bool is_short = std::is_integral<T>::value && sizeof(T) < 4;

// An integer of so many bytes, signed as T is.
template <class T, int SIZE>
using sized = std::conditional_t<
    std::is_signed<T>::value,
    std::conditional_t<SIZE == 2, int16_t, std::conditional_t<SIZE == 4, int32_t, int64_t>>,
    std::conditional_t<SIZE == 2, uint16_t, std::conditional_t<SIZE == 4, uint32_t, uint64_t>>>;

// By which type elements go on their way; compilers have no instruction for larger steps, and take
// elements one by one.
template <class From, class To>
constexpr auto between() {
  constexpr bool integers = std::is_integral<From>::value && std::is_integral<To>::value;
  if constexpr (integers && sizeof(To) > 2 * sizeof(From))
    return sized<From, 2 * sizeof(From)>();
  else if constexpr (integers && 2 * sizeof(To) < sizeof(From))
    return sized<To, sizeof(From) / 2>();
  else if constexpr (is_short<From> && std::is_floating_point<To>::value)
    return int32_t();
  else if constexpr (std::is_floating_point<From>::value && is_short<To>)
    return int32_t();
  else if constexpr ((is_half<From> || is_float8<From>) && !std::is_same<To, float>::value)
    return float();
  else if constexpr ((is_half<To> || is_float8<To>) && !std::is_floating_point<From>::value)
    return float();
  else
    return From();
}

template <class To, class From>
AICC_INLINE lanes_of<To> convert(vec<From> x);

AICC_INLINE vec<float> from_f8e4m3(vec<f8e4m3> x) {
  vec<uint32_t> u = convert<uint32_t>(bitcast<uint8_t>(x)), rest = u & 0x7f;
  vec<uint32_t> sign = (u & 0x80) << 24;
  vec<float> y = bitcast<float>(sign | rest << 20) * 0x1p120f;
  return select(rest == vec<uint32_t>(0x7f), bitcast<float>(sign | 0x7fc00000), y);
}
AICC_INLINE vec<f8e4m3> to_f8e4m3(vec<float> x) {
  vec<uint32_t> u = bitcast<uint32_t>(x), sign = u >> 24 & 0x80, a = u & 0x7fffffff;
  vec<uint32_t> r = a - (120u << 23);
  r = (r + 0x7ffff + (r >> 20 & 1)) >> 20;
  vec<uint32_t> small = bitcast<uint32_t>(bitcast<float>(a) * 0x1p9f + 0x1p23f) - 0x4b000000u;
  r = select(a < vec<uint32_t>(0x3c800000), small, r);
  r = select(a > vec<uint32_t>(0x43e80000), vec<uint32_t>(0x7f), r) | sign;
  return bitcast<f8e4m3>(convert<uint8_t>(r));
}

#if defined(__AVX2__)
// Steps for which there is an instruction that compilers don't find.
template <class From, class To>
constexpr bool has_step = std::is_integral<From>::value && std::is_integral<To>::value &&
                          ((is_short<From> && sizeof(To) == 4 && sizeof(From) < sizeof(To)) ||
                           (BYTES == 64 && is_short<To> && sizeof(From) == 4));

template <class To, class From>
AICC_INLINE vec<To> step(vec<From> x) {
  vec<To> y;
#if defined(AICC_AVX512)
  constexpr int TO = sizeof(To);
  if constexpr (sizeof(From) == 4 && TO == 1)
    y.part[0] = (typename vec<To>::native)_mm512_cvtepi32_epi8((__m512i)x.part[0]);
  else if constexpr (sizeof(From) == 4 && TO == 2)
    y.part[0] = (typename vec<To>::native)_mm512_cvtepi32_epi16((__m512i)x.part[0]);
  else if constexpr (std::is_same<From, int8_t>::value)
    y.part[0] = (typename vec<To>::native)_mm512_cvtepi8_epi32((__m128i)x.part[0]);
  else if constexpr (std::is_same<From, uint8_t>::value)
    y.part[0] = (typename vec<To>::native)_mm512_cvtepu8_epi32((__m128i)x.part[0]);
  else if constexpr (std::is_same<From, int16_t>::value)
    y.part[0] = (typename vec<To>::native)_mm512_cvtepi16_epi32((__m256i)x.part[0]);
  else
    y.part[0] = (typename vec<To>::native)_mm512_cvtepu16_epi32((__m256i)x.part[0]);
#else
  __m128i from = _mm_setzero_si128();
  memcpy(&from, &x, sizeof(x));
  if constexpr (std::is_same<From, int8_t>::value)
    y.part[0] = (typename vec<To>::native)_mm256_cvtepi8_epi32(from);
  else if constexpr (std::is_same<From, uint8_t>::value)
    y.part[0] = (typename vec<To>::native)_mm256_cvtepu8_epi32(from);
  else if constexpr (std::is_same<From, int16_t>::value)
    y.part[0] = (typename vec<To>::native)_mm256_cvtepi16_epi32(from);
  else
    y.part[0] = (typename vec<To>::native)_mm256_cvtepu16_epi32(from);
#endif
  return y;
}
#else
template <class From, class To>
constexpr bool has_step = false;
template <class To, class From>
vec<To> step(vec<From> x);
#endif

// As the compiler has it.
template <class To, class From>
AICC_INLINE vec<To> converted(vec<From> x) {
  typedef From from __attribute__((vector_size(W * sizeof(From))));
  typedef To to __attribute__((vector_size(W * sizeof(To))));
  from a;
  memcpy(&a, &x, sizeof(a));
  to b = __builtin_convertvector(a, to);
  vec<To> y;
  memcpy(&y, &b, sizeof(y));
  return y;
}

template <class To, class From>
AICC_INLINE lanes_of<To> convert(vec<From> x) {
  using Between = decltype(between<From, To>());
  if constexpr (std::is_same<From, To>::value)
    return x;
  else if constexpr (std::is_same<To, bool>::value)
    return x != vec<From>(From(0));
  else if constexpr (has_step<From, To>)
    return step<To>(x);
  else if constexpr (!std::is_same<Between, From>::value)
    return convert<To>(convert<Between>(x));
  else if constexpr (std::is_same<From, f8e4m3>::value)
    return from_f8e4m3(x);
  else if constexpr (std::is_same<From, float>::value && std::is_same<To, f8e4m3>::value)
    return to_f8e4m3(x);
#if defined(AICC_AVX512)
  else if constexpr (std::is_same<From, f16>::value && std::is_same<To, float>::value) {
    vec<float> y;
    y.part[0] = (vec<float>::native)_mm512_cvtph_ps((__m256i)x.part[0]);
    return y;
  } else if constexpr (std::is_same<From, float>::value && std::is_same<To, f16>::value) {
    vec<f16> y;
    y.part[0] = (vec<f16>::native)_mm512_cvtps_ph((__m512)x.part[0], 0);
    return y;
  }
#endif
  else if constexpr (std::is_same<From, bf16>::value && std::is_same<To, float>::value) {
    typedef uint32_t wide __attribute__((vector_size(W * 4)));
    wide bits = __builtin_convertvector(x.part[0], wide) << 16;
    vec<float> y;
    memcpy(&y, &bits, sizeof(y));
    return y;
  } else if constexpr (std::is_same<From, float>::value && std::is_same<To, bf16>::value) {
    vec<uint32_t> u = bitcast<uint32_t>(x);
    vec<uint32_t> r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    r = select(x != x, (u >> 16 & 0x8000) | 0x7fc0, r);
    typedef uint16_t narrow __attribute__((vector_size(W * 2)));
    vec<bf16> y;
    narrow cut = __builtin_convertvector(r.part[0], narrow);
    memcpy(&y, &cut, sizeof(y));
    return y;
  } else if constexpr (std::is_floating_point<From>::value && std::is_same<To, uint32_t>::value)
    return convert<To>(convert<int64_t>(x));
  else if constexpr (std::is_floating_point<From>::value && sizeof(To) >= 4 &&
                     std::is_integral<To>::value && std::is_signed<To>::value) {
    // Vectors of 64 bytes have instructions that give the least where a number doesn't fit.
    constexpr From limit = sizeof(To) == 4 ? From(0x1p31) : From(0x1p63);
    const mask fits = BYTES == 64 ? mask(true) : (x >= -limit) & (x < limit);
    const vec<To> y = converted<To>(select(fits, x, From(0)));
    return select(fits, y, std::numeric_limits<To>::min());
  } else if constexpr (std::is_arithmetic<From>::value && std::is_arithmetic<To>::value &&
                       !(std::is_floating_point<From>::value && std::is_integral<To>::value))
    return converted<To>(x);
  else {
    vec<To> y;
    for (int i = 0; i < W; ++i) {
      From e;
      auto bits = x.lane(i);
      memcpy(&e, &bits, sizeof(e));
      To made = convert<To>(e);
      typename vec<To>::element out;
      memcpy(&out, &made, sizeof(out));
      y.set(i, out);
    }
    return y;
  }
}
template <class To>
AICC_INLINE lanes_of<To> convert(mask m) {
  if constexpr (std::is_same<To, bool>::value)
    return m;
  else if constexpr (std::is_arithmetic<To>::value)
    return select(m, vec<To>(To(1)), vec<To>(To(0)));
  else
    return convert<To>(select(m, vec<float>(1), vec<float>(0)));
}

// Integers with the other signedness.
template <class T>
AICC_INLINE auto as_unsigned(vec<T> x) {
  return bitcast<std::make_unsigned_t<T>>(x);
}
template <class T>
AICC_INLINE auto as_signed(vec<T> x) {
  return bitcast<std::make_signed_t<T>>(x);
}
template <class T, class = std::enable_if_t<std::is_integral<T>::value>>
AICC_INLINE std::make_unsigned_t<T> as_unsigned(T x) {
  return std::make_unsigned_t<T>(x);
}
template <class T, class = std::enable_if_t<std::is_integral<T>::value>>
AICC_INLINE std::make_signed_t<T> as_signed(T x) {
  return std::make_signed_t<T>(x);
}
AICC_INLINE mask as_unsigned(mask x) { return x; }
AICC_INLINE bool as_unsigned(bool x) { return x; }

}  // namespace aicc
