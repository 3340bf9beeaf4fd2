// What the host program needs of the runtime: memory, streams, launches.
#pragma once

#include <cstdio>
#include <functional>

#include "../kernel_operator.h"

using aclError = int;
using aclrtStream = void*;
constexpr aclError ACL_SUCCESS = 0;
enum aclrtMemMallocPolicy { ACL_MEM_MALLOC_HUGE_FIRST };
enum aclrtMemcpyKind { ACL_MEMCPY_HOST_TO_DEVICE, ACL_MEMCPY_DEVICE_TO_HOST };

inline aclError aclInit(const char*) { return ACL_SUCCESS; }
inline aclError aclFinalize() { return ACL_SUCCESS; }
inline aclError aclrtSetDevice(int) { return ACL_SUCCESS; }
inline aclError aclrtResetDevice(int) { return ACL_SUCCESS; }
inline aclError aclrtCreateStream(aclrtStream* stream) { return *stream = nullptr, ACL_SUCCESS; }
inline aclError aclrtDestroyStream(aclrtStream) { return ACL_SUCCESS; }
inline aclError aclrtSynchronizeStream(aclrtStream) { return ACL_SUCCESS; }

// Memory has canaries around it, and is poisoned.
constexpr size_t CANARY = 64;
inline aclError aclrtMalloc(void** data, size_t bytes, aclrtMemMallocPolicy) {
  uint8_t* all = (uint8_t*)std::malloc(bytes + 2 * CANARY);
  if (!all) return 1;
  memset(all, 0xa5, bytes + 2 * CANARY);
  memset(all + CANARY, AscendC::emulator::POISON, bytes);
  *data = all + CANARY;
  AscendC::emulator::add_region(*data, bytes, "an allocation of " + std::to_string(bytes) + " bytes");
  return ACL_SUCCESS;
}
inline aclError aclrtFree(void* data) {
  auto& all = AscendC::emulator::regions();
  auto found = all.find((const uint8_t*)data);
  if (found == all.end()) return 1;
  const AscendC::emulator::region r = found->second;
  for (size_t i = 0; i < CANARY; ++i)
    if (r.first[-1 - int64_t(i)] != 0xa5 || r.first[r.bytes + i] != 0xa5)
      AscendC::emulator::fail("memory around ", r.name, " was written");
  all.erase(found);
  std::free((uint8_t*)data - CANARY);
  return ACL_SUCCESS;
}
inline aclError aclrtMemcpy(void* to, size_t room, const void* from, size_t bytes, aclrtMemcpyKind) {
  if (bytes > room) return 1;
  memcpy(to, from, bytes);
  return ACL_SUCCESS;
}

namespace AscendC::emulator {

// Runs all blocks of a kernel, one after another; a fault says in which it was.
template <class K, class... A>
void launch(const char* name, int64_t blocks, K kernel, A... arguments) {
  for (int64_t i = 0; i < blocks; ++i) {
    here().begin(name, i, blocks);
    try {
      kernel(arguments...);
    } catch (const fault& e) {
      fail("kernel ", name, ", block ", i, " of ", blocks, ": ", e.what());
    }
  }
}

}  // namespace AscendC::emulator

#define AICC_EMULATED 1
