// Lines of an array put in order: what no kernel of tiles does.
#pragma once

#include <algorithm>
#include <vector>

#include "aicc_cpu.h"

namespace aicc {

template <class T>
struct ranked {
  T value;
  int64_t index;
};

// Whether x comes first: the smaller, or the greater with D, and of equal ones the first. NaN is the
// largest.
template <bool D, class T>
AICC_INLINE bool comes_first(const ranked<T>& x, const ranked<T>& y) {
  const bool odd_x = x.value != x.value, odd_y = y.value != y.value;
  const bool less = D ? y.value < x.value || (odd_x && !odd_y) : x.value < y.value || (odd_y && !odd_x);
  const bool more = D ? x.value < y.value || (odd_y && !odd_x) : y.value < x.value || (odd_x && !odd_y);
  return less || (!more && x.index < y.index);
}

// The first k of each line of x[outer, n, inner] in order, and where they stood: [outer, k, inner].
template <bool D, class T>
void put_in_order(T* values, int64_t* indices, const T* x, int64_t outer, int64_t n, int64_t inner,
                  int64_t k) {
  run_programs(outer * inner, double(outer * inner) * double(n) * 8, [&](int64_t line) {
    static thread_local std::vector<ranked<T>> kept;
    kept.resize(size_t(n));
    const int64_t o = line / inner, i = line % inner;
    const T* from = x + o * n * inner + i;
    for (int64_t j = 0; j < n; ++j) kept[size_t(j)] = {from[j * inner], j};
    if (k < n) std::nth_element(kept.begin(), kept.begin() + k, kept.end(), comes_first<D, T>);
    std::sort(kept.begin(), kept.begin() + k, comes_first<D, T>);
    const int64_t to = o * k * inner + i;
    for (int64_t j = 0; j < k; ++j) {
      values[to + j * inner] = kept[size_t(j)].value;
      indices[to + j * inner] = kept[size_t(j)].index;
    }
  });
}

}  // namespace aicc
