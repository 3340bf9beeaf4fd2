// Vectors of W lanes, and masks over lanes.
//
// A vec<T> has W elements of any type T, so that tiles of mixed types stay in step; W is the number
// of floats in one register. With AVX-512 a mask is a bit a lane, elsewhere it is W integers.
#pragma once

#include "system.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define AICC_AVX512 1
#endif

#define AICC_INLINE inline __attribute__((always_inline))
#define AICC_FLAT __attribute__((always_inline))

namespace aicc {

// The greater and the lesser; NaN wins. (To read <algorithm> takes as long as the rest of this.)
template <class T>
AICC_INLINE constexpr T maximum(T x, T y) {
  return x != x ? x : x > y ? x : y;
}
template <class T>
AICC_INLINE constexpr T minimum(T x, T y) {
  return x != x ? x : x < y ? x : y;
}
template <class T>
AICC_INLINE void fill(T* to, int64_t n, std::common_type_t<T> x) {
  for (int64_t i = 0; i < n; ++i) to[i] = x;
}
template <class T>
AICC_INLINE void copy(const T* from, int64_t n, T* to) {
  memcpy(to, from, n * sizeof(T));
}

#if defined(AICC_AVX512)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int W = BYTES / 4;

// Floats of 16 and 8 bits are storage: they are computed with as float.
struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
};
struct f8e4m3 {
  uint8_t bits;
};
struct f8e5m2 {
  uint8_t bits;
};

template <class T>
struct storage {
  using type = T;
};
template <>
struct storage<f16> {
  using type = uint16_t;
};
template <>
struct storage<bf16> {
  using type = uint16_t;
};
template <>
struct storage<f8e4m3> {
  using type = uint8_t;
};
template <>
struct storage<f8e5m2> {
  using type = uint8_t;
};
template <>
struct storage<bool> {
  using type = uint8_t;
};

// ------------------------------------------------------------------ vectors

template <class T>
struct vec {
  using element = typename storage<T>::type;
  static constexpr int SIZE = W * sizeof(element);
  static constexpr int PART = SIZE < BYTES ? SIZE : BYTES;
  static constexpr int PARTS = SIZE / PART;
  static constexpr int LANES = W / PARTS;
  typedef element native __attribute__((vector_size(PART)));
  native part[PARTS];

  vec() = default;
  AICC_INLINE vec(T x) {
    element e;
    memcpy(&e, &x, sizeof(e));
    for (int i = 0; i < PARTS; ++i) part[i] = e - native{};
  }
  AICC_INLINE element lane(int i) const { return part[i / LANES][i % LANES]; }
  AICC_INLINE void set(int i, element x) { part[i / LANES][i % LANES] = x; }
};

#define AICC_BINARY(op)                                             \
  template <class T>                                                \
  AICC_INLINE vec<T> operator op(vec<T> x, vec<T> y) {              \
    for (int i = 0; i < vec<T>::PARTS; ++i) x.part[i] = x.part[i] op y.part[i]; \
    return x;                                                       \
  }                                                                 \
  template <class T>                                                \
  AICC_INLINE vec<T> operator op(vec<T> x, std::common_type_t<T> y) { \
    return x op vec<T>(y);                                          \
  }                                                                 \
  template <class T>                                                \
  AICC_INLINE vec<T> operator op(std::common_type_t<T> x, vec<T> y) { \
    return vec<T>(x) op y;                                          \
  }
AICC_BINARY(+)
AICC_BINARY(-)
AICC_BINARY(*)
AICC_BINARY(/)
AICC_BINARY(&)
AICC_BINARY(|)
AICC_BINARY(^)
AICC_BINARY(<<)
AICC_BINARY(>>)
#undef AICC_BINARY

template <class T>
AICC_INLINE vec<T> operator-(vec<T> x) {
  for (int i = 0; i < vec<T>::PARTS; ++i) x.part[i] = -x.part[i];
  return x;
}

// The same bits as vectors of another element type of the same size.
template <class To, class From>
AICC_INLINE vec<To> bitcast(vec<From> x) {
  static_assert(sizeof(vec<To>) == sizeof(vec<From>), "types of one size");
  vec<To> y;
  memcpy(&y, &x, sizeof(y));
  return y;
}
template <class To, class From>
AICC_INLINE To bitcast(From x) {
  static_assert(sizeof(To) == sizeof(From), "types of one size");
  To y;
  memcpy(&y, &x, sizeof(y));
  return y;
}

// A function of scalars, lane by lane.
template <class R, class T, class F>
AICC_INLINE vec<R> each(vec<T> x, F f) {
  vec<R> y;
  for (int i = 0; i < W; ++i) y.set(i, f(x.lane(i)));
  return y;
}
template <class R, class T, class F>
AICC_INLINE vec<R> each(vec<T> x, vec<T> y, F f) {
  vec<R> z;
  for (int i = 0; i < W; ++i) z.set(i, f(x.lane(i), y.lane(i)));
  return z;
}

// start, start + step, ...
template <class T>
AICC_INLINE vec<T> iota(T start, T step) {
  vec<T> x;
  for (int i = 0; i < W; ++i) x.set(i, T(i));
  return x * step + start;
}

// ------------------------------------------------------------------ masks

#define AICC_ALL_COMPARES(define) define(<) define(<=) define(>) define(>=) define(==) define(!=)

#if defined(AICC_AVX512)

struct mask {
  __mmask16 bits;
  mask() = default;
  AICC_INLINE mask(bool x) : bits(x ? 0xffff : 0) {}
  AICC_INLINE bool lane(int i) const { return bits >> i & 1; }
  AICC_INLINE void set(int i, bool x) { bits = (bits & ~(1 << i)) | (x << i); }
};
AICC_INLINE mask mask_of(uint32_t bits) {
  mask m;
  m.bits = __mmask16(bits);
  return m;
}
AICC_INLINE mask operator&(mask x, mask y) { return mask_of(_kand_mask16(x.bits, y.bits)); }
AICC_INLINE mask operator|(mask x, mask y) { return mask_of(_kor_mask16(x.bits, y.bits)); }
AICC_INLINE mask operator^(mask x, mask y) { return mask_of(_kxor_mask16(x.bits, y.bits)); }
AICC_INLINE mask operator~(mask x) { return mask_of(_knot_mask16(x.bits)); }
AICC_INLINE mask first(int64_t n) {
  return mask_of(n <= 0 ? 0 : n >= W ? 0xffff : (1u << n) - 1);
}
AICC_INLINE bool any(mask x) { return x.bits != 0; }
AICC_INLINE bool all_of(mask x) { return x.bits == 0xffff; }

// A bit for each pair of elements that compares by P, one of EQ 0, LT 1, LE 2 and NE 4, which mean
// the same to instructions for integers and for floats (NaN differs from all).
template <int P, class T>
AICC_INLINE uint32_t bits_of(typename vec<T>::native x, typename vec<T>::native y) {
  using E = typename vec<T>::element;
  constexpr bool is_signed = std::is_signed<E>::value;
  if constexpr (std::is_same<E, float>::value)
    return _mm512_cmp_ps_mask((__m512)x, (__m512)y, P);
  else if constexpr (std::is_same<E, double>::value)
    return _mm512_cmp_pd_mask((__m512d)x, (__m512d)y, P);
  else if constexpr (sizeof(E) == 8 && is_signed)
    return _mm512_cmp_epi64_mask((__m512i)x, (__m512i)y, P);
  else if constexpr (sizeof(E) == 8)
    return _mm512_cmp_epu64_mask((__m512i)x, (__m512i)y, P);
  else if constexpr (sizeof(E) == 4 && is_signed)
    return _mm512_cmp_epi32_mask((__m512i)x, (__m512i)y, P);
  else if constexpr (sizeof(E) == 4)
    return _mm512_cmp_epu32_mask((__m512i)x, (__m512i)y, P);
  else if constexpr (sizeof(E) == 2 && is_signed)
    return _mm256_cmp_epi16_mask((__m256i)x, (__m256i)y, P);
  else if constexpr (sizeof(E) == 2)
    return _mm256_cmp_epu16_mask((__m256i)x, (__m256i)y, P);
  else if constexpr (is_signed)
    return _mm_cmp_epi8_mask((__m128i)x, (__m128i)y, P);
  else
    return _mm_cmp_epu8_mask((__m128i)x, (__m128i)y, P);
}

#define AICC_COMPARE(op, P, first, second)                                           \
  template <class T>                                                                 \
  AICC_INLINE mask operator op(vec<T> x, vec<T> y) {                                 \
    uint32_t bits = 0;                                                               \
    for (int i = 0; i < vec<T>::PARTS; ++i)                                          \
      bits |= bits_of<P, T>(first.part[i], second.part[i]) << i * vec<T>::LANES;     \
    return mask_of(bits);                                                            \
  }
AICC_COMPARE(==, 0, x, y)
AICC_COMPARE(<, 1, x, y)
AICC_COMPARE(>, 1, y, x)
AICC_COMPARE(<=, 2, x, y)
AICC_COMPARE(>=, 2, y, x)
AICC_COMPARE(!=, 4, x, y)
#undef AICC_COMPARE

template <class T>
AICC_INLINE vec<T> select(mask m, vec<T> x, vec<T> y) {
  vec<T> z;
  for (int i = 0; i < vec<T>::PARTS; ++i) {
    auto bits = m.bits >> i * vec<T>::LANES;
    typename vec<T>::native a = x.part[i], b = y.part[i], c;
    if constexpr (std::is_same<T, float>::value)
      c = (decltype(c))_mm512_mask_blend_ps(bits, (__m512)b, (__m512)a);
    else if constexpr (vec<T>::PART == 64 && sizeof(T) == 4)
      c = (decltype(c))_mm512_mask_blend_epi32(bits, (__m512i)b, (__m512i)a);
    else if constexpr (vec<T>::PART == 64)
      c = (decltype(c))_mm512_mask_blend_epi64(bits, (__m512i)b, (__m512i)a);
    else if constexpr (vec<T>::PART == 32)
      c = (decltype(c))_mm256_mask_blend_epi16(bits, (__m256i)b, (__m256i)a);
    else
      c = (decltype(c))_mm_mask_blend_epi8(bits, (__m128i)b, (__m128i)a);
    z.part[i] = c;
  }
  return z;
}

#else

struct mask {
  typedef int32_t native __attribute__((vector_size(BYTES)));
  native v;
  mask() = default;
  AICC_INLINE mask(bool x) { v = (x ? -1 : 0) - native{}; }
  AICC_INLINE bool lane(int i) const { return v[i] != 0; }
  AICC_INLINE void set(int i, bool x) { v[i] = x ? -1 : 0; }
};
AICC_INLINE mask masked(mask::native v) {
  mask m;
  m.v = v;
  return m;
}
AICC_INLINE mask operator&(mask x, mask y) { return masked(x.v & y.v); }
AICC_INLINE mask operator|(mask x, mask y) { return masked(x.v | y.v); }
AICC_INLINE mask operator^(mask x, mask y) { return masked(x.v ^ y.v); }
AICC_INLINE mask operator~(mask x) { return masked(~x.v); }
AICC_INLINE mask first(int64_t n) {
  vec<int32_t> at = iota<int32_t>(0, 1);
  return masked(at.part[0] < int32_t(n < 0 ? 0 : n > W ? W : n));
}
AICC_INLINE bool any(mask x) {
  int32_t found = 0;
  for (int i = 0; i < W; ++i) found |= x.v[i];
  return found != 0;
}
AICC_INLINE bool all_of(mask x) { return !any(~x); }

#define AICC_COMPARE(op)                                                \
  template <class T>                                                    \
  AICC_INLINE mask operator op(vec<T> x, vec<T> y) {                    \
    if constexpr (sizeof(T) == 4) return masked((mask::native)(x.part[0] op y.part[0])); \
    mask m;                                                             \
    for (int i = 0; i < vec<T>::PARTS; ++i) {                           \
      auto found = x.part[i] op y.part[i];                              \
      for (int j = 0; j < vec<T>::LANES; ++j)                           \
        m.v[i * vec<T>::LANES + j] = int32_t(found[j]);                 \
    }                                                                   \
    return m;                                                           \
  }
AICC_ALL_COMPARES(AICC_COMPARE)
#undef AICC_COMPARE

template <class T>
AICC_INLINE vec<T> select(mask m, vec<T> x, vec<T> y) {
  if constexpr (sizeof(T) == 4) {
    typedef typename vec<T>::native N;
    x.part[0] = (N)((m.v & (mask::native)x.part[0]) | (~m.v & (mask::native)y.part[0]));
    return x;
  } else {
    vec<T> z;
    for (int i = 0; i < W; ++i) z.set(i, m.v[i] ? x.lane(i) : y.lane(i));
    return z;
  }
}

#endif

#define AICC_COMPARE(op)                                             \
  template <class T>                                                 \
  AICC_INLINE mask operator op(vec<T> x, std::common_type_t<T> y) {  \
    return x op vec<T>(y);                                           \
  }                                                                  \
  template <class T>                                                 \
  AICC_INLINE mask operator op(std::common_type_t<T> x, vec<T> y) {  \
    return vec<T>(x) op y;                                           \
  }
AICC_ALL_COMPARES(AICC_COMPARE)
#undef AICC_COMPARE

AICC_INLINE mask operator==(mask x, mask y) { return ~(x ^ y); }
AICC_INLINE mask operator!=(mask x, mask y) { return x ^ y; }

template <class T>
AICC_INLINE vec<T> select(mask m, vec<T> x, std::common_type_t<T> y) {
  return select(m, x, vec<T>(y));
}
template <class T>
AICC_INLINE vec<T> select(mask m, std::common_type_t<T> x, vec<T> y) {
  return select(m, vec<T>(x), y);
}
AICC_INLINE mask select(mask m, mask x, mask y) { return (m & x) | (~m & y); }
template <class T, class = std::enable_if_t<std::is_arithmetic<T>::value>>
AICC_INLINE vec<T> select(mask m, T x, T y) {
  return select(m, vec<T>(x), vec<T>(y));
}
template <class T>
AICC_INLINE T select(bool m, T x, T y) {
  return m ? x : y;
}

}  // namespace aicc
