// Instructions of the vector unit in the forms that take a mask and repeats: a repeat takes up to
// eight blocks of 32 bytes, whose distances, and those from a repeat to the next, are given.
#pragma once

#include "vector.h"

namespace AscendC {

struct BinaryRepeatParams {
  uint8_t dstBlkStride = 1, src0BlkStride = 1, src1BlkStride = 1, dstRepStride = 8, src0RepStride = 8,
          src1RepStride = 8;
};
struct CopyRepeatParams {
  uint16_t dstStride = 1, srcStride = 1, dstRepeatSize = 8, srcRepeatSize = 8;
};
struct BrcbRepeatParams {
  uint16_t dstBlkStride = 1, dstRepStride = 8;
};
enum class ReduceOrder { ORDER_VALUE_INDEX, ORDER_INDEX_VALUE, ORDER_ONLY_VALUE, ORDER_ONLY_INDEX };

namespace emulator {

// Where the lanes of each repeat lie in a tensor.
template <class T>
struct lanes {
  const LocalTensor<T>& tensor;
  int64_t block_stride, repeat_stride;
  static constexpr int64_t PER_BLOCK = 32 / int64_t(sizeof(T));

  int64_t at(int64_t repeat, int64_t lane) const {
    return (repeat * repeat_stride + lane / PER_BLOCK * block_stride) * PER_BLOCK + lane % PER_BLOCK;
  }
  void check(int64_t repeats, int64_t mask, bool write, const char* call) const {
    for (int64_t r = 0; r < repeats; ++r)
      for (int64_t i = 0; i < mask; i += PER_BLOCK)
        tensor[uint32_t(at(r, i))].check(PIPE_V, std::min(PER_BLOCK, mask - i), write, call);
  }
};

template <class T>
void check_repeats(int64_t mask, int64_t repeats, const char* call) {
  if (mask < 1 || mask > 256 / int64_t(sizeof(T)))
    fail(call, ": a mask of ", mask, " elements isn't between 1 and ", 256 / sizeof(T));
  if (repeats < 1 || repeats > 255) fail(call, ": ", repeats, " repeats aren't between 1 and 255");
}

template <class T, class F>
void repeated(const LocalTensor<T>& dst, const LocalTensor<T>& a, const LocalTensor<T>& b,
              uint64_t mask, int64_t repeats, const BinaryRepeatParams& p, const char* call, F f) {
  check_repeats<T>(int64_t(mask), repeats, call);
  const lanes<T> to{dst, p.dstBlkStride, p.dstRepStride}, x{a, p.src0BlkStride, p.src0RepStride},
      y{b, p.src1BlkStride, p.src1RepStride};
  x.check(repeats, int64_t(mask), false, call);
  y.check(repeats, int64_t(mask), false, call);
  to.check(repeats, int64_t(mask), true, call);
  for (int64_t r = 0; r < repeats; ++r)
    for (int64_t i = 0; i < int64_t(mask); ++i) {
      const bool both = a.known(x.at(r, i)) && b.known(y.at(r, i));
      dst.data()[to.at(r, i)] = f(a.data()[x.at(r, i)], b.data()[y.at(r, i)]);
      dst.know(to.at(r, i), both);
    }
  vector_clocks(repeats * 256);
}

template <class T, class F>
void whole_reduce(const LocalTensor<T>& dst, const LocalTensor<T>& src, int32_t mask, int32_t repeats,
                  int32_t dst_step, int32_t block_stride, int32_t repeat_stride, const char* call,
                  F f) {
  check_repeats<T>(mask, repeats, call);
  const lanes<T> from{src, block_stride, repeat_stride};
  from.check(repeats, mask, false, call);
  const int64_t last = int64_t(repeats - 1) * dst_step;
  dst.check(PIPE_V, last + 1, true, call);
  for (int32_t r = 0; r < repeats; ++r) {
    T total = T(0);
    for (int32_t i = 0; i < mask; ++i) {
      if (!src.known(from.at(r, i)))
        fail(call, ": buffer ", src.name(), ": element ", from.at(r, i),
             " is read, which nothing was written to but padding");
      const T x = src.data()[from.at(r, i)];
      total = i ? f(total, x) : x;
    }
    dst.data()[r * dst_step] = total;
    dst.know(r * dst_step, true);
  }
  vector_clocks(int64_t(repeats) * 256, 2);
}

}  // namespace emulator

#define AICC_REPEATED(Name, expression)                                                      \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, \
            uint64_t mask, const uint8_t repeatTime, const BinaryRepeatParams& p) {          \
    AICC_NUMBERS(#Name);                                                                     \
    emulator::repeated(dst, src0, src1, mask, repeatTime, p, #Name,                          \
                       [](T x, T y) -> T { return T(expression); });                         \
  }
AICC_REPEATED(Add, x + y)
AICC_REPEATED(Max, emulator::larger(x, y))
AICC_REPEATED(Min, emulator::smaller(x, y))
#undef AICC_REPEATED

// One result a repeat, one after the other.
template <class T>
void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t mask,
                    const int32_t repeatTime, const int32_t dstRepStride, const int32_t srcBlkStride,
                    const int32_t srcRepStride) {
  AICC_FLOATS("WholeReduceSum");
  emulator::whole_reduce(dst, src, mask, repeatTime, dstRepStride, srcBlkStride, srcRepStride,
                         "WholeReduceSum", [](T x, T y) { return T(x + y); });
}
#define AICC_WHOLE(Name, expression)                                                         \
  template <class T>                                                                         \
  void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t mask,        \
            const int32_t repeatTime, const int32_t dstRepStride, const int32_t srcBlkStride, \
            const int32_t srcRepStride, ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX) { \
    AICC_FLOATS(#Name);                                                                      \
    if (order != ReduceOrder::ORDER_ONLY_VALUE)                                              \
      emulator::fail(#Name, ": only ORDER_ONLY_VALUE is emulated");                          \
    emulator::whole_reduce(dst, src, mask, repeatTime, dstRepStride, srcBlkStride,           \
                           srcRepStride, #Name, [](T x, T y) { return T(expression); });     \
  }
AICC_WHOLE(WholeReduceMax, emulator::larger(x, y))
AICC_WHOLE(WholeReduceMin, emulator::smaller(x, y))
#undef AICC_WHOLE

// Blocks by a mask and strides, as they are.
template <class T>
void Copy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask,
          const uint8_t repeatTime, const CopyRepeatParams& p) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Copy takes elements of 16 and 32 bits");
  emulator::check_repeats<T>(int64_t(mask), repeatTime, "Copy");
  const emulator::lanes<T> to{dst, p.dstStride, p.dstRepeatSize}, from{src, p.srcStride, p.srcRepeatSize};
  from.check(repeatTime, int64_t(mask), false, "Copy");
  to.check(repeatTime, int64_t(mask), true, "Copy");
  for (int64_t r = 0; r < repeatTime; ++r)
    for (int64_t i = 0; i < int64_t(mask); ++i) {
      const bool known = src.known(from.at(r, i));
      dst.data()[to.at(r, i)] = src.data()[from.at(r, i)];
      dst.know(to.at(r, i), known);
    }
  emulator::vector_clocks(int64_t(repeatTime) * 256);
}

// Eight elements a repeat, each filling a block.
template <class T>
void Brcb(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const uint8_t repeatTime,
          const BrcbRepeatParams& p) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Brcb takes elements of 16 and 32 bits");
  if (repeatTime < 1) emulator::fail("Brcb: no repeats");
  const int64_t per_block = 32 / int64_t(sizeof(T));
  src0.check(PIPE_V, int64_t(repeatTime) * 8, false, "Brcb");
  for (int64_t r = 0; r < repeatTime; ++r)
    for (int64_t b = 0; b < 8; ++b) {
      const int64_t first = (r * p.dstRepStride + b * p.dstBlkStride) * per_block;
      const LocalTensor<T> block = dst[uint32_t(first)];
      block.check(PIPE_V, per_block, true, "Brcb");
      std::fill(block.data(), block.data() + per_block, src0.data()[r * 8 + b]);
      emulator::know(block.first, 32, src0.known(r * 8 + b));
    }
  emulator::vector_clocks(int64_t(repeatTime) * 256);
}

// Elements at so many bytes from a base each.
template <class T>
void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint32_t>& offsets,
            const uint32_t base, const uint32_t count) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Gather takes elements of 16 and 32 bits");
  offsets.check(PIPE_V, count, false, "Gather");
  offsets.all_known(count, "Gather");
  dst.check(PIPE_V, count, true, "Gather");
  src.check(PIPE_V, 0, false, "Gather");
  const auto touched = [&](int64_t first) {
    emulator::reads(PIPE_V, src.first + first, int64_t(sizeof(T)), src.name());
  };
  for (uint32_t i = 0; i < count; ++i) {
    const int64_t at = int64_t(base) + offsets.data()[i];
    if (at % int64_t(sizeof(T))) emulator::fail("Gather: byte ", at, " isn't where an element begins");
    src.inside(at + int64_t(sizeof(T)), "Gather");
    touched(at);
    const bool known = src.known(at / int64_t(sizeof(T)));
    dst.data()[i] = src.data()[at / int64_t(sizeof(T))];
    dst.know(i, known);
  }
  emulator::vector_clocks(int64_t(count) * 32);  // a block for each element: an estimate
}

// first, first + difference, and so on.
template <class T>
void ArithProgression(const LocalTensor<T>& dst, const T first, const T difference,
                      const int32_t count) {
  static_assert(emulator::one_of<T, int16_t, half, int32_t, float>,
                "ArithProgression takes int16_t, half, int32_t and float");
  dst.check(PIPE_V, count, true, "ArithProgression");
  for (int32_t i = 0; i < count; ++i) dst.data()[i] = T(first + difference * T(i));
  emulator::know(dst.first, int64_t(count) * sizeof(T));
  emulator::vector_clocks(int64_t(count) * sizeof(T), 2);
}

}  // namespace AscendC
