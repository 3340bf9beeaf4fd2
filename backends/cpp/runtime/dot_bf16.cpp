// Products of bf16, summed in float.

#include "groups.h"

namespace aicc {
namespace {

template <class Right>
void multiply_bf16(float* c, int64_t row, matrix<bf16> a, Right b, int64_t m, int64_t n,
                   int64_t k, bool add) {
#if defined(AICC_SQUARES)
  if (squares_work()) return by_squares(c, row, a, b, m, n, k, add);
#endif
  widened(c, row, a, b, m, n, k, add);
}

}  // namespace

void dot(float* c, int64_t row, matrix<bf16> a, matrix<bf16> b, int64_t m, int64_t n, int64_t k,
         bool add) {
  multiply_bf16(c, row, a, b, m, n, k, add);
}

void dot(float* c, int64_t row, matrix<bf16> a, panels<bf16> b, int64_t m, int64_t n, int64_t k,
         bool add) {
  multiply_bf16(c, row, a, b, m, n, k, add);
}

}  // namespace aicc
