// Products of tiles: blocks of 6 rows by 4 vectors of columns are summed in registers, over as many
// rows of the right operand as the first cache holds. Each source of products instantiates what it
// needs, so that only those are built that a model has.
#pragma once

#include "turn.h"

namespace aicc {
namespace {

constexpr int ROWS = 6;

// What is read after this: `row` elements from one of its rows to the next. It is fetched while
// sums are computed, as it may lie in memory far away.
template <class T>
struct later {
  const T* data;
  int64_t row;
};

// R rows by V vectors.
template <class T, int R, int V>
void block(T* c, int64_t crow, const T* a, int64_t arow, const T* b, int64_t brow,
           int64_t depth, bool add, later<T> next) {
  using N = typename native<T>::type;
  using L = typename native<T>::loose;
  constexpr int LANES = native<T>::LANES;
  N total[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) {
      if (add)
        total[i][j] = *(const L*)(c + i * crow + j * LANES);
      else
        total[i][j] = N{};
    }
  for (int64_t k = 0; k < depth; ++k) {
    N right[V];
    const T* from = b + k * brow;
    __builtin_prefetch(next.data + k * next.row, 0, 2);
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) right[j] = *(const L*)(from + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      N left = a[i * arow + k] - N{};
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) total[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) *(L*)(c + i * crow + j * LANES) = total[i][j];
}

template <class T, int V>
void rows(T* c, int64_t crow, const T* a, int64_t arow, const T* b, int64_t brow,
          int64_t m, int64_t depth, bool add, later<T> next) {
  constexpr int LINE = 64 / sizeof(T), LINES = maximum(1, V * native<T>::LANES / LINE);
  int64_t i = 0;
  for (int line = 0; i + ROWS <= m; i += ROWS, line = (line + 1) % LINES)
    block<T, ROWS, V>(c + i * crow, crow, a + i * arow, arow, b, brow, depth, add,
                      later<T>{next.data + line * LINE, next.row});
  c += i * crow;
  a += i * arow;
  switch (m - i) {
    case 1: return block<T, 1, V>(c, crow, a, arow, b, brow, depth, add, next);
    case 2: return block<T, 2, V>(c, crow, a, arow, b, brow, depth, add, next);
    case 3: return block<T, 3, V>(c, crow, a, arow, b, brow, depth, add, next);
    case 4: return block<T, 4, V>(c, crow, a, arow, b, brow, depth, add, next);
    case 5: return block<T, 5, V>(c, crow, a, arow, b, brow, depth, add, next);
  }
}

// Few rows: b is read once from end to end, eight of its rows at a time.
template <class T>
void thin(T* c, int64_t crow, const T* a, int64_t arow, const T* b, int64_t brow, int64_t m,
          int64_t n, int64_t depth, bool add) {
  using N = typename native<T>::type;
  using L = typename native<T>::loose;
  constexpr int LANES = native<T>::LANES, DEEP = 8;
  constexpr int64_t STEP = 4096 / sizeof(T);
  if (!add)
    for (int64_t i = 0; i < m; ++i) fill(c + i * crow, n, T(0));
  for (int64_t first = 0; first < n; first += STEP) {
    int64_t last = minimum(first + STEP, n);
    int64_t k = 0;
    for (; k + DEEP <= depth; k += DEEP)
      for (int64_t i = 0; i < m; ++i) {
        N left[DEEP];
#pragma GCC unroll 8
        for (int d = 0; d < DEEP; ++d) left[d] = a[i * arow + k + d] - N{};
        T* out = c + i * crow;
        const T* in = b + k * brow;
        int64_t j = first;
        for (; j + LANES <= last; j += LANES) {
          N total = *(const L*)(out + j);
#pragma GCC unroll 8
          for (int d = 0; d < DEEP; ++d) total += left[d] * *(const L*)(in + d * brow + j);
          *(L*)(out + j) = total;
        }
        for (; j < last; ++j)
          for (int d = 0; d < DEEP; ++d) out[j] += a[i * arow + k + d] * in[d * brow + j];
      }
    for (; k < depth; ++k)
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = first; j < last; ++j)
          c[i * crow + j] += a[i * arow + k] * b[k * brow + j];
  }
}

// An m x n matrix as rows of `width` elements, zero beyond n.
template <class To, class From>
void pack(To* to, int64_t width, matrix<From> from, int64_t m, int64_t n) {
  for (int64_t i = 0; n < width && i < m; ++i)
    fill(to + i * width + n, width - n, To{});
  if constexpr (std::is_same<To, float>::value && std::is_same<From, float>::value)
    if (from.row == 1 && from.column != 1)
      return turn(to, width, from.data, from.column, m, n);
  if (from.column == 1) {
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) to[i * width + j] = convert<To>(from.data[i * from.row + j]);
    return;
  }
  constexpr int64_t TILE = 16;
  for (int64_t top = 0; top < m; top += TILE)
    for (int64_t first = 0; first < n; first += TILE) {
      const int64_t low = minimum(top + TILE, m), right = minimum(first + TILE, n);
      for (int64_t j = first; j < right; ++j)
        for (int64_t i = top; i < low; ++i)
          to[i * width + j] = convert<To>(from.data[i * from.row + j * from.column]);
    }
}

// Rows of a as they are, if they lie so; packed where they don't, or where a part of each is read
// by many columns.
template <class T, class From>
const T* left_rows(matrix<From> a, int64_t m, int64_t depth, bool again, int64_t& row) {
  if (std::is_same<T, From>::value && a.column == 1 && !again) {
    row = a.row;
    return (const T*)a.data;
  }
  T* packed = scratch<T>(0, size_t(m) * depth);
  pack(packed, depth, a, m, depth);
  row = depth;
  return packed;
}

// All rows by `vectors` vectors of columns.
template <class T>
void columns(int64_t vectors, T* c, int64_t crow, const T* a, int64_t arow, const T* b,
             int64_t brow, int64_t m, int64_t depth, bool add, later<T> next) {
  switch (vectors) {
    case 1: return rows<T, 1>(c, crow, a, arow, b, brow, m, depth, add, next);
    case 2: return rows<T, 2>(c, crow, a, arow, b, brow, m, depth, add, next);
#if !defined(__AVX2__) || defined(AICC_AVX512)
    case 3: return rows<T, 3>(c, crow, a, arow, b, brow, m, depth, add, next);
    case 4: return rows<T, 4>(c, crow, a, arow, b, brow, m, depth, add, next);
#endif
  }
}

// How many of `left` columns to take next, of panels as even as whole vectors allow.
template <class T>
AICC_INLINE int64_t next_columns(int64_t left) {
  constexpr int LANES = native<T>::LANES;
  int64_t vectors = (left + LANES - 1) / LANES;
  int64_t panels = (vectors + VECTORS - 1) / VECTORS;
  return minimum(left, (vectors + panels - 1) / panels * LANES);
}

// How many rows of a panel of columns the first cache holds.
constexpr int64_t DEPTH = 32768 / (VECTORS * BYTES);

// From so many columns on, the rows that they read are worth a copy that lies together.
constexpr int64_t MANY = 192;

template <class T, class From>
void multiply(T* c, int64_t crow, matrix<From> a, matrix<From> b, int64_t m, int64_t n,
              int64_t depth, bool add) {
  constexpr int LANES = native<T>::LANES;
  constexpr int64_t WIDTH = VECTORS * LANES;
  const bool direct = std::is_same<T, From>::value && b.column == 1;
  int64_t arow;
  if (direct && m < 4) {
    const T* left = left_rows<T>(a, m, depth, false, arow);
    return thin<T>(c, crow, left, arow, (const T*)b.data, b.row, m, n, depth, add);
  }
  for (int64_t k = 0, deep; k < depth || k == 0; k += deep, add = true) {
    deep = minimum(DEPTH, depth - k);
    const bool again = depth > DEPTH && n >= MANY;
    const T* left = left_rows<T>(matrix<From>{a.data + k * a.column, a.row, a.column}, m, deep,
                                 again, arow);
    for (int64_t j = 0, count; j < n; j += count) {
      count = next_columns<T>(n - j);
      const int64_t vectors = (count + LANES - 1) / LANES, width = vectors * LANES;
      const From* from = b.data + k * b.row + j * b.column;
      const later<T> next{direct ? (const T*)from + count : left, direct ? b.row : 0};
      if (direct && m <= 2 * ROWS && count == width) {
        columns<T>(vectors, c + j, crow, left, arow, (const T*)from, b.row, m, deep, add, next);
        continue;
      }
      T* panel = scratch<T>(1, size_t(WIDTH) * DEPTH);
      pack(panel, width, matrix<From>{from, b.row, b.column}, deep, count);
      columns<T>(vectors, c + j, crow, left, arow, panel, width, m, deep, add, next);
    }
  }
}

}  // namespace

#define AICC_DOT(T, From)                                                           \
  void dot(T* c, int64_t row, matrix<From> a, matrix<From> b, int64_t m, int64_t n, \
           int64_t k, bool add) {                                                   \
    multiply<T, From>(c, row, a, b, m, n, k, add);                                  \
  }

}  // namespace aicc
