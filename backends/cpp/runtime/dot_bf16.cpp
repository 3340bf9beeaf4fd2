// Products of bf16, summed in float.

#include "group_blocks.h"

namespace aicc {
namespace {

template <class Right>
void by_vectors(float* c, int64_t row, matrix<bf16> a, Right b, int64_t m, int64_t n, int64_t k,
                bool add) {
  const int64_t deep = whole_steps<bf16>(k);
  // Rows that lie so are read as they are, whole groups of them.
  const bool lies = a.column == 1 && k % GROUP<bf16> == 0;
  const bf16* left = a.data;
  if (!lies) {
    bf16* packed = scratch<bf16>(0, size_t(m) * deep);
    pack_rows(packed, a, m, k, deep);
    left = packed;
  }
  for (int64_t j = 0; j < n; j += panels<bf16>::width) {
    const int64_t columns = minimum(n - j, panels<bf16>::width);
    group_columns<bf16, float>(c + j, row, left, lies ? a.row : deep, panel_at(b, j, n, k, deep),
                               nullptr, m, columns, lies ? k : deep, add);
  }
}

template <class Right>
void multiply_bf16(float* c, int64_t row, matrix<bf16> a, Right b, int64_t m, int64_t n,
                   int64_t k, bool add) {
#if defined(AICC_SQUARES)
  if (squares_work()) return by_squares(c, row, a, b, m, n, k, add);
#endif
#if !defined(AICC_AVX512)
  if constexpr (std::is_same<Right, matrix<bf16>>::value)
    return widened(c, row, a, b, m, n, k, add);
  else
#endif
    by_vectors(c, row, a, b, m, n, k, add);
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
