// Products of bytes, summed in 32 bits.

#include "group_blocks.h"

namespace aicc {
namespace {

#if defined(__AVX512VNNI__) && defined(AICC_AVX512)
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
  constexpr int64_t WIDTH = panels<int8_t>::width, LANES = 16;
  const __m512i ones = _mm512_set1_epi8(1);
  for (int64_t j = 0; j < n; j += WIDTH) {
    const int8_t* panel = panel_at(b, j, n, k, deep);
    const int64_t columns = minimum(n - j, WIDTH);
    int32_t off[WIDTH];
    for (int64_t v = 0; v < columns; v += LANES) {
      __m512i total = _mm512_setzero_si512();
      for (int64_t i = 0; i < deep; i += GROUP<int8_t>)
        total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(panel + i * WIDTH + v * 4));
      _mm512_storeu_si512(off + v, _mm512_slli_epi32(total, 7));
    }
    group_columns<int8_t, int32_t>(c + j, row, packed, deep, panel, off, m, columns, deep, add);
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
