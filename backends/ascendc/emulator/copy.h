// Copies between device memory and the unified buffer, and inside that.
#pragma once

#include "pipe.h"

namespace AscendC {

// GM strides are in bytes, those of the unified buffer in blocks of 32 bytes; both from the end of a
// block to the beginning of the next.
struct DataCopyExtParams {
  uint16_t blockCount = 1;
  uint32_t blockLen = 0, srcStride = 0, dstStride = 0, rsv = 0;
};

template <class T>
struct DataCopyPadExtParams {
  bool isPad = false;
  uint8_t leftPadding = 0, rightPadding = 0;
  T paddingValue = T(0);
};

namespace emulator {

constexpr int64_t BYTES_A_CLOCK = 32;  // of one core's copies to and from device memory: an estimate

inline void check_blocks(const DataCopyExtParams& p, const char* call) {
  if (p.blockCount < 1 || p.blockCount > 4095)
    fail(call, ": blockCount ", p.blockCount, " isn't between 1 and 4095");
  if (p.blockLen < 1 || p.blockLen > 2097151)
    fail(call, ": blockLen ", p.blockLen, " isn't between 1 and 2097151 bytes");
}
inline int64_t up32(int64_t bytes) { return (bytes + 31) / 32 * 32; }

}  // namespace emulator

template <class T>
void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyExtParams& p,
                 const DataCopyPadExtParams<T>& pad) {
  using namespace emulator;
  check_blocks(p, "DataCopyPad");
  if (p.blockLen % sizeof(T)) fail("DataCopyPad: blockLen ", p.blockLen, " cuts an element");
  const int64_t left = pad.isPad ? pad.leftPadding * sizeof(T) : 0;
  const int64_t right = pad.isPad ? pad.rightPadding * sizeof(T) : 0;
  if (left > 32 || right > 32) fail("DataCopyPad: padding beyond 32 bytes");
  const int64_t line = up32(left + p.blockLen + right), step = line + int64_t(p.dstStride) * 32;
  dst.check(PIPE_MTE2, ((p.blockCount - 1) * step + line) / sizeof(T), true, "DataCopyPad");
  for (int64_t i = 0; i < p.blockCount; ++i) {
    const int64_t from = i * (int64_t(p.blockLen) + p.srcStride);
    const uint8_t* data = (const uint8_t*)src.base + from;
    if (from % sizeof(T)) fail("DataCopyPad: srcStride ", p.srcStride, " cuts an element");
    src.check(from / sizeof(T), p.blockLen / sizeof(T));
    uint8_t* to = (uint8_t*)dst.data() + i * step;
    memset(to, POISON, size_t(line));
    know(to - here().ub, line, false);
    if (pad.isPad)
      for (int64_t b = 0; b < line / int64_t(sizeof(T)); ++b)
        if (b * int64_t(sizeof(T)) < left + p.blockLen + right) ((T*)to)[b] = pad.paddingValue;
    memcpy(to + left, data, p.blockLen);
    know(to - here().ub, left + p.blockLen + right);
  }
  here().count->tensors[src.label].read += int64_t(p.blockCount) * p.blockLen;
  spend(PIPE_MTE2, 30 + int64_t(p.blockCount) * up32(p.blockLen) / BYTES_A_CLOCK);
}

template <class T>
void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyExtParams& p) {
  using namespace emulator;
  check_blocks(p, "DataCopyPad");
  if (p.blockLen % sizeof(T)) fail("DataCopyPad: blockLen ", p.blockLen, " cuts an element");
  const int64_t line = up32(p.blockLen), step = line + int64_t(p.srcStride) * 32;
  const int64_t needed = (p.blockCount - 1) * step + p.blockLen;
  src.check(PIPE_MTE3, needed / sizeof(T), false, "DataCopyPad");
  for (int64_t i = 0; i < p.blockCount; ++i) {
    const int64_t to = i * (int64_t(p.blockLen) + p.dstStride);
    if (to % sizeof(T)) fail("DataCopyPad: dstStride ", p.dstStride, " cuts an element");
    dst.check(to / sizeof(T), p.blockLen / sizeof(T));
    src[uint32_t(i * step / sizeof(T))].all_known(p.blockLen / sizeof(T), "DataCopyPad");
    memcpy((uint8_t*)dst.base + to, (const uint8_t*)src.data() + i * step, p.blockLen);
  }
  here().count->tensors[dst.label].written += int64_t(p.blockCount) * p.blockLen;
  spend(PIPE_MTE3, 30 + int64_t(p.blockCount) * up32(p.blockLen) / BYTES_A_CLOCK);
}

template <class T>
void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, uint32_t count) {
  if (count * sizeof(T) % 32) emulator::fail("DataCopy: ", count * sizeof(T), " bytes aren't a multiple of 32");
  DataCopyPad(dst, src, {1, uint32_t(count * sizeof(T)), 0, 0, 0}, DataCopyPadExtParams<T>{});
}
template <class T>
void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count) {
  if (count * sizeof(T) % 32) emulator::fail("DataCopy: ", count * sizeof(T), " bytes aren't a multiple of 32");
  DataCopyPad(dst, src, {1, uint32_t(count * sizeof(T)), 0, 0, 0});
}
template <class T>
void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint32_t count) {
  if (count * sizeof(T) % 32) emulator::fail("DataCopy: ", count * sizeof(T), " bytes aren't a multiple of 32");
  src.check(PIPE_V, count, false, "DataCopy");
  dst.check(PIPE_V, count, true, "DataCopy");
  memmove(dst.data(), src.data(), count * sizeof(T));
  auto& known = emulator::here().known;
  memmove(known + dst.first, known + src.first, count * sizeof(T));
  emulator::spend(PIPE_V, 10 + int64_t(count * sizeof(T) + 255) / 256);
}

}  // namespace AscendC
