// Products by a BLAS library, where one was measured to be faster than what stands here.
#pragma once

#include <dlfcn.h>

#include "system.h"

namespace aicc {

// A library's sgemm: the one that AICC_BLAS names, else one that the system has. Its whole numbers
// have 32 bits, or 64 where the name says so.
struct blas {
  using narrow = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int,
                          float, float*, int);
  using wide = void (*)(int, int, int, int64_t, int64_t, int64_t, float, const float*, int64_t,
                        const float*, int64_t, float, float*, int64_t);
  narrow sgemm = nullptr;
  wide sgemm64 = nullptr;

  blas() {
    const char* named = getenv("AICC_BLAS");
    const char* names[] = {named, "libopenblas.so.0", "libmkl_rt.so.2", "libblis.so.4"};
    for (const char* name : names) {
      void* library = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : nullptr;
      if (!library) continue;
      sgemm = (narrow)dlsym(library, "cblas_sgemm");
      const char* const symbols[] = {"scipy_cblas_sgemm64_", "cblas_sgemm64_"};
      for (const char* symbol : symbols)
        if (!sgemm && !sgemm64) sgemm64 = (wide)dlsym(library, symbol);
      if (sgemm || sgemm64) return;
    }
  }
};

// c = a b, all row by row: c of m rows and n columns, summed over k. False where there is no library.
inline bool cblas_sgemm(float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k) {
  static const blas library;
  const int rows = 101, plain = 111;  // CblasRowMajor, CblasNoTrans
  if (library.sgemm)
    library.sgemm(rows, plain, plain, int(m), int(n), int(k), 1, a, int(k), b, int(n), 0, c, int(n));
  else if (library.sgemm64)
    library.sgemm64(rows, plain, plain, m, n, k, 1, a, k, b, n, 0, c, n);
  return library.sgemm || library.sgemm64;
}

}  // namespace aicc
