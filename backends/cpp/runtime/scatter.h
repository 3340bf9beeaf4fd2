// Slices of an array joined with others at given places: what no kernel of tiles does.
#pragma once

#include <cstring>

#include "aicc_cpu.h"

namespace aicc {

enum class join { none, add, mul };

template <join J, class T>
AICC_INLINE void join_slices(T* to, const T* from, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    if (J == join::none) to[j] = from[j];
    if (J == join::add) to[j] += from[j];
    if (J == join::mul) to[j] *= from[j];
  }
}

// out = x, but for `count` slices of `size` elements, which are joined with `updates` one after the
// other: slice i at the place that the i-th tuple of `depth` indices into `shape` gives; negative
// ones count from the end. False, and out unfinished, where one is out of range.
template <join J, class T, class I>
bool scatter_slices(T* out, const T* x, const I* indices, const T* updates, const int64_t* shape,
                    int64_t depth, int64_t count, int64_t size) {
  int64_t slices = 1;
  for (int64_t d = 0; d < depth; ++d) slices *= shape[d];
  auto place = [&](int64_t i) {
    int64_t at = 0;
    for (int64_t d = 0; d < depth; ++d) {
      const int64_t index = int64_t(indices[i * depth + d]);
      if (index < -shape[d] || index >= shape[d]) return int64_t(-1);
      at = at * shape[d] + index + (index < 0 ? shape[d] : 0);
    }
    return at;
  };
  for (int64_t i = 0; i < count; ++i)
    if (place(i) < 0) return false;
  constexpr int64_t PART = 1 << 14, COLUMNS = 64;
  const int64_t all = slices * size;
  run_programs((all + PART - 1) / PART, double(all) / 4, [&](int64_t p) {
    const int64_t first = p * PART;
    std::memcpy(out + first, x + first, size_t(std::min(PART, all - first)) * sizeof(T));
  });
  run_programs((size + COLUMNS - 1) / COLUMNS, double(count) * double(size) / 4, [&](int64_t p) {
    const int64_t first = p * COLUMNS, n = std::min(COLUMNS, size - first);
    for (int64_t i = 0; i < count; ++i)
      join_slices<J>(out + place(i) * size + first, updates + i * size + first, n);
  });
  return true;
}

}  // namespace aicc
