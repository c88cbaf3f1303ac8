// The tiles of AMX: 16 rows of 64 bytes, eight of them. Numbers of tiles must be literals. A thread has tiles while a
// `Tiles` lives.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define PYLATENT_TILE_ZERO(tile) _tile_zero(tile)
#define PYLATENT_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define PYLATENT_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
// Sums, activations, weights; S signed, U unsigned, of activations first.
#define PYLATENT_TILE_DOT_SS(sums, a, w) _tile_dpbssd(sums, a, w)
#define PYLATENT_TILE_DOT_SU(sums, a, w) _tile_dpbsud(sums, a, w)
#define PYLATENT_TILE_DOT_US(sums, a, w) _tile_dpbusd(sums, a, w)
#define PYLATENT_TILE_DOT_UU(sums, a, w) _tile_dpbuud(sums, a, w)

namespace pylatent::integers {
namespace {

struct TileConfiguration {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfiguration) == 64, "as LDTILECFG reads it");
alignas(64) constexpr TileConfiguration kTiles{
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

class Tiles {
 public:
  Tiles() { _tile_loadconfig(&kTiles); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace pylatent::integers
