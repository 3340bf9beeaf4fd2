// Products of bytes, summed in 32 bits.

#include "groups.h"

namespace aicc {
namespace {

#if defined(__AVX512VNNI__) && defined(AICC_AVX512)
constexpr int QUAD = 4, LANES = 16;
constexpr int64_t WIDTH = panels<int8_t>::width;

// R rows by V vectors; `off` is taken off each column's sums.
template <int R, int V>
void block(int32_t* c, int64_t crow, const uint8_t* a, int64_t arow, const int8_t* b,
           const int32_t* off, int64_t depth, bool add) {
  __m512i total[R][V];
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    __m512i less = _mm512_loadu_si512(off + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      __m512i start = add ? _mm512_loadu_si512(c + i * crow + j * LANES) : _mm512_setzero_si512();
      total[i][j] = _mm512_sub_epi32(start, less);
    }
  }
  for (int64_t k = 0; k < depth; k += QUAD) {
    __m512i right[V];
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) right[j] = _mm512_loadu_si512(b + k * WIDTH + j * LANES * QUAD);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      int32_t four;
      memcpy(&four, a + i * arow + k, sizeof(four));
      __m512i left = _mm512_set1_epi32(four);
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) total[i][j] = _mm512_dpbusd_epi32(total[i][j], left, right[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) _mm512_storeu_si512(c + i * crow + j * LANES, total[i][j]);
}

template <int V>
void rows(int32_t* c, int64_t crow, const uint8_t* a, int64_t arow, const int8_t* b,
          const int32_t* off, int64_t m, int64_t depth, bool add) {
  int64_t i = 0;
  for (; i + ROWS <= m; i += ROWS)
    block<ROWS, V>(c + i * crow, crow, a + i * arow, arow, b, off, depth, add);
  c += i * crow;
  a += i * arow;
  switch (m - i) {
    case 1: return block<1, V>(c, crow, a, arow, b, off, depth, add);
    case 2: return block<2, V>(c, crow, a, arow, b, off, depth, add);
    case 3: return block<3, V>(c, crow, a, arow, b, off, depth, add);
    case 4: return block<4, V>(c, crow, a, arow, b, off, depth, add);
    case 5: return block<5, V>(c, crow, a, arow, b, off, depth, add);
  }
}

// The instruction takes unsigned by signed bytes: a is taken as a + 128, and 128 times the sum of
// each column of b is taken off.
template <class Right>
void by_vectors(int32_t* c, int64_t row, matrix<int8_t> a, Right b, int64_t m, int64_t n,
                int64_t k, bool add) {
  const int64_t deep = whole_steps<int8_t>(k);
  int8_t* packed = scratch<int8_t>(0, size_t(m) * deep);
  pack_rows(packed, a, m, k, deep);
  uint8_t* left = (uint8_t*)packed;
  for (int64_t i = 0; i < m * deep; ++i) left[i] ^= 0x80;
  const __m512i ones = _mm512_set1_epi8(1);
  for (int64_t j = 0; j < n; j += WIDTH) {
    const int8_t* panel = panel_at(b, j, n, k, deep);
    const int64_t vectors = (std::min(n - j, WIDTH) + LANES - 1) / LANES;
    int32_t off[WIDTH];
    for (int64_t v = 0; v < vectors; ++v) {
      __m512i total = _mm512_setzero_si512();
      for (int64_t i = 0; i < deep; i += QUAD)
        total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(panel + i * WIDTH + v * 64));
      _mm512_storeu_si512(off + v * LANES, _mm512_slli_epi32(total, 7));
    }
    switch (vectors) {
      case 1: rows<1>(c + j, row, left, deep, panel, off, m, deep, add); break;
      case 2: rows<2>(c + j, row, left, deep, panel, off, m, deep, add); break;
      case 3: rows<3>(c + j, row, left, deep, panel, off, m, deep, add); break;
      case 4: rows<4>(c + j, row, left, deep, panel, off, m, deep, add); break;
    }
  }
}
#else
template <class Right>
void by_vectors(int32_t* c, int64_t row, matrix<int8_t> a, Right b, int64_t m, int64_t n,
                int64_t k, bool add) {
  widened(c, row, a, b, m, n, k, add);
}
#endif

template <class Right>
void multiply_bytes(int32_t* c, int64_t row, matrix<int8_t> a, Right b, int64_t m, int64_t n,
                    int64_t k, bool add) {
#if defined(AICC_SQUARES)
  if (squares_work()) return by_squares(c, row, a, b, m, n, k, add);
#endif
  by_vectors(c, row, a, b, m, n, k, add);
}

}  // namespace

void dot(int32_t* c, int64_t row, matrix<int8_t> a, matrix<int8_t> b, int64_t m, int64_t n,
         int64_t k, bool add) {
  multiply_bytes(c, row, a, b, m, n, k, add);
}

void dot(int32_t* c, int64_t row, matrix<int8_t> a, panels<int8_t> b, int64_t m, int64_t n,
         int64_t k, bool add) {
  multiply_bytes(c, row, a, b, m, n, k, add);
}

}  // namespace aicc
