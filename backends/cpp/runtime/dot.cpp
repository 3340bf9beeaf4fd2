// Products of tiles: blocks of 6 rows by 4 vectors of columns are summed in registers.

#include "dot.h"

namespace aicc {
namespace {

constexpr int ROWS = 6;

// R rows by V vectors.
template <class T, int R, int V>
void block(T* c, int64_t crow, const T* a, int64_t arow, const T* b, int64_t brow,
           int64_t depth, bool add) {
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
          int64_t m, int64_t depth, bool add) {
  int64_t i = 0;
  for (; i + ROWS <= m; i += ROWS)
    block<T, ROWS, V>(c + i * crow, crow, a + i * arow, arow, b, brow, depth, add);
  c += i * crow;
  a += i * arow;
  switch (m - i) {
    case 1: return block<T, 1, V>(c, crow, a, arow, b, brow, depth, add);
    case 2: return block<T, 2, V>(c, crow, a, arow, b, brow, depth, add);
    case 3: return block<T, 3, V>(c, crow, a, arow, b, brow, depth, add);
    case 4: return block<T, 4, V>(c, crow, a, arow, b, brow, depth, add);
    case 5: return block<T, 5, V>(c, crow, a, arow, b, brow, depth, add);
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
    for (int64_t i = 0; i < m; ++i) std::fill(c + i * crow, c + i * crow + n, T(0));
  for (int64_t first = 0; first < n; first += STEP) {
    int64_t last = std::min(first + STEP, n);
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

// Columns `first` to `first + count` of b as rows of `width` elements, zero beyond `count`.
template <class To, class From>
void pack_columns(To* to, matrix<From> b, int64_t first, int64_t count, int64_t width,
                  int64_t depth) {
  const From* from = b.data + first * b.column;
  if (b.column == 1) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t j = 0; j < count; ++j) to[k * width + j] = convert<To>(from[k * b.row + j]);
      for (int64_t j = count; j < width; ++j) to[k * width + j] = To(0);
    }
    return;
  }
  constexpr int64_t TILE = 16;
  for (int64_t k = 0; k < depth; k += TILE)
    for (int64_t j = 0; j < width; j += TILE) {
      int64_t high = std::min(k + TILE, depth), right = std::min(j + TILE, width);
      for (int64_t x = j; x < right; ++x)
        for (int64_t y = k; y < high; ++y)
          to[y * width + x] = x < count ? convert<To>(from[y * b.row + x * b.column]) : To(0);
    }
}

template <class To, class From>
void pack_rows(To* to, matrix<From> a, int64_t m, int64_t depth) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t k = 0; k < depth; ++k)
      to[i * depth + k] = convert<To>(a.data[i * a.row + k * a.column]);
}

// Rows of a as they are, if they lie so; else packed.
template <class T, class From>
const T* left_rows(matrix<From> a, int64_t m, int64_t depth, int64_t& row) {
  if (std::is_same<T, From>::value && a.column == 1) {
    row = a.row;
    return (const T*)a.data;
  }
  T* packed = scratch<T>(0, size_t(m) * depth);
  pack_rows(packed, a, m, depth);
  row = depth;
  return packed;
}

// All rows by `vectors` vectors of columns.
template <class T>
void columns(int64_t vectors, T* c, int64_t crow, const T* a, int64_t arow, const T* b,
             int64_t brow, int64_t m, int64_t depth, bool add) {
  switch (vectors) {
    case 1: return rows<T, 1>(c, crow, a, arow, b, brow, m, depth, add);
    case 2: return rows<T, 2>(c, crow, a, arow, b, brow, m, depth, add);
#if !defined(__AVX2__) || defined(AICC_AVX512)
    case 3: return rows<T, 3>(c, crow, a, arow, b, brow, m, depth, add);
    case 4: return rows<T, 4>(c, crow, a, arow, b, brow, m, depth, add);
#endif
  }
}

// How many of `left` columns to take next, of panels as even as whole vectors allow.
template <class T>
AICC_INLINE int64_t next_columns(int64_t left) {
  constexpr int LANES = native<T>::LANES;
  int64_t vectors = (left + LANES - 1) / LANES;
  int64_t panels = (vectors + VECTORS - 1) / VECTORS;
  return std::min(left, (vectors + panels - 1) / panels * LANES);
}

template <class T, class From>
void multiply(T* c, int64_t crow, matrix<From> a, matrix<From> b, int64_t m, int64_t n,
              int64_t depth, bool add) {
  constexpr int LANES = native<T>::LANES;
  constexpr int64_t WIDTH = VECTORS * LANES;
  int64_t arow;
  const T* left = left_rows<T>(a, m, depth, arow);
  const bool direct = std::is_same<T, From>::value && b.column == 1;
  if (direct && m < 4)
    return thin<T>(c, crow, left, arow, (const T*)b.data, b.row, m, n, depth, add);
  // Rows of b that are far apart would each take a page of their own.
  const bool far = m > 2 * ROWS && b.row * sizeof(T) > 4096;
  for (int64_t j = 0, count; j < n; j += count) {
    count = next_columns<T>(n - j);
    int64_t vectors = (count + LANES - 1) / LANES;
    const T* right = (const T*)b.data + (direct ? j : 0);
    int64_t brow = b.row;
    if (!direct || far || count % LANES) {
      T* panel = scratch<T>(1, size_t(WIDTH) * depth);
      pack_columns(panel, b, j, count, vectors * LANES, depth);
      right = panel;
      brow = vectors * LANES;
    }
    columns<T>(vectors, c + j, crow, left, arow, right, brow, m, depth, add);
  }
}

}  // namespace

#define AICC_DOT(T, From)                                                                  \
  void dot(T* c, int64_t row, matrix<From> a, matrix<From> b, int64_t m, int64_t n,        \
           int64_t k, bool add) {                                                          \
    multiply<T, From>(c, row, a, b, m, n, k, add);                                         \
  }
AICC_DOT(float, float)
AICC_DOT(float, f16)
AICC_DOT(float, bf16)
AICC_DOT(float, f8e4m3)
AICC_DOT(float, f8e5m2)
AICC_DOT(double, double)
#if !defined(__AVX512VNNI__) || !defined(AICC_AVX512)  // else in dot_bytes.cpp
AICC_DOT(int32_t, int8_t)
#endif
#undef AICC_DOT

void dot(float* c, int64_t row, matrix<float> a, panels<float> b, int64_t m, int64_t n, int64_t k,
         bool add) {
  constexpr int LANES = native<float>::LANES;
  constexpr int64_t WIDTH = panels<float>::width, STEP = VECTORS * LANES;
  int64_t arow;
  const float* left = left_rows<float>(a, m, k, arow);
  for (int64_t j = 0; j < n; j += STEP) {
    int64_t vectors = (std::min(n - j, STEP) + LANES - 1) / LANES;
    const float* right = b.data + j / WIDTH * b.panel + j % WIDTH;
    columns<float>(vectors, c + j, row, left, arow, right, WIDTH, m, k, add);
  }
}

}  // namespace aicc
