// Slices of an array joined with others at given places: what no kernel of tiles does.
#pragma once

#include <atomic>

#include "aicc_cpu.h"

namespace aicc {

enum class join { none, add, mul, max, min };

// One element joined with another; NaN wins where the greater or the smaller is wanted.
template <join J, class T>
AICC_INLINE T joined(T x, T y) {
  if (J == join::add) return x + y;
  if (J == join::mul) return x * y;
  if (J == join::max) return x > y || x != x ? x : y;
  if (J == join::min) return x < y || x != x ? x : y;
  return y;
}

template <join J, class T>
AICC_INLINE void join_slices(T* to, const T* from, int64_t n) {
  for (int64_t j = 0; j < n; ++j) to[j] = joined<J>(to[j], from[j]);
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
  // Two parts of the columns for each thread: long runs of memory, and as much for all to do.
  const int64_t parts = 2 * threads(), columns = maximum<int64_t>(64, (size + parts - 1) / parts);
  constexpr int64_t PART = 1 << 14;
  const int64_t all = slices * size;
  run_programs((all + PART - 1) / PART, double(all) / 4, [&](int64_t p) {
    const int64_t first = p * PART;
    memcpy(out + first, x + first, size_t(minimum(PART, all - first)) * sizeof(T));
  });
  run_programs((size + columns - 1) / columns, double(count) * double(size) / 4, [&](int64_t p) {
    const int64_t first = p * columns, n = minimum(columns, size - first);
    for (int64_t i = 0; i < count; ++i)
      join_slices<J>(out + place(i) * size + first, updates + i * size + first, n);
  });
  return true;
}

// out = x, but for the elements of `updates`, of sizes `counts`, each joined with the one of the same
// place but along `axis`, where the index of that place says: x has sizes `shape`. False, and out
// unfinished, where an index is out of range.
template <join J, class T, class I>
bool scatter_elements(T* out, const T* x, const I* indices, const T* updates, const int64_t* shape,
                      const int64_t* counts, int64_t rank, int64_t axis) {
  int64_t all = 1, lines = 1, inner = 1, step = 1;
  for (int64_t d = 0; d < rank; ++d) all *= shape[d];
  for (int64_t d = 0; d < rank; ++d) lines *= d == axis ? 1 : counts[d];
  for (int64_t d = axis + 1; d < rank; ++d) inner *= counts[d], step *= shape[d];
  const int64_t n = counts[axis], size = shape[axis];
  for (int64_t i = 0; i < lines * n; ++i)
    if (int64_t(indices[i]) < -size || int64_t(indices[i]) >= size) return false;
  constexpr int64_t PART = 1 << 14;
  run_programs((all + PART - 1) / PART, double(all) / 4, [&](int64_t p) {
    const int64_t first = p * PART;
    memcpy(out + first, x + first, size_t(minimum(PART, all - first)) * sizeof(T));
  });
  run_programs(lines, double(lines) * double(n) * 4, [&](int64_t line) {
    int64_t at = 0, rest = line, stride = 1;  // where the line begins in out
    for (int64_t d = rank - 1; d >= 0; --d) {
      if (d != axis) at += rest % counts[d] * stride, rest /= counts[d];
      stride *= shape[d];
    }
    const int64_t first = line / inner * n * inner + line % inner;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t index = int64_t(indices[first + j * inner]);
      T* to = out + at + (index < 0 ? index + size : index) * step;
      *to = joined<J>(*to, updates[first + j * inner]);
    }
  });
  return true;
}

// Each of `count` values a plane added to its place in the plane, of `size` elements, which is 0
// else. False, and out unfinished, where a place is out of range.
template <class T, class I>
bool add_in_planes(T* out, const T* values, const I* places, int64_t planes, int64_t size,
                   int64_t count) {
  std::atomic<bool> fine{true};
  run_programs(planes, double(planes) * double(size / 8 + 2 * count), [&](int64_t p) {
    T* to = out + p * size;
    fill(to, size, T(0));
    for (int64_t i = p * count; i < (p + 1) * count; ++i) {
      const int64_t at = int64_t(places[i]);
      if (at < 0 || at >= size) return fine.store(false, std::memory_order_relaxed);
      to[at] += values[i];
    }
  });
  return fine;
}

}  // namespace aicc
