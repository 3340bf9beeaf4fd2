// Products of f16, summed in float.

#include "dot_blocks.h"

namespace aicc {

AICC_DOT(float, f16)

}  // namespace aicc
