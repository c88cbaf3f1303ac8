// neighborhood_attention on CUDA, forward: a thread is a query; softmax and sum go on row by row of its window.
#include "neighborhood_attention/neighborhood_attention_cuda_tile.h"

namespace pylatent::neighborhood {
namespace {

template <int DIM>
constexpr int kWords = 2 * kPitch<DIM>;  // a key and its value

template <class T, int DIM>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Grid grid, Plane<const T> q, Plane<const T> k, Plane<const T> v, Global<const float> bias,
                   Plane<T> out, Global<float> lse) {
  const Tile tile(grid);
  if (tile.empty()) return;
  const int kernel = static_cast<int>(grid.kernel), span = 2 * kernel - 1;
  const int64_t first = tile.columns.start(tile.x0), first_row = tile.rows.start(tile.y0);
  const int columns = static_cast<int>(tile.columns.start(tile.last_column()) + kernel - first);
  const int64_t end_row = tile.rows.start(tile.last_row()) + kernel;
  const Shared<float> keys = dynamic_shared<float>(0);
  const Shared<float> values = keys + grid.rows_at_once * columns * kPitch<DIM>;

  float query[DIM], sum[DIM];
  float highest = -INFINITY, total = 0.0f;
  for (int d = 0; d < DIM; ++d) sum[d] = query[d] = 0.0f;
  int64_t start_row = 0, start_column = 0;
  if (tile.inside) {
    read_token<DIM, T>(query, tile.token(grid, q, tile.y, tile.x), grid.dim, grid.scale);
    start_row = tile.rows.start(tile.y), start_column = tile.columns.start(tile.x);
  }

  for (int64_t r = first_row; r < end_row; r += grid.rows_at_once) {
    const int rows = end_row - r < grid.rows_at_once ? static_cast<int>(end_row - r) : grid.rows_at_once;
    __syncthreads();  // the rows before have been used
    load_rows<DIM>(grid, tile, k, r, rows, first, columns, 1.0f, keys);
    load_rows<DIM>(grid, tile, v, r, rows, first, columns, 1.0f, values);
    __syncthreads();
    for (int row = 0; row < rows; ++row) {
      const int64_t m = r + row - start_row;
      if (!tile.inside || m < 0 || m >= kernel) continue;
      const int at = (row * columns + static_cast<int>(start_column - first)) * kPitch<DIM>;
      float scores[kMostKernel];
      float most = highest;
#pragma unroll
      for (int n = 0; n < kMostKernel; ++n) {
        if (n < kernel) {
          scores[n] = dot<DIM>(query, keys + (at + n * kPitch<DIM>));
          if (bias) {
            const int64_t line = r + row - tile.y + kernel - 1, entry = start_column + n - tile.x + kernel - 1;
            scores[n] += bias[(tile.head * span + line) * span + entry];
          }
          most = fmaxf(most, scores[n]);
        }
      }
      const float base = most == -INFINITY ? 0.0f : most;  // a bias may exclude all keys so far
      const float decay = exp_or_zero(highest - base);
      highest = most;
      total *= decay;
      for (int d = 0; d < DIM; ++d) sum[d] *= decay;
#pragma unroll
      for (int n = 0; n < kMostKernel; ++n) {
        if (n < kernel) {
          const float p = exp_or_zero(scores[n] - base);
          total += p;
          add_scaled<DIM>(sum, p, values + (at + n * kPitch<DIM>));
        }
      }
    }
  }
  if (!tile.inside) return;
  write_token<DIM, T>(tile.token(grid, out, tile.y, tile.x), sum, grid.dim, 1.0f / total);
  lse[tile.place(grid, tile.y, tile.x)] = highest + logf(total);
}

}  // namespace

void cuda_forward(const Job& job, int device, uintptr_t stream) {
  if (job.batch * job.heads == 0) return;
  const DeviceGuard guard(device);
  with_type_and_dim(job, [&](auto type, auto dim) {
    using T = typename decltype(type)::type;
    const int64_t columns = kTileColumns + job.kernel - 1;
    const Grid grid = grid_of(job, columns, kWords<dim()>);
    const int64_t bytes = grid.rows_at_once * columns * kWords<dim()> * 4;
    launch("neighborhood_attention forward", forward_kernel<T, dim()>, grid_size(grid), dim3(kThreads),
           static_cast<size_t>(bytes), stream, grid, plane<const T>(job, job.q), plane<const T>(job, job.k),
           plane<const T>(job, job.v), bias_of(job), plane<T>(job, job.out),
           global<float>(job.lse, job.batch * job.heads * job.height * job.width));
  });
}

}  // namespace pylatent::neighborhood
