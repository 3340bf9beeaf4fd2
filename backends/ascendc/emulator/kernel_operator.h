// The interface of kernels, on the host: see core.h.
#pragma once

#include "math.h"
#include "repeats.h"

using namespace AscendC;

using GM_ADDR = uint8_t*;
