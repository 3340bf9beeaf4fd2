// TPipe, TQue and TBuf: who owns which part of the unified buffer, and in what order.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "tensor.h"

namespace AscendC {

template <TPosition position, int32_t depth>
class TQue {
 public:
  std::string name = "?";
  using buffers = std::vector<std::unique_ptr<emulator::buffer>>;
  std::shared_ptr<buffers> own_buffers = std::make_shared<buffers>();
  buffers& all = *own_buffers;
  std::deque<emulator::buffer*> waiting;
  size_t next = 0;
  emulator::buffer* last = nullptr;

  template <class T>
  LocalTensor<T> AllocTensor() {
    if (all.empty()) emulator::fail("queue ", name, ": AllocTensor before InitBuffer");
    for (size_t i = 0; i < all.size(); ++i) {
      emulator::buffer* b = all[(next + i) % all.size()].get();
      if (b->now != emulator::state::FREE) continue;
      next = (next + i + 1) % all.size();
      b->now = emulator::state::TAKEN;
      memset(emulator::here().ub + b->first, emulator::POISON, size_t(b->bytes));
      emulator::know(b->first, b->bytes, false);
      auto& use = emulator::here().count->queues[name];
      ++use.taken;
      use.alternated += last != nullptr && last != b;
      last = b;
      // The one that filled the buffer last must wait for the one that emptied it.
      if (position == TPosition::VECIN)
        emulator::here().wait(PIPE_MTE2, PIPE_V), emulator::here().wait(PIPE_MTE2, PIPE_S);
      else
        emulator::here().wait(PIPE_V, PIPE_MTE3), emulator::here().wait(PIPE_S, PIPE_MTE3);
      return tensor<T>(b);
    }
    emulator::fail("queue ", name, ": AllocTensor while all of its ", all.size(),
                   " buffers are in use: a FreeTensor is missing");
  }
  template <class T>
  bool EnQue(const LocalTensor<T>& t) {
    own(t, "EnQue");
    if (t.home->now != emulator::state::TAKEN)
      emulator::fail("queue ", name, ": EnQue of a tensor that AllocTensor didn't give");
    if (int64_t(waiting.size()) >= std::max(depth, 1) && waiting.size() >= all.size())
      emulator::fail("queue ", name, ": EnQue beyond its depth of ", depth);
    t.home->now = emulator::state::QUEUED;
    waiting.push_back(t.home);
    return true;
  }
  template <class T>
  LocalTensor<T> DeQue() {
    if (waiting.empty())
      emulator::fail("queue ", name, ": DeQue while it is empty: an EnQue is missing");
    emulator::buffer* b = waiting.front();
    waiting.pop_front();
    b->now = emulator::state::GIVEN;
    if (position == TPosition::VECIN)
      emulator::here().wait(PIPE_V, PIPE_MTE2);
    else
      emulator::here().wait(PIPE_MTE3, PIPE_V);
    return tensor<T>(b);
  }
  template <class T>
  void FreeTensor(LocalTensor<T>& t) {
    own(t, "FreeTensor");
    if (t.home->now != emulator::state::GIVEN)
      emulator::fail("queue ", name, ": FreeTensor of a tensor that DeQue didn't give");
    t.home->now = emulator::state::FREE;
  }
  // At the end of a kernel, when the queue itself may be gone, its buffers must be free.
  static void finish(const std::string& name, const buffers& all) {
    for (auto& b : all)
      if (b->now != emulator::state::FREE)
        emulator::fail("queue ", name, ": at the end of the kernel a tensor is ",
                       b->now == emulator::state::QUEUED ? "queued: a DeQue is missing"
                                                         : "in use: a FreeTensor is missing");
  }

 private:
  template <class T>
  LocalTensor<T> tensor(emulator::buffer* b) const {
    LocalTensor<T> t;
    t.home = b, t.first = b->first, t.bytes = b->bytes;
    return t;
  }
  template <class T>
  void own(const LocalTensor<T>& t, const char* call) const {
    for (auto& b : all)
      if (b.get() == t.home) return;
    emulator::fail("queue ", name, ": ", call, " of a tensor of ", t.name());
  }
};

template <TPosition position = TPosition::VECCALC>
class TBuf {
 public:
  emulator::buffer whole;

  template <class T>
  LocalTensor<T> Get() {
    return GetWithOffset<T>(uint32_t(whole.bytes / sizeof(T)), 0);
  }
  template <class T>
  LocalTensor<T> Get(uint32_t count) {
    return GetWithOffset<T>(count, 0);
  }
  template <class T>
  LocalTensor<T> GetWithOffset(uint32_t count, uint32_t offset) {
    if (int64_t(offset) + int64_t(count) * int64_t(sizeof(T)) > whole.bytes)
      emulator::fail("buffer ", whole.name, " has ", whole.bytes, " bytes; ", count * sizeof(T),
                     " from ", offset, " on are taken");
    LocalTensor<T> t;
    t.home = &whole, t.first = whole.first + offset, t.bytes = int64_t(count) * sizeof(T);
    return t;
  }
};

class TPipe {
 public:
  int64_t used = 0;
  std::vector<std::pair<std::string, int64_t>> taken;
  std::vector<std::function<void()>> ends;

  TPipe() { current() = this; }
  ~TPipe() noexcept(false) {
    current() = nullptr;
    if (std::uncaught_exceptions()) return;
    for (auto& end : ends) end();
    for (int e = 0; e < int(HardEvent::MAX); ++e)
      if (emulator::here().flags[e])
        emulator::fail("a flag is set at the end of the kernel that nothing waited for");
  }
  static TPipe*& current() {
    static thread_local TPipe* the = nullptr;
    return the;
  }
  template <TPosition position, int32_t depth>
  void InitNamed(const char* text, TQue<position, depth>& queue, uint8_t count, uint32_t bytes) {
    queue.name = emulator::first_name(text);
    for (int i = 0; i < count; ++i) {
      queue.all.push_back(std::make_unique<emulator::buffer>());
      place(*queue.all.back(), queue.name, bytes, count);
      queue.all.back()->position = position, queue.all.back()->queued = true;
    }
    emulator::here().count->queues[queue.name].buffers = count;
    ends.push_back([name = queue.name, all = queue.own_buffers] {
      TQue<position, depth>::finish(name, *all);
    });
  }
  template <TPosition position>
  void InitNamed(const char* text, TBuf<position>& buffer, uint32_t bytes) {
    place(buffer.whole, emulator::first_name(text), bytes, 1);
    buffer.whole.position = position;
  }
  event_t FetchEventID(HardEvent) { return 0; }

 private:
  void place(emulator::buffer& b, const std::string& name, uint32_t bytes, int count) {
    const int64_t size = (int64_t(bytes) + 31) / 32 * 32;
    b.name = name, b.first = used, b.bytes = size;
    used += size;
    taken.push_back({name, size});
    emulator::here().count->ub_bytes = std::max(emulator::here().count->ub_bytes, used);
    if (used <= emulator::UB_BYTES) return;
    std::ostringstream text;
    text << "the unified buffer has " << emulator::UB_BYTES << " bytes, " << used
         << " are asked for:";
    for (auto& [who, many] : taken) text << " " << who << " " << many;
    emulator::fail(text.str());
  }
};

inline TPipe* GetTPipePtr() { return TPipe::current(); }

}  // namespace AscendC

#define InitBuffer(...) InitNamed(#__VA_ARGS__, __VA_ARGS__)
