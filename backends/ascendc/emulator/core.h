// What the emulated chip is made of: element types, memories, pipes, and how faults are reported.
//
// One block runs at a time, from end to end. Each reads and writes a unified buffer of its own, whose
// every 32 bytes know which pipe wrote them and when: what another pipe reads must have been waited
// for by a flag or a queue.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#define __aicore__
#define __global__
#define __vector__
#define __cube__
#define __mix__(cube, vector)
#define __gm__
#define __ubuf__

using half = _Float16;

// The upper half of a float, rounded to nearest even.
struct bfloat16_t {
  uint16_t bits;
  bfloat16_t() = default;
  bfloat16_t(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    bits = std::isnan(x) ? 0x7fc0 : uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
  }
  operator float() const {
    uint32_t u = uint32_t(bits) << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
  }
};

namespace AscendC {

constexpr uint32_t ONE_BLK_SIZE = 32;

enum class TPosition { GM, A1, B1, C1, A2, B2, C2, CO1, CO2, VECIN, VECOUT, VECCALC, TSCM };
using QuePosition = TPosition;

enum class HardEvent { MTE2_V, V_MTE2, MTE3_V, V_MTE3, V_S, S_V, MTE2_S, S_MTE2, MTE3_S, S_MTE3,
                       MTE3_MTE2, MTE2_MTE3, MAX };
enum pipe_t { PIPE_S, PIPE_V, PIPE_M, PIPE_MTE1, PIPE_MTE2, PIPE_MTE3, PIPE_ALL, PIPE_FIX };
using event_t = int32_t;

namespace emulator {

struct fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... A>
[[noreturn]] void fail(const A&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw fault(text.str());
}

inline const char* name_of(pipe_t pipe) {
  const char* names[] = {"S", "V", "M", "MTE1", "MTE2", "MTE3", "ALL", "FIX"};
  return names[pipe];
}

constexpr int64_t UB_BYTES = 192 * 1024, GRAIN = 32;
constexpr uint8_t POISON = 0xff;  // not a number as float, half and bfloat16; -1 as an integer

// What is counted of a kernel's memory in all of its blocks.
struct traffic {
  int64_t read = 0, written = 0;
};
struct queue_use {
  int64_t buffers = 0, taken = 0, alternated = 0;
};
struct counters {
  std::map<std::string, traffic> tensors;
  std::map<std::string, queue_use> queues;
  std::map<std::string, int64_t> pipes;  // clocks, estimated
  int64_t blocks = 0, ub_bytes = 0;
};
inline std::map<std::string, counters>& all_counters() {
  static std::map<std::string, counters> all;
  return all;
}

// Device memory that the host has allocated, with what it is called.
struct region {
  uint8_t* first;
  size_t bytes;
  std::string name;
};
inline std::map<const uint8_t*, region>& regions() {
  static std::map<const uint8_t*, region> all;
  return all;
}
inline void add_region(const void* data, size_t bytes, const std::string& name) {
  regions()[(const uint8_t*)data] = {(uint8_t*)data, bytes, name};
}

// Where in memory some bytes must lie that are accessed: inside one region.
inline void check_gm(const void* data, size_t bytes, const std::string& tensor) {
  auto found = regions().upper_bound((const uint8_t*)data);
  const uint8_t* at = (const uint8_t*)data;
  if (found != regions().begin()) {
    const region& r = (--found)->second;
    if (at >= r.first && at + bytes <= r.first + r.bytes) return;
    if (at >= r.first && at <= r.first + r.bytes)
      fail("GM tensor ", tensor, ": bytes ", at - r.first, " to ", at - r.first + bytes,
           " are accessed of ", r.name, ", which has ", r.bytes);
  }
  fail("GM tensor ", tensor, ": an access to ", bytes, " bytes outside of all allocated memory");
}

// The core on which the present block runs.
struct core {
  std::string kernel;
  int64_t block = 0, blocks = 1, clock = 1;
  alignas(512) uint8_t ub[UB_BYTES];
  bool known[UB_BYTES];  // whether something was written to a byte that isn't padding
  int64_t written[UB_BYTES / GRAIN], read[UB_BYTES / GRAIN];  // when, by the clock
  pipe_t writer[UB_BYTES / GRAIN], reader[UB_BYTES / GRAIN];
  int flags[int(HardEvent::MAX)];  // set, and not waited for
  int64_t waited[8][8];  // up to when a pipe (second) has waited for another (first)
  counters* count = nullptr;

  void begin(const std::string& name, int64_t index, int64_t of) {
    kernel = name, block = index, blocks = of, clock = 1;
    memset(ub, POISON, sizeof(ub)), memset(known, 0, sizeof(known));
    memset(written, 0, sizeof(written)), memset(read, 0, sizeof(read));
    memset(waited, 0, sizeof(waited)), memset(flags, 0, sizeof(flags));
    count = &all_counters()[name];
    count->blocks = of;
  }
  void wait(pipe_t waiting, pipe_t on) { waited[on][waiting] = clock++; }
};
inline core& here() {
  static thread_local core* the = new core;
  return *the;
}

// A pipe reads bytes of the unified buffer, which others must have finished writing.
inline void reads(pipe_t pipe, int64_t first, int64_t bytes, const std::string& name) {
  core& c = here();
  for (int64_t g = first / GRAIN; g * GRAIN < first + bytes; ++g) {
    if (c.written[g] && c.writer[g] != pipe && c.waited[c.writer[g]][pipe] < c.written[g])
      fail("buffer ", name, ": pipe ", name_of(pipe), " reads what pipe ", name_of(c.writer[g]),
           " wrote without waiting for it");
    if (pipe != PIPE_S) c.read[g] = c.clock, c.reader[g] = pipe;  // the scalar unit reads at once
  }
}
inline void writes(pipe_t pipe, int64_t first, int64_t bytes, const std::string& name) {
  core& c = here();
  for (int64_t g = first / GRAIN; g * GRAIN < first + bytes; ++g) {
    if (c.written[g] && c.writer[g] != pipe && c.waited[c.writer[g]][pipe] < c.written[g])
      fail("buffer ", name, ": pipe ", name_of(pipe), " overwrites what pipe ",
           name_of(c.writer[g]), " wrote without waiting for it");
    if (c.read[g] && c.reader[g] != pipe && c.waited[c.reader[g]][pipe] < c.read[g])
      fail("buffer ", name, ": pipe ", name_of(pipe), " overwrites what pipe ",
           name_of(c.reader[g]), " reads without waiting for it");
    c.written[g] = c.clock, c.writer[g] = pipe;
  }
  ++c.clock;
}

// Notes that bytes hold something, or nothing that may count.
inline void know(int64_t first, int64_t bytes, bool something = true) {
  memset(here().known + first, something, size_t(bytes));
}

// The first name in the text of a call's arguments: casts aside.
inline std::string first_name(const char* text) {
  std::string s = text;
  size_t end = s.find(',');
  int depth = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    depth += s[i] == '(' || s[i] == '<';
    depth -= s[i] == ')' || s[i] == '>';
    if (s[i] == ',' && depth == 0) {
      end = i;
      break;
    }
  }
  s = s.substr(0, end);
  size_t last = s.rfind(')');
  if (last != std::string::npos && last + 1 < s.size()) s = s.substr(last + 1);
  size_t plus = s.find_first_of("+[ ");
  return s.substr(0, plus == 0 ? std::string::npos : plus);
}

// Adds clocks to a pipe's estimate.
inline void spend(pipe_t pipe, int64_t clocks) { here().count->pipes[name_of(pipe)] += clocks; }

}  // namespace emulator

inline int64_t GetBlockIdx() { return emulator::here().block; }
inline int64_t GetBlockNum() { return emulator::here().blocks; }

inline void pipes_of(HardEvent event, pipe_t& on, pipe_t& waiting) {
  static const pipe_t table[][2] = {
      {PIPE_MTE2, PIPE_V}, {PIPE_V, PIPE_MTE2}, {PIPE_MTE3, PIPE_V}, {PIPE_V, PIPE_MTE3},
      {PIPE_V, PIPE_S},    {PIPE_S, PIPE_V},    {PIPE_MTE2, PIPE_S}, {PIPE_S, PIPE_MTE2},
      {PIPE_MTE3, PIPE_S}, {PIPE_S, PIPE_MTE3}, {PIPE_MTE3, PIPE_MTE2}, {PIPE_MTE2, PIPE_MTE3}};
  on = table[int(event)][0], waiting = table[int(event)][1];
}

template <HardEvent event>
void SetFlag(event_t) {
  ++emulator::here().flags[int(event)];
}
template <HardEvent event>
void WaitFlag(event_t) {
  if (emulator::here().flags[int(event)]-- <= 0)
    emulator::fail("WaitFlag without a SetFlag: the core would wait for ever");
  pipe_t on, waiting;
  pipes_of(event, on, waiting);
  emulator::here().wait(waiting, on);
}
template <pipe_t pipe>
void PipeBarrier() {
  if (pipe != PIPE_ALL) return;
  for (int on = 0; on < 8; ++on)
    for (int waiting = 0; waiting < 8; ++waiting) emulator::here().wait(pipe_t(waiting), pipe_t(on));
}

}  // namespace AscendC
