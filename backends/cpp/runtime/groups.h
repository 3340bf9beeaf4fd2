// Products of elements of 8 and 16 bits: as many of a column as fill 32 bits lie side by side, a
// group, which one instruction multiplies and sums. Chips without one widen the elements.
#pragma once

#include "dot_blocks.h"
#include "squares.h"

namespace aicc {
namespace {

template <class T>
constexpr int64_t GROUP = panels<T>::group;

// Of what is summed, as much as a row of a square: panels and packed rows are whole ones.
template <class T>
constexpr int64_t STEP = 64 / sizeof(T);

template <class T>
AICC_INLINE int64_t whole_steps(int64_t k) {
  return (k + STEP<T> - 1) / STEP<T> * STEP<T>;
}

// Rows of a side by side, `row` apart and zero beyond `depth`.
template <class T>
void pack_rows(T* to, matrix<T> a, int64_t m, int64_t depth, int64_t row) {
  if (a.column != 1) return pack(to, row, a, m, depth);
  for (int64_t i = 0; i < m; ++i) {
    copy(a.data + i * a.row, depth, to + i * row);
    fill(to + i * row + depth, row - depth, T{});
  }
}

#if defined(AICC_AVX512)
// Sixteen columns of the rows of a group, the elements of a column side by side.
AICC_INLINE void interleave(int8_t* to, const int8_t* const* rows, int64_t j) {
  __m128i r[4];
  for (int q = 0; q < 4; ++q) r[q] = _mm_loadu_si128((const __m128i*)(rows[q] + j));
  __m128i low = _mm_unpacklo_epi8(r[0], r[1]), low2 = _mm_unpacklo_epi8(r[2], r[3]);
  __m128i high = _mm_unpackhi_epi8(r[0], r[1]), high2 = _mm_unpackhi_epi8(r[2], r[3]);
  __m128i* out = (__m128i*)to;
  _mm_storeu_si128(out, _mm_unpacklo_epi16(low, low2));
  _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(low, low2));
  _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(high, high2));
  _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(high, high2));
}
AICC_INLINE void interleave(bf16* to, const bf16* const* rows, int64_t j) {
  const __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(rows[0] + j)));
  const __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(rows[1] + j)));
  _mm512_storeu_si512(to, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
}

// `count` columns of b as a panel of groups, zero up to whole vectors and to `deep` rows.
template <class T>
void pack_panel(T* to, matrix<T> b, int64_t count, int64_t depth, int64_t deep) {
  constexpr int64_t WIDTH = panels<T>::width, G = GROUP<T>, LANES = 16;
  const int64_t width = (count + LANES - 1) / LANES * LANES;
  static const T zeros[WIDTH] = {};
  int64_t k = 0;
  if (b.row == 1 && b.column % G == 0 && count == width) {  // groups lie so: squares are turned
    k = depth / STEP<T> * STEP<T>;
    turn((float*)to, WIDTH, (const float*)b.data, b.column / G, k / G, count);
  }
  for (; k < deep; k += G) {
    T* line = to + k * WIDTH;
    int64_t j = 0;
    if (b.column == 1) {
      const T* rows[G];
      for (int64_t g = 0; g < G; ++g) rows[g] = k + g < depth ? b.data + (k + g) * b.row : zeros;
      for (; j + LANES <= count; j += LANES) interleave(line + j * G, rows, j);
    }
    const int64_t rows = minimum(depth - k, G);
#pragma GCC unroll 1
    for (; j < width; ++j)
#pragma GCC unroll 1
      for (int64_t g = 0; g < G; ++g)
        line[j * G + g] = j < count && g < rows ? b.data[(k + g) * b.row + j * b.column] : T{};
  }
}

// The panel that begins with column j: packed, or as it lies.
template <class T>
const T* panel_at(matrix<T> b, int64_t j, int64_t n, int64_t k, int64_t deep) {
  constexpr int64_t WIDTH = panels<T>::width;
  T* to = scratch<T>(1, size_t(WIDTH) * deep);
  const T* from = b.data + j * b.column;
  pack_panel(to, matrix<T>{from, b.row, b.column}, minimum(n - j, WIDTH), k, deep);
  return to;
}
#endif

template <class T>
const T* panel_at(panels<T> b, int64_t j, int64_t, int64_t, int64_t) {
  return b.data + j / panels<T>::width * b.panel;
}

#if defined(AICC_SQUARES)
template <class T, class Sum, class Right>
void by_squares(Sum* c, int64_t row, matrix<T> a, Right b, int64_t m, int64_t n, int64_t k,
                bool add) {
  const int64_t deep = whole_steps<T>(k), steps = deep / STEP<T>;
  // Rows that lie so are read as they are, but for what is no whole square of them.
  const bool lies = a.column == 1 && deep == k;
  const int64_t first = lies ? m / SIDE * SIDE : 0, packed = (m - first + SIDE - 1) / SIDE * SIDE;
  T* rest = nullptr;
  if (first < m) {
    rest = scratch<T>(0, size_t(packed) * deep);
    matrix<T> from{a.data + first * a.row, a.row, a.column};
    pack_rows(rest, from, m - first, k, deep);
    fill(rest + (m - first) * deep, (packed - m + first) * deep, T{});
  }
  const whole_squares on;
  for (int64_t j = 0; j < n; j += panels<T>::width) {
    const int64_t columns = minimum(n - j, panels<T>::width);
    const T* panel = panel_at(b, j, n, k, deep);
    square_rows(c + j, row, a.data, a.row, panel, first, columns, steps, add);
    square_rows(c + first * row + j, row, (const T*)rest, deep, panel, m - first, columns, steps,
                add);
  }
}
#endif

// Elements widened to those that they are summed in.
template <class T, class Sum>
void widened(Sum* c, int64_t row, matrix<T> a, matrix<T> b, int64_t m, int64_t n, int64_t k,
             bool add) {
  multiply<Sum, T>(c, row, a, b, m, n, k, add);
}
template <class T, class Sum>
void widened(Sum* c, int64_t row, matrix<T> a, panels<T> b, int64_t m, int64_t n, int64_t k,
             bool add) {
  constexpr int64_t WIDTH = panels<T>::width, G = GROUP<T>;
  for (int64_t j = 0; j < n; j += WIDTH) {
    const T* panel = panel_at(b, j, n, k, k);
    T* plain = scratch<T>(2, size_t(WIDTH) * k);
    for (int64_t i = 0; i < k; ++i)
      for (int64_t x = 0; x < WIDTH; ++x)
        plain[i * WIDTH + x] = panel[(i / G * WIDTH + x) * G + i % G];
    multiply<Sum, T>(c + j, row, a, matrix<T>{plain, WIDTH, 1}, m, minimum(n - j, WIDTH), k, add);
  }
}

}  // namespace
}  // namespace aicc
