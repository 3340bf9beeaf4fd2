// Loads and stores of all lanes or of the first few, and loops over elements by vectors.
#pragma once

#include "vector.h"

namespace aicc {

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
  // The same, while what lies so far from it is fetched to the core's cache.
  template <class T>
  AICC_INLINE lanes_of<T> load_again(const T* p, int64_t next) const {
    __builtin_prefetch(p + next, 0, 2);
    return load(p);
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
  AICC_INLINE lanes_of<T> load_again(const T* p, int64_t) const {
    return load(p);
  }
  template <class T>
  AICC_INLINE void store(T* p, lanes_of<T> x) const {
    store_masked(p, as_memory<T>(x), active());
  }
};

#if defined(AICC_AVX512)
// Where 16 elements `step` apart lie.
AICC_INLINE __m512i steps(int64_t step) {
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_mullo_epi32(lane, _mm512_set1_epi32(int(step)));
}
AICC_INLINE bool is_near(int64_t step) { return step > -(1 << 27) && step < (1 << 27); }
#endif

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
#if defined(AICC_AVX512)
  if constexpr (sizeof(T) == 4 && std::is_same<L, all>::value) {
    if (__builtin_constant_p(step) && step == -1 && all_of(m)) {
      const __m512i back =
          _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      vec<T> x;
      x.part[0] = (typename vec<T>::native)_mm512_permutexvar_epi32(
          back, _mm512_loadu_si512(p - 15));
      return as_tile<T>(x);
    }
  }
  if constexpr (sizeof(T) == 4) {
    if (is_near(step)) {
      vec<T> x;
      x.part[0] = (typename vec<T>::native)_mm512_mask_i32gather_epi32(_mm512_setzero_si512(),
                                                                       m.bits, steps(step), p, 4);
      return as_tile<T>(x);
    }
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
#if defined(AICC_AVX512)
  if constexpr (sizeof(T) == 4) {
    if (is_near(step)) {
      _mm512_mask_i32scatter_epi32(p, m.bits, steps(step), (__m512i)y.part[0], 4);
      return;
    }
  }
#endif
  for (int i = 0; i < W; ++i) {
    auto e = y.lane(i);
    if (m.lane(i)) memcpy(p + i * step, &e, sizeof(T));
  }
}
template <class T, class L>
AICC_INLINE lanes_of<T> gather(L lanes, const T* p, vec<int64_t> at, mask m = mask(true)) {
  m = lanes.active(m);
#if defined(AICC_AVX512)
  if constexpr (sizeof(T) == 4) {
    const __m256i none = _mm256_setzero_si256();
    const __m256i low =
        _mm512_mask_i64gather_epi32(none, __mmask8(m.bits), (__m512i)at.part[0], p, 4);
    const __m256i high =
        _mm512_mask_i64gather_epi32(none, __mmask8(m.bits >> 8), (__m512i)at.part[1], p, 4);
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    vec<T> x;
    x.part[0] = (typename vec<T>::native)both;
    return as_tile<T>(x);
  }
#endif
  typename vec<T>::element found[W] = {};
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

// What stands for a row that isn't there, for loads of up to 4096 elements.
alignas(64) inline const char no_row[4096 * 8 + 2 * BYTES] = {};
template <class T>
AICC_INLINE const T* zeros_for(const T*) {
  static_assert(sizeof(T) <= 8, "the row is too short");
  return (const T*)no_row;
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

// f(0), f(1) … up to eight of them, unrolled where it is eight.
template <class F>
AICC_INLINE void up_to_eight(int64_t count, F f) {
  if (count == 8) {
#pragma GCC unroll 8
    for (int64_t r = 0; r < 8; ++r) f(r);
  } else {
    for (int64_t r = 0; r < count; ++r) f(r);
  }
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
