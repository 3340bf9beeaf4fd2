// The tiling of products.
#pragma once

#include "../lib/matmul_intf.h"
