// Tensors in device memory and in the unified buffer.
#pragma once

#include "core.h"

namespace AscendC {

namespace emulator {

enum class state { FREE, TAKEN, QUEUED, GIVEN };

// A part of the unified buffer that a queue or a TBuf was given.
struct buffer {
  int64_t first = 0, bytes = 0;
  state now = state::FREE;
  std::string name;
  TPosition position = TPosition::VECCALC;
  bool queued = false;
};

}  // namespace emulator

template <class T>
class LocalTensor {
 public:
  using PrimType = T;
  emulator::buffer* home = nullptr;
  int64_t first = 0, bytes = 0;  // in the unified buffer

  const std::string& name() const {
    static const std::string none = "a tensor without a buffer";
    return home ? home->name : none;
  }
  T* data() const { return reinterpret_cast<T*>(emulator::here().ub + first); }
  uint32_t GetSize() const { return uint32_t(bytes / sizeof(T)); }

  LocalTensor operator[](uint32_t offset) const {
    LocalTensor part = *this;
    part.first += int64_t(offset) * sizeof(T);
    part.bytes -= int64_t(offset) * sizeof(T);
    if (part.bytes < 0)
      emulator::fail("buffer ", name(), ": element ", offset, " is past its end");
    return part;
  }
  template <class U>
  LocalTensor<U> ReinterpretCast() const {
    LocalTensor<U> other;
    other.home = home, other.first = first, other.bytes = bytes;
    return other;
  }
  T GetValue(uint32_t index) const {
    element(index);
    given("GetValue");
    emulator::reads(PIPE_S, first + int64_t(index) * sizeof(T), sizeof(T), name());
    if (!known(index))
      emulator::fail("GetValue: buffer ", name(), ": element ", index,
                     " is read, which nothing was written to but padding");
    return data()[index];
  }
  template <class V>
  void SetValue(uint32_t index, V value) const {
    element(index);
    emulator::writes(PIPE_S, first + int64_t(index) * sizeof(T), sizeof(T), name());
    data()[index] = T(value);
    know(index, true);
  }

  bool known(int64_t index) const { return emulator::here().known[first + index * sizeof(T)]; }
  void know(int64_t index, bool something) const {
    emulator::know(first + index * int64_t(sizeof(T)), sizeof(T), something);
  }
  // Checks that elements count from which a result is made that does.
  void all_known(int64_t count, const char* call) const {
    for (int64_t i = 0; i < count; ++i)
      if (!known(i))
        emulator::fail(call, ": buffer ", name(), ": element ", i,
                       " is read, which nothing was written to but padding");
  }

  // Checks an access of a pipe to so many elements from the first on.
  void check(pipe_t pipe, int64_t count, bool write, const char* call) const {
    if (!home) emulator::fail(call, ": a tensor that was never given a buffer");
    if (first % ONE_BLK_SIZE)
      emulator::fail(call, ": buffer ", name(), " at byte ", first, " isn't aligned to 32");
    inside(count * int64_t(sizeof(T)), call);
    if (!write) given(call);
    if (write)
      emulator::writes(pipe, first, count * sizeof(T), name());
    else
      emulator::reads(pipe, first, count * sizeof(T), name());
  }
  void inside(int64_t wanted, const char* call) const {
    if (wanted > bytes)
      emulator::fail(call, ": buffer ", name(), " has ", bytes, " bytes from there, ", wanted,
                     " are accessed");
    if (!home || !home->queued) return;
    using emulator::state;
    const state now = home->now;
    if (now == state::FREE)
      emulator::fail(call, ": queue ", name(), ": a tensor is used after FreeTensor");
    if (now == state::QUEUED)
      emulator::fail(call, ": queue ", name(), ": a tensor is used between EnQue and DeQue");
  }

  // What a queue of inputs holds may be read once DeQue has given it.
  void given(const char* call) const {
    if (home && home->queued && home->position == TPosition::VECIN && home->now == emulator::state::TAKEN)
      emulator::fail(call, ": queue ", name(), ": a tensor is read that DeQue didn't give");
  }

 private:
  void element(uint32_t index) const {
    if (!home) emulator::fail("a tensor that was never given a buffer");
    inside(int64_t(index + 1) * sizeof(T), "GetValue or SetValue");
  }
};

template <class T>
class GlobalTensor {
 public:
  using PrimType = T;
  T* base = nullptr;
  int64_t size = 0;
  std::string label = "?";

  void Named(const char* text, T* data, uint64_t count) {
    base = data, size = int64_t(count), label = emulator::first_name(text);
  }
  GlobalTensor operator[](uint64_t offset) const {
    GlobalTensor part = *this;
    part.base += offset;
    part.size -= int64_t(offset);
    return part;
  }
  T GetValue(uint64_t offset) const {
    check(offset, 1);
    emulator::here().count->tensors[label].read += sizeof(T);
    emulator::spend(PIPE_S, 200);
    return base[offset];
  }
  uint64_t GetSize() const { return uint64_t(size); }
  const T* GetPhyAddr() const { return base; }

  // Checks that so many elements from an offset on are of the tensor and of allocated memory.
  void check(int64_t offset, int64_t count) const {
    if (offset < 0 || offset + count > size)
      emulator::fail("GM tensor ", label, ": elements ", offset, " to ", offset + count,
                     " are accessed, of ", size, " from there");
    emulator::check_gm(base + offset, size_t(count) * sizeof(T), label);
  }
};

}  // namespace AscendC

#define SetGlobalBuffer(...) Named(#__VA_ARGS__, __VA_ARGS__)
