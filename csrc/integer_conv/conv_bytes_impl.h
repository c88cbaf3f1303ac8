// The kernels of conv_bytes.h, on the tiles that the including file chooses (conv_tiles_amx.h or conv_tiles_model.h)
// and on vectors of S (conv_kernel_impl.h). Tiles 0 to 3 are sums of a group each, 4 weights, 5 to 7 activations.
#pragma once

#include <cstdint>

#include "common/unroll.h"
#include "integer_conv/conv_bytes.h"
#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {
namespace {

inline void split_row(const Split& job) {
  const int shift = job.digits == Digits::three ? 7 : 8;
  for (int64_t column = 0; column < job.columns; ++column) {
    const int16_t* in = job.in + column * job.pitch;
    uint8_t* out = job.out + column * job.pixel;
    const int64_t count = job.pitch < job.plane ? job.pitch : job.plane;
    if (shift == 8) {
      for (int64_t i = 0; i < count; ++i) {
        out[i] = static_cast<uint8_t>(in[i]);
        out[job.plane + i] = static_cast<uint8_t>(in[i] >> 8);
      }
    } else {
      for (int64_t i = 0; i < count; ++i) {
        const int16_t x = in[i], high = static_cast<int16_t>(static_cast<int16_t>(x + 64) >> 7);
        const int16_t low = static_cast<int16_t>(x - 128 * high);
        out[i] = static_cast<uint8_t>(low);
        out[job.plane + i] = static_cast<uint8_t>(low + high);
        out[2 * job.plane + i] = static_cast<uint8_t>(high);
      }
    }
  }
}

// Adds, to the sums of all groups, the products of a plane of activations and one of weights. A loaded tile is used at
// once, but a group's sums are not touched again before those of the others: a product takes 52 cycles, and one may
// begin every 16.
#define PYLATENT_TILE_PASS(name, dot)                                               \
  inline void name(const ByteProduct& job, int64_t plane, const uint8_t* weights) { \
    const size_t step = static_cast<size_t>(job.step);                              \
    const uint8_t* const* places = job.places;                                      \
    for (int64_t tap = 0; tap < job.taps; ++tap, places += job.groups) {            \
      for (int64_t at = plane; at < plane + job.chunks * kChunk; at += kChunk) {    \
        PYLATENT_TILE_LOAD(4, weights, kChunk);                                     \
        weights += kTileBytes;                                                      \
        PYLATENT_TILE_LOAD(5, places[0] + at, step);                                \
        dot(0, 5, 4);                                                               \
        if (job.groups > 1) {                                                       \
          PYLATENT_TILE_LOAD(6, places[1] + at, step);                              \
          dot(1, 6, 4);                                                             \
        }                                                                           \
        if (job.groups > 2) {                                                       \
          PYLATENT_TILE_LOAD(7, places[2] + at, step);                              \
          dot(2, 7, 4);                                                             \
        }                                                                           \
        if (job.groups > 3) {                                                       \
          PYLATENT_TILE_LOAD(5, places[3] + at, step);                              \
          dot(3, 5, 4);                                                             \
        }                                                                           \
      }                                                                             \
    }                                                                               \
  }
PYLATENT_TILE_PASS(signed_pass, PYLATENT_TILE_DOT_SS)            // both signed
PYLATENT_TILE_PASS(signed_weights_pass, PYLATENT_TILE_DOT_US)    // unsigned activations
PYLATENT_TILE_PASS(unsigned_weights_pass, PYLATENT_TILE_DOT_SU)  // signed activations
PYLATENT_TILE_PASS(unsigned_pass, PYLATENT_TILE_DOT_UU)          // both unsigned
#undef PYLATENT_TILE_PASS

using Sums = int32_t[kGroups * kGroup][kUnit];

inline void clear_sums() {
  PYLATENT_TILE_ZERO(0);
  PYLATENT_TILE_ZERO(1);
  PYLATENT_TILE_ZERO(2);
  PYLATENT_TILE_ZERO(3);
}

inline void store_sums(Sums& sums) {
  PYLATENT_TILE_STORE(0, sums[0], kChunk);
  PYLATENT_TILE_STORE(1, sums[kGroup], kChunk);
  PYLATENT_TILE_STORE(2, sums[2 * kGroup], kChunk);
  PYLATENT_TILE_STORE(3, sums[3 * kGroup], kChunk);
}

// One unit's.
template <class S, int COUNT>
void add_sums(const Sums (&sums)[3], const int32_t (&coefficients)[COUNT], int64_t pixels, int32_t* out,
              int64_t width) {
  for (int first = 0; first < kUnit; first += S::width) {
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      typename S::I total = S::load(sums[0][pixel] + first);
      if (coefficients[0] != 1) total = S::multiply(total, S::set_int(coefficients[0]));
      PYLATENT_UNROLL
      for (int i = 1; i < COUNT; ++i) {
        total = S::add(total, S::multiply(S::load(sums[i][pixel] + first), S::set_int(coefficients[i])));
      }
      S::store(out + pixel * width + first, total);
    }
  }
}

template <class S>
void multiply_bytes(const ByteProduct& job) {
  alignas(64) Sums sums[3];
  const int64_t plane = job.chunks * kChunk, of_weights = job.taps * job.chunks * kTileBytes;
  const int64_t pixels = job.groups * kGroup, width = job.units * kUnit;
  const uint8_t* w = job.weights;
  const Tiles tiles;
  for (int unit = 0; unit < job.units; ++unit) {
    int32_t* out = job.out + unit * kUnit;
    clear_sums();
    switch (job.digits) {
      case Digits::two:
        signed_weights_pass(job, 0, w);
        store_sums(sums[0]);
        clear_sums();
        signed_pass(job, plane, w);
        store_sums(sums[1]);
        w += of_weights;
        add_sums<S, 2>(sums, {1, 1 << 8}, pixels, out, width);
        break;
      case Digits::three:
        signed_pass(job, 0, w);
        store_sums(sums[0]);
        clear_sums();
        signed_pass(job, plane, w + of_weights);
        store_sums(sums[1]);
        clear_sums();
        signed_pass(job, 2 * plane, w + 2 * of_weights);
        store_sums(sums[2]);
        w += 3 * of_weights;
        add_sums<S, 3>(sums, {1 - (1 << 7), 1 << 7, (1 << 14) - (1 << 7)}, pixels, out, width);
        break;
      case Digits::four:
        unsigned_pass(job, 0, w);
        store_sums(sums[0]);
        clear_sums();
        signed_weights_pass(job, 0, w + of_weights);
        unsigned_weights_pass(job, plane, w);
        store_sums(sums[1]);
        clear_sums();
        signed_pass(job, plane, w + of_weights);
        store_sums(sums[2]);
        w += 2 * of_weights;
        add_sums<S, 3>(sums, {1, 1 << 8, 1 << 16}, pixels, out, width);
    }
  }
}

template <class S, bool EVERY_LAYER>
const ByteKernels& byte_kernels() {
  static const ByteKernels kernels{split_row, multiply_bytes<S>, EVERY_LAYER};
  return kernels;
}

}  // namespace
}  // namespace pylatent::integers
