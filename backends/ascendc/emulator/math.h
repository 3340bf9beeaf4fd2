// Functions of the advanced interface: each takes several instructions of the vector unit.
#pragma once

#include "vector.h"

namespace AscendC {

#define AICC_MATH(Name, expression)                                                          \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t count) {    \
    AICC_FLOATS(#Name);                                                                      \
    if (dst.home == src.home && dst.first < src.first + src.bytes &&                         \
        src.first < dst.first + int64_t(count * sizeof(T)))                                  \
      emulator::fail(#Name, ": buffer ", dst.name(), ": the operand and the result overlap"); \
    emulator::unary(                                                                         \
        dst, src, count, #Name,                                                              \
        [](T t) -> float {                                                                   \
          const float x = float(t);                                                          \
          return float(expression);                                                          \
        },                                                                                   \
        20);                                                                                 \
  }
AICC_MATH(Tanh, std::tanh(x))
AICC_MATH(Erf, std::erf(x))
AICC_MATH(Sin, std::sin(x))
AICC_MATH(Cos, std::cos(x))
AICC_MATH(Tan, std::tan(x))
AICC_MATH(Asin, std::asin(x))
AICC_MATH(Acos, std::acos(x))
AICC_MATH(Atan, std::atan(x))
AICC_MATH(Sinh, std::sinh(x))
AICC_MATH(Cosh, std::cosh(x))
AICC_MATH(Asinh, std::asinh(x))
AICC_MATH(Acosh, std::acosh(x))
AICC_MATH(Atanh, std::atanh(x))
#undef AICC_MATH

template <class T>
void Power(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,
           uint32_t count) {
  AICC_FLOATS("Power");
  emulator::binary(dst, src0, src1, count, "Power",
                   [](T x, T y) -> T { return T(std::pow(float(x), float(y))); });
}
template <class T>
void Fmod(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,
          const uint32_t count) {
  AICC_FLOATS("Fmod");
  emulator::binary(dst, src0, src1, count, "Fmod",
                   [](T x, T y) -> T { return T(std::fmod(float(x), float(y))); });
}

}  // namespace AscendC
