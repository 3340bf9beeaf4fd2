// Conversions between element types: floats of 16 and 8 bits, integers by truncation, signedness.
#pragma once

#include <cmath>
#include <limits>

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

template <class To, class From>
AICC_INLINE lanes_of<To> convert(vec<From> x) {
  if constexpr (std::is_same<From, To>::value)
    return x;
  else if constexpr (std::is_same<To, bool>::value)
    return x != vec<From>(From(0));
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
  } else if constexpr (std::is_arithmetic<From>::value && std::is_arithmetic<To>::value &&
                       !(std::is_floating_point<From>::value && std::is_integral<To>::value)) {
    typedef From from __attribute__((vector_size(W * sizeof(From))));
    typedef To to __attribute__((vector_size(W * sizeof(To))));
    from a;
    memcpy(&a, &x, sizeof(a));
    to b = __builtin_convertvector(a, to);
    vec<To> y;
    memcpy(&y, &b, sizeof(y));
    return y;
  } else {
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
