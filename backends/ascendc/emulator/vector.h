// Instructions of the vector unit, in the forms that take a count of elements.
#pragma once

#include <algorithm>

#include "copy.h"

namespace AscendC {

enum class RoundMode { CAST_NONE, CAST_RINT, CAST_FLOOR, CAST_CEIL, CAST_ROUND, CAST_TRUNC, CAST_ODD };
enum class CMPMODE { LT, GT, EQ, LE, GE, NE };
enum class SELMODE { VSEL_CMPMASK_SPR, VSEL_TENSOR_SCALAR_MODE, VSEL_TENSOR_TENSOR_MODE };

namespace emulator {

template <class T, class... U>
constexpr bool one_of = (std::is_same_v<T, U> || ...);

inline void vector_clocks(int64_t bytes, int64_t times = 1) {
  spend(PIPE_V, 12 + times * ((bytes + 255) / 256));
}

template <class T, class F>
void binary(const LocalTensor<T>& dst, const LocalTensor<T>& a, const LocalTensor<T>& b, int64_t n,
            const char* call, F f) {
  a.check(PIPE_V, n, false, call);
  b.check(PIPE_V, n, false, call);
  dst.check(PIPE_V, n, true, call);
  T *to = dst.data(), *x = a.data(), *y = b.data();
  for (int64_t i = 0; i < n; ++i) {
    const bool both = a.known(i) && b.known(i);
    to[i] = f(x[i], y[i]);
    dst.know(i, both);
  }
  vector_clocks(n * sizeof(T));
}
template <class T, class F>
void unary(const LocalTensor<T>& dst, const LocalTensor<T>& a, int64_t n, const char* call, F f,
           int64_t times = 1) {
  a.check(PIPE_V, n, false, call);
  dst.check(PIPE_V, n, true, call);
  T *to = dst.data(), *x = a.data();
  for (int64_t i = 0; i < n; ++i) {
    const bool known = a.known(i);
    to[i] = T(f(x[i]));
    dst.know(i, known);
  }
  vector_clocks(n * sizeof(T), times);
}
template <class T>
T larger(T x, T y) {
  return x != x || x > y ? x : y;
}
template <class T>
T smaller(T x, T y) {
  return x != x || x < y ? x : y;
}
template <class T>
bool compared(CMPMODE mode, T x, T y) {
  switch (mode) {
    case CMPMODE::LT: return x < y;
    case CMPMODE::GT: return x > y;
    case CMPMODE::EQ: return x == y;
    case CMPMODE::LE: return x <= y;
    case CMPMODE::GE: return x >= y;
    default: return x != y;
  }
}
// Bits beyond the last whole 256 bytes of operands are not computed.
template <class T, class U, class F>
void compare(const LocalTensor<U>& dst, int64_t n, const char* call, F f) {
  if (n * sizeof(T) % 256)
    fail(call, ": ", n, " elements of ", sizeof(T), " bytes aren't a multiple of 256 bytes");
  dst.check(PIPE_V, (n + 7) / 8, true, call);
  for (int64_t i = 0; i < n; i += 8) {
    int bits = 0;
    for (int j = 0; j < 8; ++j) bits |= int(f(i + j)) << j;
    dst.data()[i / 8] = U(bits);
    dst.know(i / 8, true);  // what is known of each bit, selections know of what they choose
  }
  vector_clocks(n * sizeof(T));
}

}  // namespace emulator

#define AICC_NUMBERS(call)                                                                   \
  static_assert(emulator::one_of<T, int16_t, half, int32_t, float>,                          \
                call " takes int16_t, half, int32_t and float")
#define AICC_FLOATS(call)                                                                    \
  static_assert(emulator::one_of<T, half, float>, call " takes half and float")

#define AICC_BINARY(Name, rule, expression)                                                  \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, \
            const int32_t& count) {                                                          \
    rule(#Name);                                                                             \
    emulator::binary(dst, src0, src1, count, #Name,                                          \
                     [](T x, T y) -> T { return T(expression); });                           \
  }
AICC_BINARY(Add, AICC_NUMBERS, x + y)
AICC_BINARY(Sub, AICC_NUMBERS, x - y)
AICC_BINARY(Mul, AICC_NUMBERS, x* y)
AICC_BINARY(Div, AICC_FLOATS, x / y)
AICC_BINARY(Max, AICC_NUMBERS, emulator::larger(x, y))
AICC_BINARY(Min, AICC_NUMBERS, emulator::smaller(x, y))
#undef AICC_BINARY

#define AICC_SCALAR(Name, expression)                                                        \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalar,           \
            const int32_t& count) {                                                          \
    AICC_NUMBERS(#Name);                                                                     \
    const T y = scalar;                                                                      \
    emulator::unary(dst, src, count, #Name, [y](T x) -> T { return T(expression); });        \
  }
AICC_SCALAR(Adds, x + y)
AICC_SCALAR(Muls, x* y)
AICC_SCALAR(Maxs, emulator::larger(x, y))
AICC_SCALAR(Mins, emulator::smaller(x, y))
#undef AICC_SCALAR

#define AICC_UNARY(Name, expression)                                                         \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t& count) {    \
    AICC_FLOATS(#Name);                                                                      \
    emulator::unary(dst, src, count, #Name, [](T t) -> float {                               \
      const float x = float(t);                                                              \
      return expression;                                                                     \
    });                                                                                      \
  }
AICC_UNARY(Exp, std::exp(x))
AICC_UNARY(Ln, std::log(x))
AICC_UNARY(Sqrt, std::sqrt(x))
AICC_UNARY(Abs, std::fabs(x))
AICC_UNARY(Relu, x != x || x > 0 ? x : 0.0f)
#undef AICC_UNARY

template <class T>
void Duplicate(const LocalTensor<T>& dst, const T& scalar, const int32_t& count) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Duplicate takes elements of 16 and 32 bits");
  dst.check(PIPE_V, count, true, "Duplicate");
  std::fill(dst.data(), dst.data() + count, scalar);
  emulator::know(dst.first, int64_t(count) * sizeof(T));
  emulator::vector_clocks(count * sizeof(T));
}

template <class T, class U>
void Compare(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,
             CMPMODE mode, uint32_t count) {
  AICC_FLOATS("Compare");
  static_assert(std::is_same_v<U, uint8_t>, "Compare writes uint8_t");
  src0.check(PIPE_V, count, false, "Compare");
  src1.check(PIPE_V, count, false, "Compare");
  emulator::compare<T>(dst, count, "Compare", [&](int64_t i) {
    return emulator::compared(mode, src0.data()[i], src1.data()[i]);
  });
}
template <class T, class U>
void CompareScalar(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const T scalar,
                   CMPMODE mode, uint32_t count) {
  AICC_FLOATS("CompareScalar");
  static_assert(std::is_same_v<U, uint8_t>, "CompareScalar writes uint8_t");
  src0.check(PIPE_V, count, false, "CompareScalar");
  emulator::compare<T>(dst, count, "CompareScalar", [&](int64_t i) {
    return emulator::compared(mode, src0.data()[i], scalar);
  });
}

template <class T, class U>
void Select(const LocalTensor<T>& dst, const LocalTensor<U>& mask, const LocalTensor<T>& src0,
            const LocalTensor<T>& src1, SELMODE mode, uint32_t count) {
  AICC_FLOATS("Select");
  if (mode != SELMODE::VSEL_TENSOR_TENSOR_MODE) emulator::fail("Select: the mode takes a scalar");
  mask.check(PIPE_V, (count + 7) / 8, false, "Select");
  src0.check(PIPE_V, count, false, "Select");
  src1.check(PIPE_V, count, false, "Select");
  dst.check(PIPE_V, count, true, "Select");
  for (uint32_t i = 0; i < count; ++i) {
    const auto& chosen = mask.data()[i / 8] >> i % 8 & 1 ? src0 : src1;
    const bool known = chosen.known(i);
    dst.data()[i] = chosen.data()[i];
    dst.know(i, known);
  }
  emulator::vector_clocks(count * sizeof(T));
}
template <class T, class U>
void Select(const LocalTensor<T>& dst, const LocalTensor<U>& mask, const LocalTensor<T>& src0,
            T src1, SELMODE mode, uint32_t count) {
  AICC_FLOATS("Select");
  if (mode != SELMODE::VSEL_TENSOR_SCALAR_MODE) emulator::fail("Select: the mode takes tensors");
  mask.check(PIPE_V, (count + 7) / 8, false, "Select");
  src0.check(PIPE_V, count, false, "Select");
  dst.check(PIPE_V, count, true, "Select");
  for (uint32_t i = 0; i < count; ++i) {
    const bool first = mask.data()[i / 8] >> i % 8 & 1, known = !first || src0.known(i);
    dst.data()[i] = first ? src0.data()[i] : src1;
    dst.know(i, known);
  }
  emulator::vector_clocks(count * sizeof(T));
}

namespace emulator {

inline double rounded(double x, RoundMode mode) {
  switch (mode) {
    case RoundMode::CAST_FLOOR: return std::floor(x);
    case RoundMode::CAST_CEIL: return std::ceil(x);
    case RoundMode::CAST_ROUND: return std::round(x);
    case RoundMode::CAST_TRUNC: return std::trunc(x);
    default: return std::nearbyint(x);
  }
}
template <class T, class U>
constexpr bool castable =
    (one_of<U, half, bfloat16_t> && one_of<T, float>) ||
    (one_of<U, float> && one_of<T, half, bfloat16_t, float, int16_t, int32_t, int64_t>) ||
    (one_of<U, half> && one_of<T, int8_t, uint8_t, int16_t, int32_t>) ||
    (one_of<U, int8_t, uint8_t, int16_t> && one_of<T, half>) ||
    (one_of<U, int16_t, int32_t, int64_t> && one_of<T, float>) ||
    (one_of<U, int32_t> && one_of<T, int64_t, int16_t>) || (one_of<U, int64_t> && one_of<T, int32_t>);
template <class T>
constexpr bool real = one_of<T, half, bfloat16_t, float>;

}  // namespace emulator

template <class T, class U>
void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& mode,
          uint32_t count) {
  static_assert(emulator::castable<T, U>, "Cast has no such pair of types");
  src.check(PIPE_V, count, false, "Cast");
  dst.check(PIPE_V, count, true, "Cast");
  for (uint32_t i = 0; i < count; ++i) {
    const U x = src.data()[i];
    const bool known = src.known(i);
    if constexpr (emulator::real<U> && (!emulator::real<T> || std::is_same_v<T, U>)) {
      const double r = emulator::rounded(double(float(x)), mode);
      if constexpr (emulator::real<T>) {
        dst.data()[i] = T(r);
      } else {
        const double low = double(std::numeric_limits<T>::min());
        const double high = double(std::numeric_limits<T>::max());
        dst.data()[i] = r != r ? T(0) : r <= low ? std::numeric_limits<T>::min()
                                     : r >= high ? std::numeric_limits<T>::max() : T(r);
      }
    } else if constexpr (emulator::real<U>) {
      dst.data()[i] = T(float(x));
    } else {
      dst.data()[i] = T(x);
    }
    dst.know(i, known);
  }
  emulator::vector_clocks(count * std::max(sizeof(T), sizeof(U)));
}

// Results may lie at any element; the work tensor holds partial ones.
#define AICC_REDUCE(Name, start, expression)                                                 \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& work, \
            const int32_t count) {                                                           \
    AICC_FLOATS(#Name);                                                                      \
    src.check(PIPE_V, count, false, #Name);                                                  \
    src.all_known(count, #Name);                                                             \
    work.check(PIPE_V, std::max<int64_t>(1, (count * sizeof(T) + 255) / 256), true, #Name);  \
    dst.check(PIPE_V, 1, true, #Name);                                                       \
    const T* at = src.data();                                                                \
    T lanes[64];                                                                             \
    std::fill(lanes, lanes + 64, T(start));                                                  \
    for (int32_t i = 0; i < count; ++i) {                                                    \
      const T x = lanes[i % 64], y = at[i];                                                  \
      lanes[i % 64] = i < 64 ? y : T(expression);                                            \
    }                                                                                        \
    const int width = count < 64 ? count : 64;                                               \
    T total = lanes[0];                                                                      \
    for (int i = 1; i < width; ++i) {                                                        \
      const T x = total, y = lanes[i];                                                       \
      total = T(expression);                                                                 \
    }                                                                                        \
    dst.data()[0] = total;                                                                   \
    dst.know(0, true);                                                                       \
    emulator::vector_clocks(count * sizeof(T), 2);                                           \
  }
AICC_REDUCE(ReduceSum, 0, x + y)
AICC_REDUCE(ReduceMax, 0, emulator::larger(x, y))
AICC_REDUCE(ReduceMin, 0, emulator::smaller(x, y))
#undef AICC_REDUCE

}  // namespace AscendC
