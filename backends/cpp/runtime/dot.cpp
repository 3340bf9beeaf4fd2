// Products of floats.

#include "dot_blocks.h"

namespace aicc {

AICC_DOT(float, float)

void dot(float* c, int64_t row, matrix<float> a, panels<float> b, int64_t m, int64_t n, int64_t k,
         bool add) {
  constexpr int LANES = native<float>::LANES;
  constexpr int64_t WIDTH = panels<float>::width, STEP = VECTORS * LANES;
  int64_t arow;
  const float* left = left_rows<float>(a, m, k, false, arow);
  for (int64_t j = 0; j < n; j += STEP) {
    int64_t vectors = (minimum(n - j, STEP) + LANES - 1) / LANES;
    const float* right = b.data + j / WIDTH * b.panel + j % WIDTH;
    const int64_t after = j + STEP;
    const later<float> next{b.data + after / WIDTH * b.panel + after % WIDTH, WIDTH};
    columns<float>(vectors, c + j, row, left, arow, right, WIDTH, m, k, add, next);
  }
}

}  // namespace aicc
