// What the tiles of conv_tiles_amx.h do, step by step, so that the kernels can be tested on machines without AMX.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "common/unroll.h"

#define PYLATENT_TILE_ZERO(tile) tiles_here().zero(tile)
#define PYLATENT_TILE_LOAD(tile, from, stride) tiles_here().load(tile, from, stride)
#define PYLATENT_TILE_STORE(tile, to, stride) tiles_here().store(tile, to, stride)
#define PYLATENT_TILE_DOT_SS(sums, a, w) tiles_here().dot<int8_t, int8_t>(sums, a, w)
#define PYLATENT_TILE_DOT_SU(sums, a, w) tiles_here().dot<int8_t, uint8_t>(sums, a, w)
#define PYLATENT_TILE_DOT_US(sums, a, w) tiles_here().dot<uint8_t, int8_t>(sums, a, w)
#define PYLATENT_TILE_DOT_UU(sums, a, w) tiles_here().dot<uint8_t, uint8_t>(sums, a, w)

namespace pylatent::integers {
namespace {

class TileModel {
 public:
  void zero(int tile) { std::memset(tiles_[tile], 0, sizeof tiles_[tile]); }
  void load(int tile, const void* from, size_t stride) {
    for (size_t row = 0; row < 16; ++row) {
      std::memcpy(tiles_[tile][row], static_cast<const uint8_t*>(from) + row * stride, 64);
    }
  }
  void store(int tile, void* to, size_t stride) const {
    for (size_t row = 0; row < 16; ++row) {
      std::memcpy(static_cast<uint8_t*>(to) + row * stride, tiles_[tile][row], 64);
    }
  }
  // sums[m][n] += the products of the four bytes a[m][4 k ...] and w[k][4 n ...], over k, modulo 2^32.
  template <class A, class W>
  void dot(int sums, int a, int w) {
    alignas(32) int16_t of_a[16][64], of_w[16][64];
    widen<A>(tiles_[a], of_a);
    widen<W>(tiles_[w], of_w);
    for (int m = 0; m < 16; ++m) {
      __m256i halves[4] = {};  // of the sums of two bytes, 2 n and 2 n + 1
      for (int k = 0; k < 16; ++k) {
        int64_t four;
        std::memcpy(&four, of_a[m] + 4 * k, sizeof four);
        PYLATENT_UNROLL
        for (int i = 0; i < 4; ++i) {
          const __m256i weights = _mm256_load_si256(reinterpret_cast<const __m256i*>(of_w[k]) + i);
          halves[i] = _mm256_add_epi32(halves[i], _mm256_madd_epi16(_mm256_set1_epi64x(four), weights));
        }
      }
      uint32_t total[16], both[32];
      std::memcpy(both, halves, sizeof both);
      std::memcpy(total, tiles_[sums][m], sizeof total);
      for (int n = 0; n < 16; ++n) total[n] += both[2 * n] + both[2 * n + 1];
      std::memcpy(tiles_[sums][m], total, sizeof total);
    }
  }

  bool configured = false;

 private:
  template <class T>
  static void widen(const uint8_t (&tile)[16][64], int16_t (&to)[16][64]) {
    for (int row = 0; row < 16; ++row) {
      for (int i = 0; i < 64; ++i) to[row][i] = static_cast<T>(tile[row][i]);
    }
  }

  uint8_t tiles_[8][16][64];
};

// Those of this thread.
TileModel& all_tiles() {
  static thread_local TileModel tiles;
  return tiles;
}

TileModel& tiles_here() {
  TileModel& tiles = all_tiles();
  if (!tiles.configured) throw std::logic_error("tiles are used without a configuration");
  return tiles;
}

class Tiles {
 public:
  Tiles() { all_tiles().configured = true; }
  ~Tiles() { all_tiles().configured = false; }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace pylatent::integers
