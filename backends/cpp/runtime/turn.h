// Matrices whose rows become columns.
#pragma once

#include "dot.h"

namespace aicc {
namespace {

#if defined(AICC_AVX512)
// A square of 16 x 16 floats, turned in steps of pairs, fours, and quarters of vectors.
AICC_INLINE void turn_square(float* to, int64_t row, const float* from, int64_t step) {
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(from + i * step);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      const __m512d low = _mm512_castps_pd(t[i + j]), high = _mm512_castps_pd(t[i + j + 2]);
      r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      t[i + j] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0x88);
      t[i + j + 4] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0xdd);
    }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    _mm512_storeu_ps(to + i * row, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
    _mm512_storeu_ps(to + (i + 8) * row, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
  }
}
#endif

// to[i * row + j] = from[j * step + i], in squares that vectors turn.
void turn(float* to, int64_t row, const float* from, int64_t step, int64_t m, int64_t n) {
  typedef float four __attribute__((vector_size(16)));
  typedef float loose __attribute__((vector_size(16), aligned(4), may_alias));
  constexpr int64_t TILE = 16;
  for (int64_t first = 0; first < n; first += TILE)
    for (int64_t top = 0; top < m; top += TILE) {
      const int64_t right = minimum(first + TILE, n), low = minimum(top + TILE, m);
#if defined(AICC_AVX512)
      if (first + TILE <= n && top + TILE <= m) {
        turn_square(to + top * row + first, row, from + first * step + top, step);
        continue;
      }
#endif
      int64_t j = first;
      for (; j + 4 <= right; j += 4) {
        const float* in = from + j * step;
        int64_t i = top;
        for (; i + 4 <= low; i += 4) {
          four a = *(const loose*)(in + i), b = *(const loose*)(in + step + i);
          four c = *(const loose*)(in + 2 * step + i), d = *(const loose*)(in + 3 * step + i);
          four ab = AICC_SHUFFLE(a, b, 0, 4, 1, 5), cd = AICC_SHUFFLE(c, d, 0, 4, 1, 5);
          four AB = AICC_SHUFFLE(a, b, 2, 6, 3, 7), CD = AICC_SHUFFLE(c, d, 2, 6, 3, 7);
          float* out = to + i * row + j;
          *(loose*)out = AICC_SHUFFLE(ab, cd, 0, 1, 4, 5);
          *(loose*)(out + row) = AICC_SHUFFLE(ab, cd, 2, 3, 6, 7);
          *(loose*)(out + 2 * row) = AICC_SHUFFLE(AB, CD, 0, 1, 4, 5);
          *(loose*)(out + 3 * row) = AICC_SHUFFLE(AB, CD, 2, 3, 6, 7);
        }
        for (; i < low; ++i)
          for (int64_t x = 0; x < 4; ++x) to[i * row + j + x] = in[x * step + i];
      }
      for (; j < right; ++j)
        for (int64_t i = top; i < low; ++i) to[i * row + j] = from[j * step + i];
    }
}

}  // namespace
}  // namespace aicc
