// Products of floats of 8 bits, summed in float.

#include "dot_blocks.h"

namespace aicc {

AICC_DOT(float, f8e4m3)
AICC_DOT(float, f8e5m2)

}  // namespace aicc
