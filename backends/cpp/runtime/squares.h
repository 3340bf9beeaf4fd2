// Matrix registers of some chips (AMX): squares of 16 rows by 64 bytes, whose products are summed.
//
// A process must ask for these registers, and the chip may lack them: `squares_work` says. What is
// built with AICC_NO_SQUARES does without.
#pragma once

#include "dot.h"

#if defined(__x86_64__) && defined(__linux__) && defined(AICC_AVX512) && \
    !defined(AICC_NO_SQUARES) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define AICC_SQUARES

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AICC_WITH_SQUARES __attribute__((target("amx-tile,amx-int8,amx-bf16")))

namespace aicc {
namespace {

constexpr int64_t SIDE = 16, SQUARE_BYTES = 64;

// Whether the chip multiplies squares of bytes and of bf16, and lets this process do so.
inline bool squares_work() {
  static const bool known = [] {
    constexpr unsigned BF16 = 1u << 22, TILE = 1u << 24, INT8 = 1u << 25, ALL = BF16 | TILE | INT8;
    constexpr long ASK = 0x1023, TILE_DATA = 18;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & ALL) != ALL) return false;
    return syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
  }();
  return known;
}

// What each register is: whole squares, all eight.
struct alignas(64) squares_layout {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};
constexpr squares_layout WHOLE = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

struct whole_squares {
  AICC_WITH_SQUARES whole_squares() { _tile_loadconfig(&WHOLE); }
  AICC_WITH_SQUARES ~whole_squares() { _tile_release(); }
};

// R by V squares of sums, over `steps` squares along what is summed: two by two keep four sums in
// flight. Rows of a, of groups of b and of c lie so many bytes apart.
template <class T, int R, int V>
AICC_WITH_SQUARES void square_block(char* c, int64_t crow, const char* a, int64_t arow,
                                    const char* b, int64_t brow, int64_t steps, bool add) {
  constexpr bool low = R > 1, wide = V > 1;
  const int64_t down = SIDE * crow;
  __asm__ volatile("" ::: "memory");  // what is loaded has been written, which GCC isn't told
  if (add) {
    _tile_loadd(0, c, crow);
    if (wide) _tile_loadd(1, c + SQUARE_BYTES, crow);
    if (low) _tile_loadd(2, c + down, crow);
    if (low && wide) _tile_loadd(3, c + down + SQUARE_BYTES, crow);
  } else {
    _tile_zero(0);
    if (wide) _tile_zero(1);
    if (low) _tile_zero(2);
    if (low && wide) _tile_zero(3);
  }
  for (int64_t k = 0; k < steps; ++k, a += SQUARE_BYTES, b += SIDE * brow) {
    _tile_loadd(6, b, brow);
    if (wide) _tile_loadd(7, b + SQUARE_BYTES, brow);
    _tile_loadd(4, a, arow);
    if (low) _tile_loadd(5, a + SIDE * arow, arow);
    if constexpr (std::is_same<T, int8_t>::value) {
      _tile_dpbssd(0, 4, 6);
      if (wide) _tile_dpbssd(1, 4, 7);
      if (low) _tile_dpbssd(2, 5, 6);
      if (low && wide) _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      if (wide) _tile_dpbf16ps(1, 4, 7);
      if (low) _tile_dpbf16ps(2, 5, 6);
      if (low && wide) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, crow);
  if (wide) _tile_stored(1, c + SQUARE_BYTES, crow);
  if (low) _tile_stored(2, c + down, crow);
  if (low && wide) _tile_stored(3, c + down + SQUARE_BYTES, crow);
}

// `m` rows by up to 64 columns of sums; rows of the last square that c lacks go to memory beside it.
template <class T, class Sum>
void square_rows(Sum* c, int64_t crow, const T* a, int64_t arow, const T* panel, int64_t m,
                 int64_t columns, int64_t steps, bool add) {
  constexpr int64_t PANEL = panels<T>::width * 4;
  static_assert(sizeof(Sum) == 4, "a square of sums is 16 by 16");
  const int64_t abytes = arow * sizeof(T), cbytes = crow * sizeof(Sum);
  for (int64_t j = 0; j < columns; j += 2 * SIDE) {
    const char* b = (const char*)panel + j * 4;
    const bool wide = columns - j > SIDE;
    for (int64_t i = 0; i < m; i += 2 * SIDE) {
      alignas(64) Sum beside[2 * SIDE * 2 * SIDE];
      const int64_t rows = minimum(m - i, 2 * SIDE), across = wide ? 2 * SIDE : SIDE;
      const bool low = rows > SIDE, whole = rows % SIDE == 0;
      Sum* to = c + i * crow + j;
      if (!whole && add)
        for (int64_t r = 0; r < rows; ++r) copy(to + r * crow, across, beside + r * across);
      char* out = (char*)(whole ? to : beside);
      const int64_t next = whole ? cbytes : across * sizeof(Sum);
      const char* left = (const char*)(a + i * arow);
      const auto block = low ? (wide ? square_block<T, 2, 2> : square_block<T, 2, 1>)
                             : (wide ? square_block<T, 1, 2> : square_block<T, 1, 1>);
      block(out, next, left, abytes, b, PANEL, steps, add);
      if (!whole)
        for (int64_t r = 0; r < rows; ++r) copy(beside + r * across, across, to + r * crow);
    }
  }
}

}  // namespace
}  // namespace aicc

#endif
