// What all products of tiles stand on: native vectors, and memory for packed operands.
#pragma once

#include "operands.h"

#if defined(__clang__) || __GNUC__ >= 12
#define AICC_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
typedef int aicc_lanes __attribute__((vector_size(16)));
#define AICC_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (aicc_lanes){__VA_ARGS__})
#endif

namespace aicc {
namespace {

// Vectors of columns whose sums, for a few rows, fill the registers.
constexpr int VECTORS = BYTES == 32 ? 2 : 4;

template <class T>
struct native {
  typedef T type __attribute__((vector_size(BYTES)));
  typedef T loose __attribute__((vector_size(BYTES), aligned(alignof(T)), may_alias));
  static constexpr int LANES = BYTES / sizeof(T);
};

// Memory of this thread's own, at least so large, kept from call to call.
template <class T>
T* scratch(int which, size_t count) {
  struct kept {
    void* data = nullptr;
    size_t bytes = 0;
    ~kept() { std::free(data); }
  };
  static thread_local kept all[3];
  kept& mine = all[which];
  size_t bytes = (count * sizeof(T) + 4095) / 4096 * 4096;
  if (mine.bytes < bytes) {
    std::free(mine.data);
    mine.data = std::aligned_alloc(4096, bytes);
    mine.bytes = mine.data ? bytes : 0;
    if (!mine.data) throw std::bad_alloc();
  }
  return static_cast<T*>(mine.data);
}

}  // namespace
}  // namespace aicc
