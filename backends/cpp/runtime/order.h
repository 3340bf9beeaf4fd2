// Lines of an array put in order: what no kernel of tiles does.
//
// An element becomes a key, an unsigned number that is smaller where the element comes first, with
// its place below: then all differ, and equal elements stay in their order.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "aicc_cpu.h"

namespace aicc {

// The least keys are those of the least elements, with D of the greatest; NaN is the largest.
template <bool D, class T>
AICC_INLINE auto number_key(T x) {
  using bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  constexpr bits top = bits(1) << (sizeof(bits) * 8 - 1);
  bits key;
  if constexpr (std::is_floating_point<T>::value) {
    const T y = x + T(0);  // the zeros are equal
    memcpy(&key, &y, sizeof(key));
    key = y != y ? ~bits(0) : key & top ? ~key : key | top;
  } else {
    key = std::is_signed<T>::value ? bits(std::make_signed_t<bits>(x)) ^ top : bits(x);
  }
  return D ? bits(~key) : key;
}
template <bool D, class T>
AICC_INLINE auto key_of(T given) {
  using number = std::conditional_t<is_half<T>, float, T>;
  return number_key<D>(convert<number>(given));
}
template <class T>
using ranked = std::conditional_t<sizeof(T) == 8, unsigned __int128, uint64_t>;

template <bool D, class T>
AICC_INLINE ranked<T> rank_of(T x, int64_t place) {
  constexpr int half = sizeof(ranked<T>) * 4;
  return ranked<T>(key_of<D>(x)) << half | ranked<T>(place);
}

// In order by the upper half of 64 bits, 8 bits at a time from the last; others where they are few.
inline void put_in_order(std::vector<uint64_t>& line, std::vector<uint64_t>& other) {
  const size_t n = line.size();
  if (n < 256) return std::sort(line.begin(), line.end());
  uint32_t counts[4][256] = {};
  for (uint64_t x : line)
    for (int b = 0; b < 4; ++b) ++counts[b][x >> (32 + 8 * b) & 255];
  other.resize(n);
  for (int b = 0; b < 4; ++b) {
    uint32_t* count = counts[b];
    if (std::find(count, count + 256, n) != count + 256) continue;  // all have the same
    uint32_t start = 0;
    for (int i = 0; i < 256; ++i) start += std::exchange(count[i], start);
    for (uint64_t x : line) other[count[x >> (32 + 8 * b) & 255]++] = x;
    line.swap(other);
  }
}
inline void put_in_order(std::vector<unsigned __int128>& line, std::vector<unsigned __int128>&) {
  std::sort(line.begin(), line.end());
}

// The first k of what it is given, in any order. What comes after k others is left out as it is
// met: few are met that don't, once some have been.
template <class R>
struct first_of {
  static constexpr size_t FEW = 64;  // so many are kept in order
  std::vector<R>& kept;
  const size_t k;
  R last = ~R(0);

  first_of(std::vector<R>& kept, size_t k) : kept(kept), k(k) {
    kept.clear();
    if (k <= FEW) kept.resize(k, last);
  }
  AICC_INLINE void add(R one) {
    if (!(one < last)) return;
    if (k <= FEW) {
      size_t i = k - 1;
      for (; i > 0 && one < kept[i - 1]; --i) kept[i] = kept[i - 1];
      kept[i] = one;
      last = kept[k - 1];
    } else {
      kept.push_back(one);
      if (kept.size() == 2 * k) cut();
    }
  }
  void cut() {
    if (kept.size() <= k) return;
    std::nth_element(kept.begin(), kept.begin() + k - 1, kept.end());
    kept.resize(k);
    last = kept.back();
  }
};
template <bool D, class T>
void take_first(std::vector<ranked<T>>& kept, const T* x, int64_t n, int64_t step, int64_t k) {
  constexpr int64_t SOME = 32;
  constexpr int half = sizeof(ranked<T>) * 4;
  using key = decltype(key_of<D>(T()));
  first_of<ranked<T>> found(kept, size_t(k));
  int64_t start = 0;
  for (; start + SOME <= n; start += SOME) {
    key keys[SOME], least = ~key(0);
    for (int64_t j = 0; j < SOME; ++j) keys[j] = key_of<D>(x[(start + j) * step]);
    for (int64_t j = 0; j < SOME; ++j) least = std::min(least, keys[j]);
    if (least > key(found.last >> half)) continue;
    for (int64_t j = 0; j < SOME; ++j) found.add(ranked<T>(keys[j]) << half | ranked<T>(start + j));
  }
  for (; start < n; ++start) found.add(rank_of<D>(x[start * step], start));
  found.cut();
}

// The first k of each line of x[outer, n, inner] in order, and where they stood: [outer, k, inner].
template <bool D, class T>
void put_in_order(T* values, int64_t* indices, const T* x, int64_t outer, int64_t n, int64_t inner,
                  int64_t k) {
  if (k == 0) return;
  run_programs(outer * inner, double(outer * inner) * double(n) * 8, [&](int64_t line) {
    static thread_local std::vector<ranked<T>> kept, other;
    const int64_t o = line / inner, i = line % inner;
    const T* from = x + o * n * inner + i;
    if (k * 4 < n) {
      take_first<D>(kept, from, n, inner, k);
    } else {
      kept.resize(size_t(n));
      for (int64_t j = 0; j < n; ++j) kept[size_t(j)] = rank_of<D>(from[j * inner], j);
    }
    put_in_order(kept, other);
    constexpr ranked<T> places = (ranked<T>(1) << sizeof(ranked<T>) * 4) - 1;
    const int64_t to = o * k * inner + i;
    for (int64_t j = 0; j < k; ++j) {
      const int64_t place = int64_t(kept[size_t(j)] & places);
      values[to + j * inner] = from[place * inner];
      indices[to + j * inner] = place;
    }
  });
}

}  // namespace aicc
