// Host side of the CUDA kernels of the deformable convolution: checks, and the choice of kernel and tile.
#pragma once

#include <array>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "common/checks.h"
#include "common/dtype.h"
#include "deform_conv2d/deform_conv2d_cuda.h"
#include "deform_conv2d/deform_conv2d_tiles.h"

namespace pylatent::deform_conv2d {

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline DeformConv2dSizes checked_sizes(const DeformConv2dShape& shape, int dtype) {
  constexpr int PAD_H = 9, PAD_W = 10;
  for (size_t i = 0; i < shape.size(); ++i) {
    check_range("shape", shape[i], i == PAD_H || i == PAD_W ? 0 : 1, std::numeric_limits<int>::max());
  }
  std::array<int, std::tuple_size<DeformConv2dShape>::value> v{};
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<int>(shape[i]);
  const DeformConv2dSizes s{v[0], v[1],  v[2],  v[3],  v[4],  v[5],  v[6],  v[7],  v[8],
                            v[9], v[10], v[11], v[12], v[13], v[14], v[15], v[16], v[17]};
  check_equal("segments modulo groups", s.segments % s.groups, 0);
  check_equal("segments modulo offset_groups", s.segments % s.offset_groups, 0);
  const int vec = to_dtype(dtype) == Dtype::float32 ? 4 : 8;
  check_equal("segment modulo 16 bytes", s.segment % vec, 0);
  check_equal("outputs modulo 16 bytes", s.outputs % vec, 0);
  // Pixels and grid positions are counted in int.
  constexpr int64_t limit = std::numeric_limits<int>::max();
  check_range("pixels of input", int64_t{s.batch} * s.in_h * s.in_w, 0, limit);
  check_range("pixels of output", int64_t{s.batch} * s.out_h * s.out_w, 0, limit);
  check_range("groups", s.groups, 1, 65535);
  check_range("taps of all offset groups", int64_t{s.kernel_h} * s.kernel_w * s.offset_groups, 1, 65535);
  return s;
}

// Elements of the tensors; samples are those of the mask.
struct Counts {
  int64_t pixels, input, samples, weight, grad_output;
};

inline Counts counts(const DeformConv2dSizes& s) {
  const int64_t taps = int64_t{s.kernel_h} * s.kernel_w, pixels = int64_t{s.batch} * s.out_h * s.out_w;
  const int64_t channels = int64_t{s.segments} * s.segment;
  return {pixels, channels * s.batch * s.in_h * s.in_w, pixels * s.offset_groups * taps, channels * taps * s.outputs,
          pixels * s.groups * s.outputs};
}

// fn(Mode<T, PARTS>{}) for the dtype and, for float, the way to multiply.
template <class Fn>
void with_mode(const char* function, int dtype_code, int product, Fn fn) {
  const Dtype dtype = to_dtype(dtype_code);
  check_range("product", product, 0, 1);
  if (dtype == Dtype::bfloat16) return fn(Mode<bf16>{});
  if (dtype == Dtype::float16) return fn(Mode<f16>{});
  if (dtype != Dtype::float32) unsupported_dtype(function, dtype);
  if (static_cast<Float32Product>(product) == Float32Product::tf32) return fn(Mode<float, 1>{});
  return fn(Mode<float, 2>{});
}

// A tile of 32 MT rows and 32 NT columns.
template <int MT_, int NT_>
struct Tile {
  static constexpr int MT = MT_, NT = NT_;
};

// Cycles of a multiprocessor for one step of depth of one tile, estimated from the instructions: tensor cores at about
// 600 multiply-adds a cycle for half types, 4 corners of 64 bytes to convert and add per row, 64 bytes per column from
// the L2 cache.
inline double step_cost(int rows, int columns, int parts) {
  return rows * columns / 19.0 * (parts == 2 ? 3 : 1) + 3.25 * rows + columns;
}

template <class... Tiles>
struct TileList {
  static constexpr int COUNT = sizeof...(Tiles);

  // The tile that covers rows x columns, `copies` times, in the least time on so many multiprocessors.
  static int cheapest(int64_t rows, int64_t columns, int64_t copies, int parts, int multiprocessors) {
    int best = 0, index = 0;
    double least = std::numeric_limits<double>::infinity();
    const auto consider = [&](int tile_rows, int tile_columns) {
      const int64_t blocks = ceil_divide(rows, tile_rows) * ceil_divide(columns, tile_columns) * copies;
      const double cost =
          static_cast<double>(ceil_divide(blocks, multiprocessors)) * step_cost(tile_rows, tile_columns, parts);
      if (cost < least) {
        least = cost;
        best = index;
      }
      ++index;
    };
    (consider(32 * Tiles::MT, 32 * Tiles::NT), ...);
    return best;
  }

  // fn(Tile) for the tile with this index.
  template <class Fn>
  static void with(int chosen, Fn fn) {
    check_range("tile", chosen, 0, COUNT - 1);
    int index = 0;
    ((index++ == chosen ? fn(Tiles{}) : void()), ...);
  }
};

}  // namespace pylatent::deform_conv2d
