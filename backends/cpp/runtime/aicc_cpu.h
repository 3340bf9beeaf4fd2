// What kernels printed for the CPU need: vectors, functions on them, products of tiles, threads.
//
// C++17. Kernels are built for one instruction set; the width of vectors follows from it.
#pragma once

#include "blas.h"
#include "elementary.h"
#include "operands.h"
#include "turn.h"
#include "vector.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace aicc {

#if defined(_OPENMP)
// What is left of a thread's share of the programs: the first of them and the end, 32 bits each.
struct alignas(64) share {
  uint64_t left = 0;

  // Up to `most` of them, from the front or the back: from `first` to `end`.
  bool take(bool front, uint64_t most, int64_t& first, int64_t& end) {
    uint64_t now = __atomic_load_n(&left, __ATOMIC_RELAXED);
    while (true) {
      const uint64_t low = now >> 32, high = now & 0xffffffff;
      if (low >= high) return false;
      const uint64_t taken = minimum(most, high - low);
      first = int64_t(front ? low : high - taken);
      end = first + int64_t(taken);
      const uint64_t next = front ? (low + taken) << 32 | high : low << 32 | (high - taken);
      if (__atomic_compare_exchange_n(&left, &now, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return true;
    }
  }
};
#endif

// Threads that programs are shared out over.
AICC_INLINE int64_t threads() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  return 1;
#endif
}

// Programs 0 to n - 1, shared out over threads where the work (in about nanoseconds) is worth it.
// A thread goes through the same part of them in each kernel, of which its cache holds what the
// last kernel wrote; then it helps the others, from the end of theirs.
template <class F>
AICC_INLINE void run_programs(int64_t n, double work, F program) {
#if defined(_OPENMP)
  constexpr int MOST = 64;
  if (n > 1 && work > 2e4 && n < int64_t(1) << 31) {
    share all[MOST];
    const int64_t shares = minimum<int64_t>(minimum(omp_get_max_threads(), MOST), n);
    for (int64_t i = 0; i < shares; ++i)
      all[i].left = uint64_t(n * i / shares) << 32 | uint64_t(n * (i + 1) / shares);
    const uint64_t some = uint64_t(maximum<int64_t>(1, n / (shares * 8)));
#pragma omp parallel
    for (int64_t i = 0, mine = omp_get_thread_num(); i < shares; ++i) {
      share& from = all[(mine + i) % shares];
      int64_t first, end;
      while (from.take(i == 0, some, first, end))
        for (int64_t p = first; p < end; ++p) program(p);
    }
    return;
  }
#endif
  for (int64_t p = 0; p < n; ++p) program(p);
}

// Quotients of sizes, rounded down as the sizes of the IR are.
AICC_INLINE int64_t floordiv(int64_t x, int64_t y) {
  return y == 0 ? 0 : x / y - (x % y != 0 && (x < 0) != (y < 0));
}
AICC_INLINE int64_t mod(int64_t x, int64_t y) { return y == 0 ? 0 : x - floordiv(x, y) * y; }

}  // namespace aicc
