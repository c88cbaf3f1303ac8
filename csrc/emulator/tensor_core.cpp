#include "emulator/tensor_core.h"

#include <cstring>

#include "emulator/block.h"
#include "emulator/counters.h"

namespace pylatent::emulator {
namespace {

struct Matrices {
  uint32_t* registers;
  int64_t row_byte;
  Where where;
};

// Lane l gives the address of row l % 8 of matrix l / 8, and gets two elements of each matrix.
template <int COUNT, bool TRANSPOSED>
void complete_load(void* const* payloads, uint32_t) {
  Lane* const caller = current;
  uint16_t elements[COUNT * 8][8];
  int64_t rows[COUNT * 8];
  for (int i = 0; i < COUNT * 8; ++i) {
    const auto& from = *static_cast<const Matrices*>(payloads[i]);
    current = &caller->block->lanes[caller->warp() * 32 + i];  // reads and faults are those of the lane with the row
    rows[i] = from.row_byte;
    std::memcpy(elements[i], caller->block->shared.checked(from.row_byte, 16, Access::read, from.where), 16);
  }
  current = caller;
  if (counters().on) counters().note_ldmatrix(rows, COUNT);
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t* const registers = static_cast<Matrices*>(payloads[lane])->registers;
    const int row = lane / 4, pair = 2 * (lane % 4);
    for (int m = 0; m < COUNT; ++m) {
      const uint16_t low = TRANSPOSED ? elements[8 * m + pair][row] : elements[8 * m + row][pair];
      const uint16_t high = TRANSPOSED ? elements[8 * m + pair + 1][row] : elements[8 * m + row][pair + 1];
      registers[m] = low | static_cast<uint32_t>(high) << 16;
    }
  }
}

constexpr Collective load_x2{"ldmatrix_x2", true, complete_load<2, false>};
constexpr Collective load_x4{"ldmatrix_x4", true, complete_load<4, false>};
constexpr Collective load_x2_trans{"ldmatrix_x2_trans", true, complete_load<2, true>};
constexpr Collective load_x4_trans{"ldmatrix_x4_trans", true, complete_load<4, true>};

struct Product {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// a: 16 x K, b: K x 8 as columns. Products are exact and their sum is rounded once, where hardware truncates more
// often.
template <int K>
void multiply(void* const* payloads, const float (&a)[16][K], const float (&b)[8][K]) {
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float& d = static_cast<const Product*>(payloads[row % 8 * 4 + column / 2])->d[row / 8 * 2 + column % 2];
      double sum = 0;
      for (int k = 0; k < K; ++k) sum += static_cast<double>(a[row][k]) * static_cast<double>(b[column][k]);
      d = static_cast<float>(static_cast<double>(d) + sum);
    }
  }
}

template <class T>
float half_of(uint32_t pair, int i) {
  return to_float(T{static_cast<uint16_t>(pair >> (16 * i))});
}

template <class T>
void complete_m16n8k16(void* const* payloads, uint32_t) {
  float a[16][16], b[8][16];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& from = *static_cast<const Product*>(payloads[lane]);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 2; ++i) {
      a[group][pair + i] = half_of<T>(from.a[0], i);
      a[group + 8][pair + i] = half_of<T>(from.a[1], i);
      a[group][pair + 8 + i] = half_of<T>(from.a[2], i);
      a[group + 8][pair + 8 + i] = half_of<T>(from.a[3], i);
      b[group][pair + i] = half_of<T>(from.b[0], i);
      b[group][pair + 8 + i] = half_of<T>(from.b[1], i);
    }
  }
  multiply(payloads, a, b);
  if (counters().on) counters().note_mma(Counters::Product::halves);
}

// The multiplier ignores the lowest 13 bits.
float tf32(uint32_t bits) { return bit_cast<float>(bits & 0xffffe000u); }

void complete_m16n8k8_tf32(void* const* payloads, uint32_t) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& from = *static_cast<const Product*>(payloads[lane]);
    const int group = lane / 4, k = lane % 4;
    a[group][k] = tf32(from.a[0]);
    a[group + 8][k] = tf32(from.a[1]);
    a[group][k + 4] = tf32(from.a[2]);
    a[group + 8][k + 4] = tf32(from.a[3]);
    b[group][k] = tf32(from.b[0]);
    b[group][k + 4] = tf32(from.b[1]);
  }
  multiply(payloads, a, b);
  if (counters().on) counters().note_mma(Counters::Product::tf32);
}

constexpr Collective mma_bf16{"mma_m16n8k16<bf16>", true, complete_m16n8k16<bf16>};
constexpr Collective mma_f16{"mma_m16n8k16<f16>", true, complete_m16n8k16<f16>};
constexpr Collective mma_tf32{"mma_m16n8k8_tf32", true, complete_m16n8k8_tf32};

// Bytes of a register, from the lowest, for k of four neighbours. Sums wrap, as they do without .satfinite.
struct ByteProduct {
  int32_t* d;
  const uint32_t* a;
  const uint32_t* b;
};

template <bool SIGNED>
int32_t byte_of(uint32_t word, int i) {
  const uint8_t byte = static_cast<uint8_t>(word >> 8 * i);
  return SIGNED ? int32_t{static_cast<int8_t>(byte)} : int32_t{byte};
}

template <bool SIGNED_A, bool SIGNED_B>
void complete_m16n8k32(void* const* payloads, uint32_t) {
  int32_t a[16][32], b[8][32];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& from = *static_cast<const ByteProduct*>(payloads[lane]);
    const int group = lane / 4, first = 4 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      for (int part = 0; part < 4; ++part) {
        a[group + 8 * (part % 2)][first + 16 * (part / 2) + i] = byte_of<SIGNED_A>(from.a[part], i);
      }
      for (int part = 0; part < 2; ++part) b[group][first + 16 * part + i] = byte_of<SIGNED_B>(from.b[part], i);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int32_t& d = static_cast<const ByteProduct*>(payloads[row % 8 * 4 + column / 2])->d[row / 8 * 2 + column % 2];
      int32_t sum = 0;
      for (int k = 0; k < 32; ++k) sum += a[row][k] * b[column][k];
      d = static_cast<int32_t>(static_cast<uint32_t>(d) + static_cast<uint32_t>(sum));
    }
  }
  if (counters().on) counters().note_mma(Counters::Product::bytes);
}

constexpr Collective mma_bytes[2][2] = {{{"mma_m16n8k32<uint8_t, uint8_t>", true, complete_m16n8k32<false, false>},
                                         {"mma_m16n8k32<uint8_t, int8_t>", true, complete_m16n8k32<false, true>}},
                                        {{"mma_m16n8k32<int8_t, uint8_t>", true, complete_m16n8k32<true, false>},
                                         {"mma_m16n8k32<int8_t, int8_t>", true, complete_m16n8k32<true, true>}}};

void multiply(const Collective& what, float* d, const uint32_t* a, const uint32_t* b, const Where& where) {
  Product product{d, a, b};
  collective(what, ~uint32_t{0}, &product, where);
}

}  // namespace

void load_matrices(uint32_t* registers, int count, bool transposed, int64_t row_byte, const Where& where) {
  Matrices matrices{registers, row_byte, where};
  const Collective& x2 = transposed ? load_x2_trans : load_x2;
  const Collective& x4 = transposed ? load_x4_trans : load_x4;
  collective(count == 2 ? x2 : x4, ~uint32_t{0}, &matrices, where);
}

void multiply_bf16(float* d, const uint32_t* a, const uint32_t* b, const Where& where) {
  multiply(mma_bf16, d, a, b, where);
}
void multiply_f16(float* d, const uint32_t* a, const uint32_t* b, const Where& where) {
  multiply(mma_f16, d, a, b, where);
}
void multiply_tf32(float* d, const uint32_t* a, const uint32_t* b, const Where& where) {
  multiply(mma_tf32, d, a, b, where);
}
void multiply_bytes(int32_t* d, const uint32_t* a, const uint32_t* b, bool signed_a, bool signed_b,
                    const Where& where) {
  ByteProduct product{d, a, b};
  collective(mma_bytes[signed_a][signed_b], ~uint32_t{0}, &product, where);
}

}  // namespace pylatent::emulator
