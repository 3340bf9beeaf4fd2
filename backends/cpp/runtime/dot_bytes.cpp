// Products of bytes: four of a row of a and of a column of b are multiplied and summed at once.
//
// The instruction takes unsigned by signed bytes: a is taken as a + 128, and 128 times the sum of
// each column of b is taken off. Chips without it multiply 32-bit integers.

#include "dot.h"

#if defined(__AVX512VNNI__) && defined(AICC_AVX512)

namespace aicc {
namespace {

constexpr int ROWS = 6, QUAD = 4, LANES = 16;
constexpr int64_t WIDTH = VECTORS * LANES;

// Rows of a, each byte 128 higher, in whole quads.
void pack_rows(uint8_t* to, matrix<int8_t> a, int64_t m, int64_t depth, int64_t row) {
  for (int64_t i = 0; i < m; ++i) {
    const int8_t* from = a.data + i * a.row;
    uint8_t* line = to + i * row;
    if (a.column == 1)
      for (int64_t k = 0; k < depth; ++k) line[k] = uint8_t(from[k]) ^ 0x80;
    else
      for (int64_t k = 0; k < depth; ++k) line[k] = uint8_t(from[k * a.column]) ^ 0x80;
    for (int64_t k = depth; k < row; ++k) line[k] = 0;
  }
}

// Sixteen columns of four rows: the four of a column side by side.
AICC_INLINE void interleave(int8_t* to, const int8_t* const* rows, int64_t j) {
  __m128i r[QUAD];
  for (int q = 0; q < QUAD; ++q) r[q] = _mm_loadu_si128((const __m128i*)(rows[q] + j));
  __m128i low = _mm_unpacklo_epi8(r[0], r[1]), low2 = _mm_unpacklo_epi8(r[2], r[3]);
  __m128i high = _mm_unpackhi_epi8(r[0], r[1]), high2 = _mm_unpackhi_epi8(r[2], r[3]);
  __m128i* out = (__m128i*)to;
  _mm_storeu_si128(out, _mm_unpacklo_epi16(low, low2));
  _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(low, low2));
  _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(high, high2));
  _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(high, high2));
}

// `count` columns of b from `first` on as quads of `width` columns, zero beyond; 128 times each
// column's sum goes to `sums`.
void pack_quads(int8_t* to, int32_t* sums, matrix<int8_t> b, int64_t first, int64_t count,
                int64_t width, int64_t depth) {
  const int8_t* from = b.data + first * b.column;
  static const int8_t zeros[WIDTH] = {};
  const bool rows_lie_so = b.column == 1;
  for (int64_t k = 0; k < depth; k += QUAD) {
    int8_t* line = to + k * width;
    int64_t j = 0;
    if (rows_lie_so) {
      const int8_t* rows[QUAD];
      for (int64_t q = 0; q < QUAD; ++q) rows[q] = k + q < depth ? from + (k + q) * b.row : zeros;
      for (; j + LANES <= count; j += LANES) interleave(line + j * QUAD, rows, j);
    }
    for (; j < width; ++j)
      for (int64_t q = 0; q < QUAD; ++q)
        line[j * QUAD + q] =
            j < count && k + q < depth ? from[(k + q) * b.row + j * b.column] : int8_t(0);
  }
  const __m512i ones = _mm512_set1_epi8(1);
  for (int64_t j = 0; j < width; j += LANES) {
    __m512i total = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += QUAD)
      total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(to + k * width + j * QUAD));
    _mm512_storeu_si512(sums + j, _mm512_slli_epi32(total, 7));
  }
}

// R rows by V vectors.
template <int R, int V>
void block(int32_t* c, int64_t crow, const uint8_t* a, int64_t arow, const int8_t* b,
           const int32_t* sums, int64_t depth, bool add) {
  __m512i total[R][V];
#pragma GCC unroll 8
  for (int j = 0; j < V; ++j) {
    __m512i off = _mm512_loadu_si512(sums + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      __m512i start = add ? _mm512_loadu_si512(c + i * crow + j * LANES) : _mm512_setzero_si512();
      total[i][j] = _mm512_sub_epi32(start, off);
    }
  }
  for (int64_t k = 0; k < depth; k += QUAD) {
    __m512i right[V];
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j)
      right[j] = _mm512_loadu_si512(b + k * V * LANES + j * LANES * QUAD);
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
          const int32_t* sums, int64_t m, int64_t depth, bool add) {
  int64_t i = 0;
  for (; i + ROWS <= m; i += ROWS)
    block<ROWS, V>(c + i * crow, crow, a + i * arow, arow, b, sums, depth, add);
  c += i * crow;
  a += i * arow;
  switch (m - i) {
    case 1: return block<1, V>(c, crow, a, arow, b, sums, depth, add);
    case 2: return block<2, V>(c, crow, a, arow, b, sums, depth, add);
    case 3: return block<3, V>(c, crow, a, arow, b, sums, depth, add);
    case 4: return block<4, V>(c, crow, a, arow, b, sums, depth, add);
    case 5: return block<5, V>(c, crow, a, arow, b, sums, depth, add);
  }
}

}  // namespace

void dot(int32_t* c, int64_t row, matrix<int8_t> a, matrix<int8_t> b, int64_t m, int64_t n,
         int64_t k, bool add) {
  const int64_t depth = (k + QUAD - 1) / QUAD * QUAD;
  uint8_t* left = scratch<uint8_t>(0, size_t(m) * depth);
  pack_rows(left, a, m, k, depth);
  for (int64_t j = 0; j < n; j += WIDTH) {
    const int64_t count = std::min(n - j, WIDTH), vectors = (count + LANES - 1) / LANES;
    int8_t* right = scratch<int8_t>(1, size_t(WIDTH) * depth);
    int32_t sums[WIDTH];
    pack_quads(right, sums, b, j, count, vectors * LANES, k);
    switch (vectors) {
      case 1: rows<1>(c + j, row, left, depth, right, sums, m, depth, add); break;
      case 2: rows<2>(c + j, row, left, depth, right, sums, m, depth, add); break;
      case 3: rows<3>(c + j, row, left, depth, right, sums, m, depth, add); break;
      case 4: rows<4>(c + j, row, left, depth, right, sums, m, depth, add); break;
    }
  }
}

}  // namespace aicc

#else

#include "dot_blocks.h"

namespace aicc {

AICC_DOT(int32_t, int8_t)

}  // namespace aicc

#endif
