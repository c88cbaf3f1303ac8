// What the CUDA kernels of neighborhood_attention share: a block is a tile of kTileRows x kTileColumns tokens of one
// picture, head and residue, a thread one token; the other side's rows go through shared memory as floats, a few at
// once.
#pragma once

#include <algorithm>
#include <limits>

#include "common/device.h"
#include "neighborhood_attention/neighborhood_attention_cuda.h"
#include "neighborhood_attention/neighborhood_attention_window.h"

namespace pylatent::neighborhood {

constexpr int kTileRows = 8, kTileColumns = 16, kThreads = kTileRows * kTileColumns, kMostKernel = 13;
constexpr int64_t kSharedBytes = 40 * 1024;  // of rows: with one more block a multiprocessor than 48 KiB would allow

// Sizes of a launch.
struct Grid {
  int64_t batch, height, width, heads, kernel, dilation;
  int dim, rows_at_once;
  float scale;
  int64_t tiles_y, tiles_x;  // of the longest residues
};

template <class T>
struct Plane {
  Global<T> data;
  int64_t batch, row, column, head;
};

// One block's part of a launch.
struct Tile {
  int64_t batch, head, row_phase, column_phase;
  Window rows, columns;
  int64_t y0, x0, y, x;  // the tile's first token, and this thread's
  bool inside;

  __device__ explicit Tile(const Grid& grid) {
    int64_t block = blockIdx.x;
    head = block % grid.heads, block /= grid.heads;
    x0 = block % grid.tiles_x * kTileColumns, block /= grid.tiles_x;
    y0 = block % grid.tiles_y * kTileRows, block /= grid.tiles_y;
    column_phase = block % grid.dilation, block /= grid.dilation;
    row_phase = block % grid.dilation, batch = block / grid.dilation;
    rows = {residue_length(grid.height, grid.dilation, row_phase), grid.kernel};
    columns = {residue_length(grid.width, grid.dilation, column_phase), grid.kernel};
    y = y0 + threadIdx.x / kTileColumns, x = x0 + threadIdx.x % kTileColumns;
    inside = y < rows.length && x < columns.length;
  }
  // The residue may be shorter than the longest.
  __device__ bool empty() const { return y0 >= rows.length || x0 >= columns.length; }
  __device__ int64_t last_row() const { return y0 + kTileRows <= rows.length ? y0 + kTileRows - 1 : rows.length - 1; }
  __device__ int64_t last_column() const {
    return x0 + kTileColumns <= columns.length ? x0 + kTileColumns - 1 : columns.length - 1;
  }
  // Where a token begins, and its index in floats (batch, heads, height, width).
  template <class T>
  __device__ Global<T> token(const Grid& grid, const Plane<T>& plane, int64_t r, int64_t c) const {
    return plane.data + (batch * plane.batch + (row_phase + grid.dilation * r) * plane.row +
                         (column_phase + grid.dilation * c) * plane.column + head * plane.head);
  }
  __device__ int64_t place(const Grid& grid, int64_t r, int64_t c) const {
    return ((batch * grid.heads + head) * grid.height + row_phase + grid.dilation * r) * grid.width + column_phase +
           grid.dilation * c;
  }
};

// A token in shared memory: DIM floats and a gap, with which the 16 bytes that 8 neighbouring lanes read lie in
// different banks.
template <int DIM>
constexpr int kPitch = DIM + 4;

template <int DIM, class T>
__device__ inline void read_token(float (&to)[DIM], Global<const T> from, int dim, float factor) {
#pragma unroll
  for (int d = 0; d < DIM; ++d) {
    to[d] = 0.0f;
    if (d < dim) {
      const T value = from[d];
      to[d] = factor * to_float(value);
    }
  }
}

template <int DIM, class T>
__device__ inline void write_token(Global<T> to, const float (&from)[DIM], int dim, float factor) {
#pragma unroll
  for (int d = 0; d < DIM; ++d) {
    if (d < dim) to[d] = from_float<T>(factor * from[d]);
  }
}

// The block copies rows [first_row, first_row + rows) and columns [first, first + columns) of a plane.
template <int DIM, class T>
__device__ inline void load_rows(const Grid& grid, const Tile& tile, const Plane<const T>& plane, int64_t first_row,
                                 int rows, int64_t first, int columns, float factor, Shared<float> to) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns * DIM; i += kThreads) {
    const int d = i % DIM, column = i / DIM % columns, row = i / DIM / columns;
    float value = 0.0f;
    if (d < grid.dim) {
      const T element = tile.token(grid, plane, first_row + row, first + column)[d];
      value = factor * to_float(element);
    }
    to[(row * columns + column) * kPitch<DIM> + d] = value;
  }
}

// fast_exp for what is not positive, -inf among it.
__device__ inline float exp_or_zero(float x) { return x < -87.0f ? 0.0f : fast_exp(x); }

template <int DIM>
__device__ inline float dot(const float (&a)[DIM], Shared<const float> b) {
  float sum = 0.0f;
#pragma unroll
  for (int d = 0; d < DIM; d += 4) {
    const Vec<float, 4> four = load_vec<4>(b + d);
    for (int i = 0; i < 4; ++i) sum += a[d + i] * four[i];
  }
  return sum;
}

// a += factor * b
template <int DIM>
__device__ inline void add_scaled(float (&a)[DIM], float factor, Shared<const float> b) {
#pragma unroll
  for (int d = 0; d < DIM; d += 4) {
    const Vec<float, 4> four = load_vec<4>(b + d);
    for (int i = 0; i < 4; ++i) a[d + i] += factor * four[i];
  }
}

inline int64_t blocks_of(const Grid& grid) {
  return grid.batch * grid.dilation * grid.dilation * grid.tiles_y * grid.tiles_x * grid.heads;
}

// columns: the most that a row of the other side has for a tile; words: floats of a column.
inline Grid grid_of(const Job& job, int64_t columns, int64_t words) {
  Grid grid{};
  grid.batch = job.batch, grid.height = job.height, grid.width = job.width, grid.heads = job.heads;
  grid.kernel = job.kernel, grid.dilation = job.dilation, grid.scale = job.scale;
  grid.dim = static_cast<int>(job.dim);
  grid.rows_at_once = static_cast<int>(std::max<int64_t>(1, kSharedBytes / (columns * words * 4)));
  const auto tiles = [&](int64_t length, int64_t tile) {
    return (residue_length(length, job.dilation, 0) + tile - 1) / tile;
  };
  grid.tiles_y = tiles(job.height, kTileRows), grid.tiles_x = tiles(job.width, kTileColumns);
  return grid;
}

template <class T>
Plane<T> plane(const Job& job, const Tokens& tokens) {
  const int64_t extent = (job.batch - 1) * tokens.batch + (job.height - 1) * tokens.row +
                         (job.width - 1) * tokens.column + (job.heads - 1) * tokens.head + job.dim;
  return {global<T>(tokens.data, extent), tokens.batch, tokens.row, tokens.column, tokens.head};
}

inline Global<const float> bias_of(const Job& job) {
  const int64_t span = 2 * job.kernel - 1;
  return global<const float>(job.bias, job.bias == 0 ? 0 : job.heads * span * span);
}

// fn(Type<T>{}, std::integral_constant<int, DIM>{}) for the dtype and the least DIM that holds a head.
template <class Fn>
void with_type_and_dim(const Job& job, Fn&& fn) {
  const auto with_dim = [&](auto type) {
    if (job.dim <= 16) return fn(type, std::integral_constant<int, 16>{});
    if (job.dim <= 32) return fn(type, std::integral_constant<int, 32>{});
    throw std::invalid_argument("neighborhood_attention on CUDA takes heads of at most 32 elements, got " +
                                std::to_string(job.dim));
  };
  switch (job.dtype) {
    case Dtype::float32:
      return with_dim(Type<float>{});
    case Dtype::float16:
      return with_dim(Type<f16>{});
    case Dtype::bfloat16:
      return with_dim(Type<bf16>{});
    default:
      unsupported_dtype("neighborhood_attention", job.dtype);
  }
}

inline dim3 grid_size(const Grid& grid) {
  const int64_t blocks = blocks_of(grid);
  if (blocks > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("neighborhood_attention: more than 2^31 tiles of 8 x 16 tokens in one call");
  }
  return dim3(static_cast<unsigned>(blocks));
}

}  // namespace pylatent::neighborhood
