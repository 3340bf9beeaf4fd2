// Division: of integers as the tile dialect has it, and of floats by one number.
#pragma once

#include "convert.h"

namespace aicc {

// ------------------------------------------------------------------ integers

// Toward zero: by zero gives 0, the least by -1 wraps; the rest by zero is 0.
template <class T>
AICC_INLINE T quotient(T x, T y) {
  if (y == 0) return 0;
  if (std::is_signed<T>::value && y == T(-1)) return T(std::make_unsigned_t<T>(0) - x);
  return T(x / y);
}
template <class T>
AICC_INLINE T rest(T x, T y) {
  if (y == 0 || (std::is_signed<T>::value && y == T(-1))) return 0;
  return T(x % y);
}

// No instruction divides vectors of integers. A float with twice their bits is near enough to their
// quotient to be cut to it: it differs from whole numbers by 1 / y at least.
template <class T>
AICC_INLINE vec<T> quotient(vec<T> x, vec<T> y) {
  if constexpr (sizeof(T) <= 4) {
    using wide = std::conditional_t<(sizeof(T) < 4), float, double>;
    const vec<wide> whole = convert<wide>(x) / convert<wide>(y);
    const mask none = y == vec<T>(T(0));
    return select(none, vec<T>(T(0)), convert<T>(select(none, vec<wide>(wide(0)), whole)));
  } else {
    return each<T>(x, y, [](T a, T b) { return quotient(a, b); });
  }
}
template <class T>
AICC_INLINE vec<T> rest(vec<T> x, vec<T> y) {
  if constexpr (sizeof(T) <= 4)
    return select(y == vec<T>(T(0)), vec<T>(T(0)), x - quotient(x, y) * y);
  else
    return each<T>(x, y, [](T a, T b) { return rest(a, b); });
}

// ------------------------------------------------------------------ floats

#if defined(AICC_AVX512) || (defined(__AVX2__) && defined(__FMA__)) || defined(__ARM_FEATURE_FMA)
// x * y + z, rounded once.
AICC_INLINE vec<float> fused(vec<float> x, vec<float> y, vec<float> z) {
  using native = vec<float>::native;
#if defined(AICC_AVX512)
  z.part[0] = (native)_mm512_fmadd_ps((__m512)x.part[0], (__m512)y.part[0], (__m512)z.part[0]);
#elif defined(__AVX2__)
  z.part[0] = (native)_mm256_fmadd_ps((__m256)x.part[0], (__m256)y.part[0], (__m256)z.part[0]);
#else
  for (int i = 0; i < W; ++i) z.set(i, __builtin_fmaf(x.lane(i), y.lane(i), z.lane(i)));
#endif
  return z;
}

// All by one number, as products by its reciprocal to which what is left is added (Markstein,
// "Computation of elementary functions on the IBM RISC System/6000 processor", 1990). With a
// reciprocal that is rounded right, only quotients within 2^-22 of their last place from halfway
// between two floats could be rounded to the wrong one; for all 52 million such pairs of fractions
// they are not. What is left has to be a float, for which tiny and huge numbers are divided, and
// so are all where the divisor is (or is negative: zeros would lose their signs).
AICC_INLINE vec<float> operator/(vec<float> x, float y) {
  constexpr uint32_t LEAST = 0x0d800000, MOST = 0x71800000;  // 2^-100 and 2^100
  const bool usual = y > 0x1p-20f && y < 0x1p20f;
  const vec<uint32_t> size = bitcast<uint32_t>(x) & 0x7fffffffu;
  const vec<uint32_t> zero = usual ? 0u : ~0u, range = usual ? MOST - LEAST : 0;
  if (!__builtin_expect(all_of((size - LEAST < range) | (size == zero)), 1)) return x / vec<float>(y);
  const vec<float> inverse = 1 / y, q = x * inverse;
  return fused(-fused(q, y, -x), inverse, q);
}
#endif

}  // namespace aicc
