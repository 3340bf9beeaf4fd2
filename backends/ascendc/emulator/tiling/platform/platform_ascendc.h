// What a chip has, for tiling functions.
#pragma once

#include <cstdint>

namespace platform_ascendc {

enum class CoreMemType { L0_A, L0_B, L0_C, L1, L2, UB, HBM };

class PlatformAscendC {
 public:
  explicit PlatformAscendC(const void*) {}
  uint32_t GetCoreNumAiv() const { return 40; }
  uint32_t GetCoreNumAic() const { return 20; }
  uint32_t GetLibApiWorkSpaceSize() const { return 16 * 1024 * 1024; }
  void GetCoreMemSize(CoreMemType type, uint64_t& size) const {
    size = type == CoreMemType::UB ? 192 * 1024 : type == CoreMemType::L1 ? 512 * 1024 : 64 * 1024;
  }
};

}  // namespace platform_ascendc
