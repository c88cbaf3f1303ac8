// ldmatrix and mma: what a warp does together on small matrices, as the PTX manual gives the fragments.
#pragma once

#include <cstdint>

#include "common/half.h"
#include "emulator/fault.h"
#include "emulator/pointers.h"

namespace pylatent {
namespace emulator {

void load_matrices(uint32_t* registers, int count, bool transposed, int64_t row_byte, const Where& where);
void multiply_bf16(float* d, const uint32_t* a, const uint32_t* b, const Where& where);
void multiply_f16(float* d, const uint32_t* a, const uint32_t* b, const Where& where);
void multiply_tf32(float* d, const uint32_t* a, const uint32_t* b, const Where& where);
void multiply_bytes(int32_t* d, const uint32_t* a, const uint32_t* b, bool signed_a, bool signed_b, const Where& where);

}  // namespace emulator

template <class T>
void ldmatrix_x4(uint32_t (&r)[4], Shared<T> row, emulator::Where where = emulator::Where::here()) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  emulator::load_matrices(r, 4, false, row.byte(), where);
}
template <class T>
void ldmatrix_x4_trans(uint32_t (&r)[4], Shared<T> row, emulator::Where where = emulator::Where::here()) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  emulator::load_matrices(r, 4, true, row.byte(), where);
}
template <class T>
void ldmatrix_x2(uint32_t (&r)[2], Shared<T> row, emulator::Where where = emulator::Where::here()) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  emulator::load_matrices(r, 2, false, row.byte(), where);
}
template <class T>
void ldmatrix_x2_trans(uint32_t (&r)[2], Shared<T> row, emulator::Where where = emulator::Where::here()) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  emulator::load_matrices(r, 2, true, row.byte(), where);
}

template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  emulator::Where where = emulator::Where::here()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>, "m16n8k16 multiplies bf16 or f16");
  if constexpr (std::is_same_v<T, bf16>) {
    emulator::multiply_bf16(d, a, b, where);
  } else {
    emulator::multiply_f16(d, a, b, where);
  }
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             emulator::Where where = emulator::Where::here()) {
  emulator::multiply_tf32(d, a, b, where);
}

template <class A, class B>
void mma_m16n8k32(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  emulator::Where where = emulator::Where::here()) {
  static_assert(sizeof(A) == 1 && sizeof(B) == 1, "m16n8k32 multiplies bytes");
  emulator::multiply_bytes(d, a, b, std::is_signed_v<A>, std::is_signed_v<B>, where);
}

// To the nearest number with 10 bits of mantissa, ties away from zero.
inline uint32_t to_tf32(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? (bits + 0x1000u) & 0xffffe000u : bits;
}

}  // namespace pylatent
