// neighborhood_attention on CUDA, backward. Probabilities p = exp(score - lse) are computed again, twice.
//
// A thread of the first kernel is a query: with g = grad v for each of its keys and delta = sum of p g,
// grad_q = scale (sum of p g k - delta sum of p k). A thread of the second is a key, which meets the queries whose
// windows have it: with grad_score = p (g - delta), grad_v = sum of p grad, grad_k = sum of grad_score scale q. There,
// the key rows of a tile are half warps, whose offsets to a query row and slot are one entry of the bias: each sums its
// own gradients of the bias, and the third kernel sums those of all blocks. All orders are fixed.
#include "neighborhood_attention/neighborhood_attention_cuda_tile.h"

namespace pylatent::neighborhood {
namespace {

template <int DIM>
constexpr int kWords = 2 * kPitch<DIM>;  // a key and its value; or a query and its gradient

template <class T, int DIM>
__global__ void __launch_bounds__(kThreads)
    queries_kernel(Grid grid, Plane<const T> q, Plane<const T> k, Plane<const T> v, Global<const float> bias,
                   Plane<const T> grad, Global<const float> lse, Global<float> delta, Plane<T> grad_q) {
  const Tile tile(grid);
  if (tile.empty()) return;
  const int kernel = static_cast<int>(grid.kernel), span = 2 * kernel - 1;
  const int64_t first = tile.columns.start(tile.x0), first_row = tile.rows.start(tile.y0);
  const int columns = static_cast<int>(tile.columns.start(tile.last_column()) + kernel - first);
  const int64_t end_row = tile.rows.start(tile.last_row()) + kernel;
  const Shared<float> keys = dynamic_shared<float>(0);
  const Shared<float> values = keys + grid.rows_at_once * columns * kPitch<DIM>;

  float query[DIM], gradient[DIM], sum[DIM], plain[DIM];
  float log_sum = 0.0f, products = 0.0f;
  for (int d = 0; d < DIM; ++d) query[d] = gradient[d] = sum[d] = plain[d] = 0.0f;
  int64_t start_row = 0, start_column = 0;
  if (tile.inside) {
    read_token<DIM, T>(query, tile.token(grid, q, tile.y, tile.x), grid.dim, grid.scale);
    read_token<DIM, T>(gradient, tile.token(grid, grad, tile.y, tile.x), grid.dim, 1.0f);
    log_sum = lse[tile.place(grid, tile.y, tile.x)];
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
      int at = (row * columns + static_cast<int>(start_column - first)) * kPitch<DIM>;
      for (int n = 0; n < kernel; ++n, at += kPitch<DIM>) {
        float score = dot<DIM>(query, keys + at);
        if (bias) {
          const int64_t line = r + row - tile.y + kernel - 1, entry = start_column + n - tile.x + kernel - 1;
          score += bias[(tile.head * span + line) * span + entry];
        }
        const float p = exp_or_zero(score - log_sum), product = p * dot<DIM>(gradient, values + at);
        products += product;
        add_scaled<DIM>(sum, product, keys + at);
        add_scaled<DIM>(plain, p, keys + at);
      }
    }
  }
  if (!tile.inside) return;
  for (int d = 0; d < DIM; ++d) sum[d] -= products * plain[d];
  write_token<DIM, T>(tile.token(grid, grad_q, tile.y, tile.x), sum, grid.dim, grid.scale);
  delta[tile.place(grid, tile.y, tile.x)] = products;
}

template <class T, int DIM>
__global__ void __launch_bounds__(kThreads)
    keys_kernel(Grid grid, Plane<const T> q, Plane<const T> k, Plane<const T> v, Global<const float> bias,
                Plane<const T> grad, Global<const float> lse, Global<const float> delta, Plane<T> grad_k,
                Plane<T> grad_v, Global<float> sums) {
  const Tile tile(grid);
  const int kernel = static_cast<int>(grid.kernel), span = 2 * kernel - 1;
  const Shared<float> of_bias = dynamic_shared<float>(0);  // [tile row][span][span]
  const int entries = sums ? span * span : 0;
  if (tile.empty()) {
    for (int i = static_cast<int>(threadIdx.x); i < entries; i += kThreads)
      sums[blockIdx.x * int64_t{entries} + i] = 0.0f;
    return;
  }
  const int64_t first = tile.columns.first_query(tile.x0), first_row = tile.rows.first_query(tile.y0);
  const int columns = static_cast<int>(tile.columns.last_query(tile.last_column()) + 1 - first);
  const int64_t end_row = tile.rows.last_query(tile.last_row()) + 1;
  const Shared<float> queries = of_bias + (kTileRows * entries + 3) / 4 * 4;
  const Shared<float> gradients = queries + grid.rows_at_once * columns * kPitch<DIM>;
  const int line = static_cast<int>(threadIdx.x) / kTileColumns, lane = static_cast<int>(threadIdx.x) % kTileColumns;
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * entries; i += kThreads) of_bias[i] = 0.0f;

  float key[DIM], value[DIM], sum_k[DIM], sum_v[DIM];
  for (int d = 0; d < DIM; ++d) key[d] = value[d] = sum_k[d] = sum_v[d] = 0.0f;
  int64_t row_begin = 0, row_end = 0, column_begin = 0, column_end = 0;  // of the queries that see this key
  if (tile.inside) {
    read_token<DIM, T>(key, tile.token(grid, k, tile.y, tile.x), grid.dim, 1.0f);
    read_token<DIM, T>(value, tile.token(grid, v, tile.y, tile.x), grid.dim, 1.0f);
    row_begin = tile.rows.first_query(tile.y), row_end = tile.rows.last_query(tile.y) + 1;
    column_begin = tile.columns.first_query(tile.x), column_end = tile.columns.last_query(tile.x) + 1;
  }

  for (int64_t r = first_row; r < end_row; r += grid.rows_at_once) {
    const int rows = end_row - r < grid.rows_at_once ? static_cast<int>(end_row - r) : grid.rows_at_once;
    __syncthreads();  // the rows before have been used; the sums of the bias are zero
    load_rows<DIM>(grid, tile, q, r, rows, first, columns, grid.scale, queries);
    load_rows<DIM>(grid, tile, grad, r, rows, first, columns, 1.0f, gradients);
    __syncthreads();
    for (int row = 0; row < rows; ++row) {
      const int64_t y = r + row;
      const bool seen = y >= row_begin && y < row_end;
      for (int slot = 0; slot < span; ++slot) {
        const int64_t x = tile.x + slot - (kernel - 1);
        const bool meets = seen && x >= column_begin && x < column_end;
        if (!__any_sync(0xffffffffu, meets)) continue;
        // From the query to this key, in rows and columns; every lane of a half warp has the same, and where one
        // meets its query, the offset lies in the bias.
        const int64_t entry = (tile.y - y + kernel - 1) * span + span - 1 - slot;
        float grad_score = 0.0f;
        if (meets) {
          const int at = (row * columns + static_cast<int>(x - first)) * kPitch<DIM>;
          float score = dot<DIM>(key, queries + at);
          if (bias) score += bias[tile.head * span * span + entry];
          const int64_t query = tile.place(grid, y, x);
          const float log_sum = lse[query], mean = delta[query];
          const float p = exp_or_zero(score - log_sum);
          grad_score = p * (dot<DIM>(value, gradients + at) - mean);
          add_scaled<DIM>(sum_v, p, gradients + at);
          add_scaled<DIM>(sum_k, grad_score, queries + at);
        }
        if (!sums) continue;
        for (int step = kTileColumns / 2; step > 0; step /= 2) {
          grad_score += __shfl_xor_sync(0xffffffffu, grad_score, step);
        }
        const bool any = tile.y - y > -kernel && tile.y - y < kernel;
        if (lane == 0 && any) of_bias[line * entries + static_cast<int>(entry)] += grad_score;
      }
    }
  }
  if (tile.inside) {
    write_token<DIM, T>(tile.token(grid, grad_k, tile.y, tile.x), sum_k, grid.dim, 1.0f);
    write_token<DIM, T>(tile.token(grid, grad_v, tile.y, tile.x), sum_v, grid.dim, 1.0f);
  }
  if (!sums) return;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < entries; i += kThreads) {
    float sum = 0.0f;
    for (int row = 0; row < kTileRows; ++row) sum += of_bias[row * entries + i];
    sums[blockIdx.x * int64_t{entries} + i] = sum;
  }
}

// A block sums the gradients of one head: those of block b are of head b % heads.
__global__ void __launch_bounds__(kThreads)
    bias_kernel(Global<const float> sums, Global<float> grad_bias, int64_t blocks, int64_t heads, int entries) {
  const int64_t head = blockIdx.x;
  const int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (i >= entries) return;
  float sum = 0.0f;
  for (int64_t b = head; b < blocks; b += heads) sum += sums[b * entries + i];
  grad_bias[head * entries + i] = sum;
}

}  // namespace

int64_t cuda_blocks(const Job& job) { return blocks_of(grid_of(job, kTileColumns, 1)); }

void cuda_backward(const Job& job, uintptr_t delta, uintptr_t sums, int device, uintptr_t stream) {
  if (job.heads == 0) return;
  const DeviceGuard guard(device);
  const int64_t span = 2 * job.kernel - 1, entries = job.grad_bias == 0 ? 0 : span * span;
  const int64_t places = job.batch * job.heads * job.height * job.width, blocks = cuda_blocks(job);
  const auto passes = [&](auto type, auto dim) {
    using T = typename decltype(type)::type;
    const auto input = [&](const Tokens& tokens) { return plane<const T>(job, tokens); };
    int64_t columns = kTileColumns + job.kernel - 1;
    Grid grid = grid_of(job, columns, kWords<dim()>);
    launch("neighborhood_attention backward, queries", queries_kernel<T, dim()>, grid_size(grid), dim3(kThreads),
           static_cast<size_t>(grid.rows_at_once * columns * kWords<dim()> * 4), stream, grid, input(job.q),
           input(job.k), input(job.v), bias_of(job), input(job.out), global<const float>(job.lse, places),
           global<float>(delta, places), plane<T>(job, job.grad_q));
    columns = kTileColumns + 2 * (job.kernel - 1);
    grid = grid_of(job, columns, kWords<dim()>);
    const int64_t of_bias = (kTileRows * entries + 3) / 4 * 4;
    launch("neighborhood_attention backward, keys", keys_kernel<T, dim()>, grid_size(grid), dim3(kThreads),
           static_cast<size_t>((of_bias + grid.rows_at_once * columns * kWords<dim()>)*4), stream, grid, input(job.q),
           input(job.k), input(job.v), bias_of(job), input(job.out), global<const float>(job.lse, places),
           global<const float>(delta, places), plane<T>(job, job.grad_k), plane<T>(job, job.grad_v),
           global<float>(entries == 0 ? 0 : sums, blocks * entries));
  };
  if (job.batch > 0) with_type_and_dim(job, passes);
  if (entries == 0) return;
  launch("neighborhood_attention backward, bias", bias_kernel,
         dim3(static_cast<unsigned>(job.heads), static_cast<unsigned>((entries + kThreads - 1) / kThreads)),
         dim3(kThreads), 0, stream, global<const float>(sums, blocks * entries),
         global<float>(job.grad_bias, job.heads * entries), blocks, job.heads, static_cast<int>(entries));
}

}  // namespace pylatent::neighborhood
