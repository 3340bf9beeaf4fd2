// Vectors of W lanes, masks over lanes, and loads and stores of all or of the first few lanes.
//
// A vec<T> has W elements of any type T, so that tiles of mixed types stay in step; W is the number
// of floats in one register. With AVX-512 a mask is a bit a lane, elsewhere it is W integers.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define AICC_AVX512 1
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define AICC_INLINE inline __attribute__((always_inline))
#define AICC_FLAT __attribute__((always_inline))

namespace aicc {

#if defined(AICC_AVX512)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int W = BYTES / 4;

// 16-bit floats are storage: they are computed with as float.
struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
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
AICC_INLINE mask operator&(mask x, mask y) { return mask_of(x.bits & y.bits); }
AICC_INLINE mask operator|(mask x, mask y) { return mask_of(x.bits | y.bits); }
AICC_INLINE mask operator^(mask x, mask y) { return mask_of(x.bits ^ y.bits); }
AICC_INLINE mask operator~(mask x) { return mask_of(~x.bits); }
AICC_INLINE mask first(int64_t n) {
  return mask_of(n <= 0 ? 0 : n >= W ? 0xffff : (1u << n) - 1);
}
AICC_INLINE bool any(mask x) { return x.bits != 0; }
AICC_INLINE bool all_of(mask x) { return x.bits == 0xffff; }

// Bits of a vector of 0 and -1.
template <class N>
AICC_INLINE uint32_t bits_of(N x) {
  if constexpr (sizeof(N) == 64 && sizeof(x[0]) == 8)
    return _mm512_movepi64_mask((__m512i)x);
  else if constexpr (sizeof(N) == 64)
    return _mm512_movepi32_mask((__m512i)x);
  else if constexpr (sizeof(N) == 32)
    return _mm256_movepi16_mask((__m256i)x);
  else
    return _mm_movepi8_mask((__m128i)x);
}

#define AICC_COMPARE(op)                                      \
  template <class T>                                          \
  AICC_INLINE mask operator op(vec<T> x, vec<T> y) {          \
    uint32_t bits = 0;                                        \
    for (int i = 0; i < vec<T>::PARTS; ++i)                   \
      bits |= bits_of(x.part[i] op y.part[i]) << i * vec<T>::LANES; \
    return mask_of(bits);                                     \
  }

template <class T>
AICC_INLINE vec<T> select(mask m, vec<T> x, vec<T> y) {
  vec<T> z;
  for (int i = 0; i < vec<T>::PARTS; ++i) {
    auto bits = m.bits >> i * vec<T>::LANES;
    typename vec<T>::native a = x.part[i], b = y.part[i], c;
    if constexpr (vec<T>::PART == 64 && sizeof(T) == 4)
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

AICC_COMPARE(<)
AICC_COMPARE(<=)
AICC_COMPARE(>)
AICC_COMPARE(>=)
AICC_COMPARE(==)
AICC_COMPARE(!=)
#undef AICC_COMPARE

#define AICC_COMPARE(op)                                             \
  template <class T>                                                 \
  AICC_INLINE mask operator op(vec<T> x, std::common_type_t<T> y) {  \
    return x op vec<T>(y);                                           \
  }                                                                  \
  template <class T>                                                 \
  AICC_INLINE mask operator op(std::common_type_t<T> x, vec<T> y) {  \
    return vec<T>(x) op y;                                           \
  }
AICC_COMPARE(<)
AICC_COMPARE(<=)
AICC_COMPARE(>)
AICC_COMPARE(>=)
AICC_COMPARE(==)
AICC_COMPARE(!=)
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

// ------------------------------------------------------------------ memory

template <class T>
AICC_INLINE vec<T> load_masked(const T* p, mask m) {
  vec<T> x;
#if defined(AICC_AVX512)
  if constexpr (sizeof(T) == 4) {
    x.part[0] = (typename vec<T>::native)_mm512_maskz_loadu_epi32(m.bits, p);
    return x;
  } else if constexpr (sizeof(T) == 8) {
    x.part[0] = (typename vec<T>::native)_mm512_maskz_loadu_epi64(m.bits, p);
    x.part[1] = (typename vec<T>::native)_mm512_maskz_loadu_epi64(m.bits >> 8, p + 8);
    return x;
  } else if constexpr (sizeof(T) == 2) {
    x.part[0] = (typename vec<T>::native)_mm256_maskz_loadu_epi16(m.bits, p);
    return x;
  } else {
    x.part[0] = (typename vec<T>::native)_mm_maskz_loadu_epi8(m.bits, p);
    return x;
  }
#else
  typename vec<T>::element found[W] = {};
  for (int i = 0; i < W; ++i)
    if (m.lane(i)) memcpy(&found[i], p + i, sizeof(T));
  memcpy(&x, found, sizeof(x));
  return x;
#endif
}

template <class T>
AICC_INLINE void store_masked(T* p, vec<T> x, mask m) {
#if defined(AICC_AVX512)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_epi32(p, m.bits, (__m512i)x.part[0]);
  else if constexpr (sizeof(T) == 8) {
    _mm512_mask_storeu_epi64(p, m.bits, (__m512i)x.part[0]);
    _mm512_mask_storeu_epi64(p + 8, m.bits >> 8, (__m512i)x.part[1]);
  } else if constexpr (sizeof(T) == 2)
    _mm256_mask_storeu_epi16(p, m.bits, (__m256i)x.part[0]);
  else
    _mm_mask_storeu_epi8(p, m.bits, (__m128i)x.part[0]);
#else
  for (int i = 0; i < W; ++i) {
    auto e = x.lane(i);
    if (m.lane(i)) memcpy(p + i, &e, sizeof(T));
  }
#endif
}

AICC_INLINE mask to_mask(vec<bool> x) {
  vec<uint8_t> bytes = bitcast<uint8_t>(x);
  return bytes != vec<uint8_t>(uint8_t(0));
}
AICC_INLINE vec<bool> from_mask(mask m) {
  return bitcast<bool>(select(m, vec<uint8_t>(uint8_t(1)), vec<uint8_t>(uint8_t(0))));
}

// What tiles of elements of type T are: vectors, or masks where T is bool.
template <class T>
struct tile_of {
  using type = vec<T>;
};
template <>
struct tile_of<bool> {
  using type = mask;
};
template <class T>
using lanes_of = typename tile_of<T>::type;

template <class T>
AICC_INLINE lanes_of<T> as_tile(vec<T> x) {
  if constexpr (std::is_same<T, bool>::value)
    return to_mask(x);
  else
    return x;
}
template <class T>
AICC_INLINE vec<T> as_memory(lanes_of<T> x) {
  if constexpr (std::is_same<T, bool>::value)
    return from_mask(x);
  else
    return x;
}

// All W lanes: the body of a loop. `part` is the last few of a row.
struct all {
  static constexpr int count = W;
  AICC_INLINE mask active() const { return mask(true); }
  AICC_INLINE mask active(mask m) const { return m; }
  template <class T>
  AICC_INLINE T keep(T x, T) const {
    return x;
  }
  template <class T>
  AICC_INLINE lanes_of<T> load(const T* p) const {
    vec<T> x;
    memcpy(&x, p, sizeof(x));
    return as_tile<T>(x);
  }
  template <class T>
  AICC_INLINE void store(T* p, lanes_of<T> x) const {
    vec<T> y = as_memory<T>(x);
    memcpy(p, &y, sizeof(y));
  }
};

struct part {
  int count;
  AICC_INLINE mask active() const { return first(count); }
  AICC_INLINE mask active(mask m) const { return m & first(count); }
  template <class T>
  AICC_INLINE T keep(T x, T old) const {
    return select(active(), x, old);
  }
  template <class T>
  AICC_INLINE lanes_of<T> load(const T* p) const {
    return as_tile<T>(load_masked(p, active()));
  }
  template <class T>
  AICC_INLINE void store(T* p, lanes_of<T> x) const {
    store_masked(p, as_memory<T>(x), active());
  }
};

// Elements `step` apart, and elements at any places: only where the lane is active and m holds.
template <class T, class L>
AICC_INLINE lanes_of<T> load_strided(L lanes, const T* p, int64_t step, mask m = mask(true)) {
  typename vec<T>::element found[W] = {};
  m = lanes.active(m);
#if defined(AICC_AVX512) && defined(__BMI2__)
  if (sizeof(T) == 4 && __builtin_constant_p(step) && step == 2) {
    const uint32_t bits = _pdep_u32(m.bits, 0x55555555u);
    const __m512i low = _mm512_maskz_loadu_epi32(__mmask16(bits), p);
    const __m512i high = _mm512_maskz_loadu_epi32(__mmask16(bits >> 16), p + 16);
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i both = _mm512_permutex2var_epi32(low, even, high);
    memcpy(found, &both, sizeof(found) < 64 ? sizeof(found) : 64);
    vec<T> x;
    memcpy(&x, found, sizeof(x));
    return as_tile<T>(x);
  }
#endif
  if (std::is_same<L, all>::value && all_of(m)) {
    for (int i = 0; i < W; ++i) memcpy(&found[i], p + i * step, sizeof(T));
  } else {
    for (int i = 0; i < W; ++i)
      if (m.lane(i)) memcpy(&found[i], p + i * step, sizeof(T));
  }
  vec<T> x;
  memcpy(&x, found, sizeof(x));
  return as_tile<T>(x);
}
template <class T, class L>
AICC_INLINE void store_strided(L lanes, T* p, int64_t step, lanes_of<T> x, mask m = mask(true)) {
  vec<T> y = as_memory<T>(x);
  m = lanes.active(m);
  for (int i = 0; i < W; ++i) {
    auto e = y.lane(i);
    if (m.lane(i)) memcpy(p + i * step, &e, sizeof(T));
  }
}
template <class T, class L>
AICC_INLINE lanes_of<T> gather(L lanes, const T* p, vec<int64_t> at, mask m = mask(true)) {
  typename vec<T>::element found[W] = {};
  m = lanes.active(m);
  for (int i = 0; i < W; ++i)
    if (m.lane(i)) memcpy(&found[i], p + at.lane(i), sizeof(T));
  vec<T> x;
  memcpy(&x, found, sizeof(x));
  return as_tile<T>(x);
}
template <class T, class L>
AICC_INLINE void scatter(L lanes, T* p, vec<int64_t> at, lanes_of<T> x, mask m = mask(true)) {
  vec<T> y = as_memory<T>(x);
  m = lanes.active(m);
  for (int i = 0; i < W; ++i) {
    auto e = y.lane(i);
    if (m.lane(i)) memcpy(p + at.lane(i), &e, sizeof(T));
  }
}
template <class T, class L>
AICC_INLINE lanes_of<T> load_where(L lanes, const T* p, mask m) {
  return as_tile<T>(load_masked(p, lanes.active(m)));
}
template <class T, class L>
AICC_INLINE void store_where(L lanes, T* p, lanes_of<T> x, mask m) {
  store_masked(p, as_memory<T>(x), lanes.active(m));
}

// n places from 0 on, W at a time: f(lanes, j) for each step.
template <class F>
AICC_INLINE void sweep(int64_t n, F f) {
  int64_t j = 0;
  for (; j + W <= n; j += W) f(all{}, j);
  if (j < n) f(part{int(n - j)}, j);
}

// The same with a loop unrolled: f(lanes, j, u) has u below U for one of several accumulators.
template <int U, class F>
AICC_INLINE void sweep_unrolled(int64_t n, F f) {
  int64_t j = 0;
  for (; j + U * W <= n; j += U * W) {
    f(all{}, j, std::integral_constant<int, 0>());
    f(all{}, j + W, std::integral_constant<int, 1>());
    if constexpr (U == 4) {
      f(all{}, j + 2 * W, std::integral_constant<int, 2>());
      f(all{}, j + 3 * W, std::integral_constant<int, 3>());
    }
  }
  for (; j + W <= n; j += W) f(all{}, j, std::integral_constant<int, 0>());
  if (j < n) f(part{int(n - j)}, j, std::integral_constant<int, 0>());
}

// U accumulators that begin alike.
template <class V, int U>
struct accumulators {
  V of[U];
  template <class T>
  AICC_INLINE accumulators(T start) {
    for (int i = 0; i < U; ++i) of[i] = V(start);
  }
  template <class I>
  AICC_INLINE V& operator[](I) {
    return of[I::value];
  }
  template <class F>
  AICC_INLINE V joined(F f) const {
    V total = f(of[0], of[1]);
    if constexpr (U == 4) total = f(total, f(of[2], of[3]));
    return total;
  }
};

}  // namespace aicc
