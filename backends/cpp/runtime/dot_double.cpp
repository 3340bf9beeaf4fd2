// Products of double precision.

#include "dot_blocks.h"

namespace aicc {

AICC_DOT(double, double)

}  // namespace aicc
