// Products whose right operand is read element by element, as convolutions read images: blocks of
// a few columns by vectors of rows are summed in registers, and turned as they are stored.

#include "turn.h"

namespace aicc {
namespace {

typedef float eight __attribute__((vector_size(32)));

// Eight rows of eight become eight columns.
AICC_INLINE void turn(eight (&x)[8]) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define AICC_SHUFFLE __builtin_shufflevector
#endif
#endif
#if defined(AICC_SHUFFLE)
  eight y[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    y[i] = AICC_SHUFFLE(x[i], x[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    y[i + 1] = AICC_SHUFFLE(x[i], x[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
#pragma GCC unroll 4
  for (int i : {0, 1, 4, 5}) {
    x[i] = AICC_SHUFFLE(y[i], y[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    x[i + 2] = AICC_SHUFFLE(y[i], y[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    y[i] = AICC_SHUFFLE(x[i], x[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    y[i + 4] = AICC_SHUFFLE(x[i], x[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) x[i] = y[i];
#else
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < i; ++j) {
      float kept = x[i][j];
      x[i][j] = x[j][i];
      x[j][i] = kept;
    }
#endif
}

// What a block of sums is of: rows of the left panel, `depth` of what is summed over, and what is to
// be in the cache when this is done: `pace` floats of it at each step.
struct part {
  const float* left;
  places<float> right;
  int64_t rows, depth;
  const float* next;
  int64_t pace;
};

// Sums that go on from one part to the next lie in `sums`, C columns by V vectors; those of the
// last part go to c, turned, the first `count` columns of them.
struct goal {
  float* c;
  int64_t row;
  int count;
  float* sums;
  bool first, last, add;
};

// Of a block's sums, `width` to a column, those of `COUNT` columns from `first` on.
template <int COUNT>
__attribute__((noinline)) void stored(const part& p, const goal& g, int first, int width) {
  const int found = g.count - first;
  for (int64_t r = 0; r < p.rows; r += 8) {
    eight x[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      x[i] = i < COUNT ? *(const eight*)(g.sums + (first + i) * width + r) : eight{};
    turn(x);
    float* to = g.c + r * g.row + first;
    if (found >= COUNT && p.rows - r >= 8) {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i, to += g.row) {
        eight old = {};
        if (g.add) memcpy(&old, to, COUNT * sizeof(float));
        x[i] += old;
        memcpy(to, &x[i], COUNT * sizeof(float));
      }
      continue;
    }
#pragma GCC unroll 1
    for (int i = 0; i < 8 && r + i < p.rows; ++i, to += g.row)
#pragma GCC unroll 1
      for (int j = 0; j < COUNT && j < found; ++j) to[j] = (g.add ? to[j] : 0.0f) + x[i][j];
  }
}

template <int C, int V>
void block(const part& p, const goal& g) {
  using N = typename native<float>::type;
  using L = typename native<float>::loose;
  constexpr int LANES = native<float>::LANES, WIDTH = V * LANES;
  const float* from[C];
#pragma GCC unroll 16
  for (int i = 0; i < C; ++i) from[i] = p.right.data + p.right.columns[i < g.count ? i : g.count - 1];
  N total[C][V] = {};
  if (!g.first) {
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) total[i][j] = *(const N*)(g.sums + i * WIDTH + j * LANES);
  }
  const float* next = p.next;
  for (int64_t k = 0; k < p.depth; ++k) {
    N left[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j)
      left[j] = *(const L*)(p.left + k * panels<float>::width + j * LANES);
    __builtin_prefetch(next, 0, 2);
    next += p.pace;
    const int64_t at = p.right.rows[k];
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) {
      N right = from[i][at] - N{};
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) total[i][j] += left[j] * right;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < C; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) *(N*)(g.sums + i * WIDTH + j * LANES) = total[i][j];
  if (!g.last) return;
  stored<(C < 8 ? C : 8)>(p, g, 0, WIDTH);
  if constexpr (C > 8) stored<C - 8>(p, g, 8, WIDTH);
}

// A panel of the left operand stays in the second cache while all columns go past, a part of what is
// summed over at a time; the next part is fetched meanwhile.
template <int C, int V>
void all_columns(float* c, int64_t row, const float* a, places<float> b, int64_t m, int64_t n,
                 int64_t depth, bool add, bool more) {
  constexpr int64_t DEPTH = 1024, WIDTH = panels<float>::width;
  const int64_t blocks = (n + C - 1) / C, parts = (depth + DEPTH - 1) / DEPTH;
  const int64_t deep = (depth + parts - 1) / parts, spread = minimum<int64_t>(blocks, 8);
  constexpr int64_t SUMS = C * V * native<float>::LANES;
  float* sums = scratch<float>(1, SUMS * (parts > 1 ? blocks : 1));
  for (int64_t k = 0; k < depth; k += deep) {
    const bool last = k + deep >= depth;
    part p{a + k * WIDTH, {b.data, b.rows + k, b.columns}, m, minimum(deep, depth - k), nullptr, 0};
    for (int64_t i = 0; i < blocks; ++i) {
      const bool fetch = i < spread && (more || !last);
      p.next = fetch ? p.left + (p.depth * WIDTH + i * p.depth * (WIDTH / spread)) : p.left;
      p.pace = fetch ? WIDTH / spread : 0;
      const int count = int(minimum<int64_t>(C, n - i * C));
      block<C, V>(p, {c + i * C, row, count, sums + (parts > 1 ? i * SUMS : 0), k == 0, last, add});
      p.right.columns += C;
    }
  }
}

// In blocks of either of two numbers of columns: that which leaves less over.
template <int C, int V>
void columns(float* c, int64_t row, const float* a, places<float> b, int64_t m, int64_t n,
             int64_t depth, bool add, bool more) {
  constexpr int LESS = C - C / 6;
  if ((n + C - 1) / C * C <= (n + LESS - 1) / LESS * LESS)
    all_columns<C, V>(c, row, a, b, m, n, depth, add, more);
  else
    all_columns<LESS, V>(c, row, a, b, m, n, depth, add, more);
}

// Rows of a as a panel of `width`, zero beyond m.
void pack(float* to, matrix<float> a, int64_t m, int64_t width, int64_t depth) {
  constexpr int64_t STEP = panels<float>::width, TILE = 16;
  for (int64_t k = 0; m < width && k < depth; ++k) fill(to + k * STEP + m, width - m, 0.0f);
  if (a.column == 1) return turn(to, STEP, a.data, a.row, depth, m);
  for (int64_t k = 0; k < depth; k += TILE)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t y = k; y < minimum(k + TILE, depth); ++y)
        to[y * STEP + i] = a.data[i * a.row + y * a.column];
}

}  // namespace

void dot(float* c, int64_t row, panels<float> a, places<float> b, int64_t m, int64_t n, int64_t k,
         bool add) {
  constexpr int LANES = native<float>::LANES;
  constexpr int64_t WIDTH = panels<float>::width, STEP = VECTORS * LANES;
  for (int64_t i = 0; i < m; i += STEP) {
    const float* left = a.data + i / WIDTH * a.panel + i % WIDTH;
    const int64_t rows = minimum(m - i, STEP);
    float* to = c + i * row;
    const bool more = i + STEP < m;
    switch ((rows + LANES - 1) / LANES) {
      case 1: columns<12, 1>(to, row, left, b, rows, n, k, add, more); break;
      case 2: columns<VECTORS == 2 ? 6 : 12, 2>(to, row, left, b, rows, n, k, add, more); break;
#if !defined(__AVX2__) || defined(AICC_AVX512)
      case 3: columns<6, 3>(to, row, left, b, rows, n, k, add, more); break;
      case 4: columns<6, 4>(to, row, left, b, rows, n, k, add, more); break;
#endif
    }
  }
}

void dot(float* c, int64_t row, matrix<float> a, places<float> b, int64_t m, int64_t n, int64_t k,
         bool add) {
  constexpr int LANES = native<float>::LANES;
  constexpr int64_t WIDTH = panels<float>::width;
  float* panel = scratch<float>(0, size_t(WIDTH) * k);
  for (int64_t i = 0; i < m; i += WIDTH) {
    const int64_t rows = minimum(m - i, WIDTH);
    const matrix<float> left{a.data + i * a.row, a.row, a.column};
    pack(panel, left, rows, (rows + LANES - 1) / LANES * LANES, k);
    dot(c + i * row, row, panels<float>{panel, 0}, b, rows, n, k, add);
  }
}

}  // namespace aicc
