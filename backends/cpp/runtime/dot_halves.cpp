// Products of floats of 16 bits, summed in float.

#include "dot_blocks.h"

namespace aicc {

AICC_DOT(float, f16)
AICC_DOT(float, bf16)

}  // namespace aicc
