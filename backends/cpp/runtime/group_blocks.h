// Products of groups in vectors: blocks of a few rows by some vectors of sums stay in registers.
#pragma once

#include "groups.h"

namespace aicc {
namespace {

// How sums of groups are made: vectors of sums and of groups, and rows of a block.
template <class T>
struct grouped;

using int_vector = native<int32_t>::type;
using float_vector = native<float>::type;

#if defined(__AVX512VNNI__) && defined(AICC_AVX512)
// Unsigned by signed bytes.
template <>
struct grouped<int8_t> {
  using sums = int_vector;
  static constexpr int ROWS = 6;
  AICC_INLINE static sums plus(sums total, int_vector left, int_vector right) {
    return (sums)_mm512_dpbusd_epi32((__m512i)total, (__m512i)left, (__m512i)right);
  }
};
#endif

template <>
struct grouped<bf16> {
  using sums = float_vector;
#if defined(__AVX512BF16__) && defined(AICC_AVX512)
  static constexpr int ROWS = 6;
  AICC_INLINE static sums plus(sums total, int_vector left, int_vector right) {
    return (sums)_mm512_dpbf16_ps((__m512)total, (__m512bh)left, (__m512bh)right);
  }
#else
  // A bf16 is the upper half of a float. Halves of four rows and of the columns fill registers.
  static constexpr int ROWS = 4;
  AICC_INLINE static sums plus(sums total, int_vector left, int_vector right) {
    constexpr int32_t UPPER = -65536;
    total += (sums)(left << 16) * (sums)(right << 16);
    return total + (sums)(left & UPPER) * (sums)(right & UPPER);
  }
#endif
};

template <class V>
AICC_INLINE V loaded(const void* from) {
  V value;
  memcpy(&value, from, sizeof(value));
  return value;
}

// R rows by V vectors of columns of a panel; `less`, if there, is taken off each column's sums.
template <int R, int V, class T, class Sum>
void group_block(Sum* c, int64_t crow, const T* a, int64_t arow, const T* b, const Sum* less,
                 int64_t depth, bool add) {
  using sums = typename grouped<T>::sums;
  constexpr int64_t LANES = native<Sum>::LANES, G = GROUP<T>, WIDTH = panels<T>::width;
  sums total[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      total[i][j] = add ? loaded<sums>(c + i * crow + j * LANES) : sums{};
      if (less) total[i][j] -= loaded<sums>(less + j * LANES);
    }
  for (int64_t k = 0; k < depth; k += G) {
    int_vector right[V];
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) right[j] = loaded<int_vector>(b + k * WIDTH + j * LANES * G);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const int_vector left = loaded<int32_t>(a + i * arow + k) - int_vector{};
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) total[i][j] = grouped<T>::plus(total[i][j], left, right[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) memcpy(c + i * crow + j * LANES, &total[i][j], sizeof(sums));
}

// The rows that are left over after whole blocks.
template <int R, int V, class T, class Sum>
void group_rest(Sum* c, int64_t crow, const T* a, int64_t arow, const T* b, const Sum* less,
                int64_t m, int64_t depth, bool add) {
  if (m == R) return group_block<R, V>(c, crow, a, arow, b, less, depth, add);
  if constexpr (R > 1) group_rest<R - 1, V>(c, crow, a, arow, b, less, m, depth, add);
}

template <int V, class T, class Sum>
void group_rows(Sum* c, int64_t crow, const T* a, int64_t arow, const T* b, const Sum* less,
                int64_t m, int64_t depth, bool add) {
  constexpr int R = grouped<T>::ROWS;
  int64_t i = 0;
  for (; i + R <= m; i += R)
    group_block<R, V>(c + i * crow, crow, a + i * arow, arow, b, less, depth, add);
  if (i < m) group_rest<R - 1, V>(c + i * crow, crow, a + i * arow, arow, b, less, m - i, depth, add);
}

// All rows by `columns` columns of a panel, `VECTORS` vectors at a time.
template <class T, class Sum>
void group_columns(Sum* c, int64_t crow, const T* a, int64_t arow, const T* panel, const Sum* less,
                   int64_t m, int64_t columns, int64_t depth, bool add) {
  constexpr int64_t LANES = native<Sum>::LANES;
  for (int64_t j = 0; j < columns; j += VECTORS * LANES) {
    const int64_t vectors = minimum<int64_t>((columns - j + LANES - 1) / LANES, VECTORS);
    const T* b = panel + j * GROUP<T>;
    const Sum* off = less ? less + j : nullptr;
    if (vectors == VECTORS) {
      group_rows<VECTORS>(c + j, crow, a, arow, b, off, m, depth, add);
      continue;
    }
    switch (vectors) {
      case 1: group_rows<1>(c + j, crow, a, arow, b, off, m, depth, add); break;
      case 2: group_rows<2>(c + j, crow, a, arow, b, off, m, depth, add); break;
      case 3: group_rows<3>(c + j, crow, a, arow, b, off, m, depth, add); break;
    }
  }
}

}  // namespace
}  // namespace aicc
