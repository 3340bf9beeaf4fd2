// Products of matrices on the cube unit, through the interface that hides its memories.
#pragma once

#include "../kernel_operator.h"

enum class CubeFormat { ND, NZ };

struct TCubeTiling {
  int32_t usedCoreNum = 1, M = 0, N = 0, Ka = 0, Kb = 0, singleCoreM = 0, singleCoreN = 0,
          singleCoreK = 0, baseM = 0, baseN = 0, baseK = 0, depthA1 = 1, depthB1 = 1, stepM = 1,
          stepN = 1, stepKa = 1, stepKb = 1, isBias = 0, iterateOrder = 0, dbL0A = 1, dbL0B = 1,
          dbL0C = 1;
};

namespace matmul {

template <AscendC::TPosition POSITION, CubeFormat FORMAT, class TYPE, bool ISTRANS = false>
struct MatmulType {
  static constexpr AscendC::TPosition pos = POSITION;
  static constexpr CubeFormat format = FORMAT;
  static constexpr bool transposed = ISTRANS;
  using T = TYPE;
};

template <class A, class B, class C, class BIAS = C>
class Matmul {
 public:
  using TA = typename A::T;
  using TB = typename B::T;
  using TC = typename C::T;
  using Sum = std::conditional_t<std::is_same_v<TA, int8_t>, int32_t, float>;
  static constexpr bool DEQUANTIZES = std::is_same_v<TA, int8_t> && std::is_same_v<TC, half>;

  void Init(const TCubeTiling* given) {
    tiling = given;
    check();
    m = given->singleCoreM, n = given->singleCoreN, k = given->singleCoreK;
  }
  void SetTensorA(const AscendC::LocalTensor<TA>& x, bool transposed = false) {
    a = x, across = transposed, has_a = true;
  }
  void SetTensorB(const AscendC::LocalTensor<TB>& x, bool transposed = false) {
    b = x, down = transposed, has_b = true;
  }
  // Operands in device memory: rows of Ka and N elements, of M and Kb where they are transposed.
  void SetTensorA(const AscendC::GlobalTensor<TA>& x, bool transposed = false) {
    static_assert(A::pos == AscendC::TPosition::GM, "Matmul: A isn't declared to be in GM");
    far_a = x, across = transposed, has_a = true;
  }
  void SetTensorB(const AscendC::GlobalTensor<TB>& x, bool transposed = false) {
    static_assert(B::pos == AscendC::TPosition::GM, "Matmul: B isn't declared to be in GM");
    far_b = x, down = transposed, has_b = true;
  }
  // A bias for each column, added to the sums before all else.
  void SetBias(const AscendC::GlobalTensor<typename BIAS::T>& x) { bias = x, has_bias = true; }
  // A word for each column, whose lower half is a float that sums of bytes are multiplied by.
  void SetQuantVector(const AscendC::GlobalTensor<uint64_t>& x) { scales = x, has_scales = true; }
  // How much of the last tile counts.
  void SetTail(int rows = -1, int columns = -1, int depth = -1) {
    m = rows < 0 ? m : rows, n = columns < 0 ? n : columns, k = depth < 0 ? k : depth;
    if (m > tiling->singleCoreM || n > tiling->singleCoreN || k > tiling->singleCoreK)
      AscendC::emulator::fail("Matmul: SetTail beyond the tiling's sizes");
  }
  // All of the product into the unified buffer, rows of singleCoreN elements.
  void IterateAll(const AscendC::LocalTensor<TC>& c) {
    using namespace AscendC;
    if (!tiling) emulator::fail("Matmul: IterateAll before REGIST_MATMUL_OBJ");
    if (!has_a || !has_b) emulator::fail("Matmul: IterateAll before SetTensorA and SetTensorB");
    const int64_t M = tiling->singleCoreM, N = tiling->singleCoreN;
    constexpr bool FAR_A = A::pos == TPosition::GM, FAR_B = B::pos == TPosition::GM;
    const int64_t pitch_a = across ? tiling->M : tiling->Ka, pitch_b = down ? tiling->Kb : tiling->N;
    const auto at_a = [&](int64_t i, int64_t p) { return across ? p * pitch_a + i : i * pitch_a + p; };
    // In fractals Kb rows of C0 elements lie below one another, then those of the next columns.
    constexpr bool NZ = B::format == CubeFormat::NZ;
    constexpr int64_t C0 = 32 / int64_t(sizeof(TB));
    const auto at_b = [&](int64_t p, int64_t j) {
      if (NZ) return (j / C0 * tiling->Kb + p) * C0 + j % C0;
      return down ? j * pitch_b + p : p * pitch_b + j;
    };
    if (NZ && (!FAR_B || down || tiling->Kb % 16 || tiling->N % C0))
      emulator::fail("Matmul: B in fractals must be whole ones in GM, and not transposed");
    if (m < 1 || n < 1 || k < 1) emulator::fail("Matmul: a product of ", m, " x ", n, " x ", k);
    operand<FAR_A>(a, far_a, m, k, at_a, "Matmul A");
    const auto whole = [](int64_t x, int64_t of) { return NZ ? (x + of - 1) / of * of : x; };
    operand<FAR_B>(b, far_b, whole(k, 16), whole(n, C0), at_b, "Matmul B");
    c.check(PIPE_V, M * N, true, "Matmul C");
    emulator::know(c.first, M * N * int64_t(sizeof(TC)), false);
    const TA* x = FAR_A ? far_a.GetPhyAddr() : a.data();
    const TB* y = FAR_B ? far_b.GetPhyAddr() : b.data();
    const auto first = starts();
    std::vector<Sum> row(first.size());
    for (int64_t i = 0; i < m; ++i) {
      row = first;
      for (int64_t p = 0; p < k; ++p) {
        const Sum left = Sum(number(x[at_a(i, p)]));
        for (int64_t j = 0; j < n; ++j) row[size_t(j)] += left * Sum(number(y[at_b(p, j)]));
      }
      for (int64_t j = 0; j < n; ++j) c.data()[i * N + j] = out(row[size_t(j)], j);
      emulator::know(c.first + i * N * int64_t(sizeof(TC)), n * int64_t(sizeof(TC)));
    }
    for (pipe_t pipe : {PIPE_V, PIPE_MTE2, PIPE_S}) emulator::here().wait(pipe, PIPE_MTE3);
    emulator::spend(PIPE_M, 100 + m * n * k / 4096);
  }
  void End() {}

 private:
  const TCubeTiling* tiling = nullptr;
  AscendC::LocalTensor<TA> a;
  AscendC::LocalTensor<TB> b;
  AscendC::GlobalTensor<TA> far_a;
  AscendC::GlobalTensor<TB> far_b;
  AscendC::GlobalTensor<typename BIAS::T> bias;
  AscendC::GlobalTensor<uint64_t> scales;
  bool across = false, down = false, has_a = false, has_b = false, has_bias = false;
  bool has_scales = false;
  int m = 0, n = 0, k = 0;

  static_assert(AscendC::emulator::one_of<TA, half, bfloat16_t, float, int8_t>,
                "Matmul takes half, bfloat16_t, float and int8_t");
  static_assert(std::is_same_v<TA, TB>, "Matmul takes operands of one type");
  static_assert(std::is_same_v<TC, Sum> || DEQUANTIZES,
                "Matmul sums in float, int8_t in int32_t; sums of int8_t go out as half, too");
  static_assert(std::is_same_v<BIAS, C> || std::is_same_v<typename BIAS::T, Sum>,
                "Matmul takes a bias of the sums' type");

  // Sums before the first product.
  std::vector<Sum> starts() const {
    using namespace AscendC;
    std::vector<Sum> found(size_t(n), Sum(0));
    if (has_bias != (tiling->isBias != 0)) emulator::fail("Matmul: SetBias and isBias don't agree");
    if (DEQUANTIZES != has_scales) emulator::fail("Matmul: half of int8_t needs SetQuantVector, and nothing else does");
    if constexpr (!std::is_same_v<BIAS, C>)
      if (has_bias) {
        bias.check(0, n);
        emulator::here().count->tensors[bias.label].read += n * int64_t(sizeof(Sum));
        std::copy(bias.GetPhyAddr(), bias.GetPhyAddr() + n, found.begin());
      }
    if (has_scales) {
      scales.check(0, n);
      emulator::here().count->tensors[scales.label].read += n * 8;
    }
    return found;
  }
  // A sum on its way out of L0C. Fixpipe's floats have 10 bits of mantissa, and what is too large
  // for a half becomes the largest one.
  TC out(Sum sum, int64_t column) const {
    if constexpr (DEQUANTIZES) {
      const uint32_t bits = uint32_t(scales.GetPhyAddr()[column]) & ~uint32_t(0x1fff);
      float scale;
      std::memcpy(&scale, &bits, sizeof scale);
      const float x = float(sum) * scale;
      return TC(x > 65504.f ? 65504.f : x < -65504.f ? -65504.f : x);
    } else {
      return sum;
    }
  }

  // Checks what is read of an operand of so many rows and columns.
  template <bool FAR, class T, class F>
  static void operand(const AscendC::LocalTensor<T>& near, const AscendC::GlobalTensor<T>& far,
                      int64_t rows, int64_t columns, F at, const char* call) {
    using namespace AscendC;
    const int64_t reach = at(rows - 1, columns - 1) + 1;
    if (FAR) {
      far.check(0, reach);
      const int64_t bytes = rows * columns * int64_t(sizeof(T));
      emulator::here().count->tensors[far.label].read += bytes;
      emulator::spend(PIPE_MTE2, 30 + bytes / emulator::BYTES_A_CLOCK);
      return;
    }
    near.check(PIPE_MTE3, reach, false, call);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        if (!near.known(at(i, j)))
          emulator::fail(call, ": buffer ", near.name(), ": element ", at(i, j),
                         " is read, which nothing was written to but padding");
  }
  template <class T>
  static auto number(T x) {
    if constexpr (std::is_same_v<T, int8_t>)
      return int32_t(x);
    else
      return float(x);
  }
  // Tiles of the operands must fit into L0A and L0B, those of the sums into L0C.
  void check() const {
    const TCubeTiling& t = *tiling;
    const int64_t copies_a = t.dbL0A, copies_b = t.dbL0B;
    struct { const char* name; int64_t bytes, has; } memories[] = {
        {"L0A", int64_t(t.baseM) * t.baseK * int64_t(sizeof(TA)) * copies_a, 64 * 1024},
        {"L0B", int64_t(t.baseK) * t.baseN * int64_t(sizeof(TB)) * copies_b, 64 * 1024},
        {"the bias table", t.isBias ? int64_t(t.baseN) * 4 : 0, 1024},
        {"L0C", int64_t(t.baseM) * t.baseN * 4 * t.dbL0C, 128 * 1024},
        {"L1", (int64_t(t.baseM) * t.baseK * t.depthA1 + int64_t(t.baseK) * t.baseN * t.depthB1) *
                   int64_t(sizeof(TA)), 512 * 1024 - 256}};
    for (auto& memory : memories)
      if (memory.bytes > memory.has)
        AscendC::emulator::fail("Matmul: ", memory.name, " has ", memory.has, " bytes, the tiling takes ",
                                memory.bytes);
    if (t.baseM % 16 || t.baseN % 16 || t.baseK * sizeof(TA) % 32 || t.baseM < 1)
      AscendC::emulator::fail("Matmul: baseM, baseN and baseK must be whole fractals");
  }
};

}  // namespace matmul

inline uint8_t* GetSysWorkSpacePtr() {
  static uint8_t space[32];
  return space;
}

#define REGIST_MATMUL_OBJ(pipe, workspace, object, tiling) (object).Init(tiling)
