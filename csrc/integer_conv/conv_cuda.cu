// Integer convolutions on CUDA: a block has the inputs of a tile of pixels in shared memory, a group of 32 channels
// after the other, each with its border for all taps, and the weights of one tap after the other. Reads each input once
// a tile of outputs, and each weight once a tile of pixels, all but the first time from the L2 cache. Sums are
// exchanged through shared memory once a block, where banks conflict for results that are planes.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "integer_conv/conv_cuda_follow.h"

namespace pylatent::integers {
namespace {

constexpr int kInverseBits = 16;

// The steps of a block: all taps of K groups of inputs, then of the next K.
struct Step {
  int round = 0, row = 0, column = 0;

  __device__ bool first() const { return row == 0 && column == 0; }
  __device__ void next(const CudaPhase& phase) {
    if (++column < phase.columns) return;
    column = 0;
    if (++row < phase.rows) return;
    row = 0;
    ++round;
  }
};

template <int DIGITS, class Tile>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) conv_kernel(Arguments<DIGITS> a) {
  using Input = Activation<DIGITS>;
  using Place = Group<DIGITS>;
  constexpr int K = Tile::K;
  const CudaConv& job = a.job;
  const CudaPhase phase = a.phases[blockIdx.y];
  int64_t block = blockIdx.x;
  const int unit0 = static_cast<int>(block % a.output_tiles) * Tile::N;
  block /= a.output_tiles;
  const int x0 = static_cast<int>(block % a.tiles_x) * Tile::columns;
  block /= a.tiles_x;
  const int y0 = static_cast<int>(block % a.tiles_y) * Tile::rows;
  const int64_t image = block / a.tiles_y;
  if (y0 >= phase.height || x0 >= phase.width) return;

  const int taps = phase.rows * phase.columns;
  const int width = Tile::columns + phase.columns - 1;  // of the tile and its border
  const int pixels = width * (Tile::rows + phase.rows - 1);
  const int groups = (job.inputs + kDepth - 1) / kDepth, rounds = (groups + K - 1) / K;
  const int steps = rounds * taps;
  const int weights_byte = a.slots * a.slot_bytes;
  const int group_bytes = a.slot_bytes / K;
  const int inverse =
      (1 << kInverseBits) / width + 1;  // of a width up to 2^5, exact for quotients of pixels up to 2^11
  const Global<const Input> picture = a.x + image * job.height * job.width * job.inputs;

  const auto load_inputs = [&](int round) {
    const int slot = round % a.slots * a.slot_bytes;
    for (int i = static_cast<int>(threadIdx.x); i < pixels * Place::pieces; i += Tile::threads) {
      const int piece = i % Place::pieces, pixel = i / Place::pieces, row = pixel * inverse >> kInverseBits;
      const int y = y0 + phase.first_row + row, x = x0 + phase.first_column + pixel - row * width;
      const bool in_picture = y >= 0 && y < job.height && x >= 0 && x < job.width;
      const int to = slot + 16 * Place::place(pixel, piece);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int channel = (round * K + k) * kDepth + piece * Place::elements;
        const bool inside = in_picture && channel < job.inputs;
        const int64_t from = (int64_t{y} * job.width + x) * job.inputs + channel;
        cp_async<16>(dynamic_shared<Input>(to + k * group_bytes), picture + (inside ? from : 0), inside);
      }
    }
  };
  const auto load_weights = [&](const Step& step, int number) {
    const int units = job.units / kChunk, tap = phase.weights + step.row * phase.columns + step.column;
    const Shared<uint32_t> to = dynamic_shared<uint32_t>(weights_byte) + number % Tile::stages * Tile::stage_words;
    for (int i = static_cast<int>(threadIdx.x); i < Tile::stage_words / 4; i += Tile::threads) {
      const int word = 4 * i % kUnitWords, place = 4 * i / kUnitWords;
      const int k = place / (Tile::N / kChunk), group = step.round * K + k;
      const int unit = unit0 / kChunk + place % (Tile::N / kChunk);
      const bool inside = group < groups && unit < units;
      const int64_t from = (int64_t{tap * groups + group} * units + unit) * kUnitWords + word;
      cp_async<16>(to + 4 * i, a.weights + (inside ? from : 0), inside);
    }
  };
  Step ahead;
  int loaded = 0;
  const auto load = [&]() {  // what the next step to be loaded needs
    if (loaded < steps) {
      if (ahead.first()) load_inputs(ahead.round);
      load_weights(ahead, loaded++);
      ahead.next(phase);
    }
    cp_async_commit();
  };

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp % Tile::warps_m * Tile::warp_m, warp_n = warp / Tile::warps_m % Tile::warps_n * Tile::warp_n;
  const int warp_k = warp / (Tile::warps_m * Tile::warps_n);
  int32_t sums[Tile::mma_m][Tile::mma_n][DIGITS + 1][4] = {};
  int at[Tile::mma_m][DIGITS - 1];  // this lane's pixels with the first tap, see load_digits
#pragma unroll
  for (int i = 0; i < Tile::mma_m; ++i) {
#pragma unroll
    for (int part = 0; part < DIGITS - 1; ++part) {
      const int m = warp_m + 16 * i + (DIGITS == 2 ? lane % 16 : 8 * part + lane % 8);
      at[i][part] = m / Tile::columns * width + m % Tile::columns;
    }
  }
#pragma unroll
  for (int stage = 0; stage < Tile::stages - 1; ++stage) load();
  Step step;
  for (int number = 0; number < steps; ++number) {
    cp_async_wait<Tile::stages - 2>();
    __syncthreads();  // this step has arrived, and the one before has been used by all
    load();
    const Shared<const uint16_t> inputs =
        dynamic_shared<const uint16_t>(step.round % a.slots * a.slot_bytes + warp_k * group_bytes);
    uint32_t digits[Tile::mma_m][DIGITS][4];
#pragma unroll
    for (int i = 0; i < Tile::mma_m; ++i) {
      int pixel[DIGITS - 1];
#pragma unroll
      for (int part = 0; part < DIGITS - 1; ++part) pixel[part] = at[i][part] + step.row * width + step.column;
      load_digits<DIGITS>(digits[i], inputs, pixel);
    }
    const Shared<const uint32_t> weights =
        dynamic_shared<const uint32_t>(weights_byte) + number % Tile::stages * Tile::stage_words;
#pragma unroll
    for (int j = 0; j < Tile::mma_n; ++j) {
      const int place = (warp_k * Tile::N + warp_n) / kChunk + j;
      const Vec<uint32_t, 4> w = load_vec<4>(weights + place * kUnitWords + 4 * lane);
#pragma unroll
      for (int i = 0; i < Tile::mma_m; ++i) multiply_digits<DIGITS>(sums[i][j], digits[i], w);
    }
    step.next(phase);
  }
  cp_async_wait<0>();
  __syncthreads();  // sums take the place of what was multiplied

  const Shared<Sum<DIGITS>> staged = dynamic_shared<Sum<DIGITS>>(0);
#pragma unroll
  for (int i = 0; i < Tile::mma_m; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::mma_n; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int m = warp_m + 16 * i + 8 * half + lane / 4, n = warp_n + kChunk * j + 2 * (lane % 4);
        const Vec<Sum<DIGITS>, 2> two = {
            {put_together<DIGITS>(sums[i][j], 2 * half), put_together<DIGITS>(sums[i][j], 2 * half + 1)}};
        store_vec(staged + ((warp_k * Tile::M + m) * Tile::pitch + n), two);
      }
    }
  }
  __syncthreads();
  constexpr int chunks = Tile::N / kChunk;
  const bool planes =
      DIGITS == 3 && job.result != static_cast<int>(CudaResult::activations);  // neighbours of a line lie together
#pragma unroll 1  // results are few, and their code is long
  for (int i = static_cast<int>(threadIdx.x); i < Tile::M * chunks; i += Tile::threads) {
    const int m = planes ? i % Tile::M : i / chunks, n = (planes ? i / Tile::M : i % chunks) * kChunk;
    const int y = y0 + m / Tile::columns, x = x0 + m % Tile::columns;
    if (unit0 + n >= job.units || y >= phase.height || x >= phase.width) continue;
    const auto results = rounded<DIGITS, K>(a, unit0 + n, staged + (m * Tile::pitch + n), Tile::M * Tile::pitch);
    write_chunk(a, phase, image, y, x, unit0 + n, results);
  }
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Extent {
  int64_t height = 0, width = 0, taps = INT64_MAX, rows = 1, columns = 1;  // of phases: the most, but the fewest taps
};

Extent extent_of(const std::vector<CudaPhase>& phases) {
  Extent extent;
  for (const CudaPhase& phase : phases) {
    extent.height = std::max<int64_t>(extent.height, phase.height),
    extent.width = std::max<int64_t>(extent.width, phase.width);
    extent.rows = std::max<int64_t>(extent.rows, phase.rows),
    extent.columns = std::max<int64_t>(extent.columns, phase.columns);
    extent.taps = std::min(extent.taps, std::max<int64_t>(1, phase.rows * phase.columns));
  }
  return extent;
}

template <class Tile>
int64_t tiles_of(const CudaConv& job, const Extent& extent) {
  return job.batch * divide_up(extent.height, Tile::rows) * divide_up(extent.width, Tile::columns) *
         divide_up(job.units, Tile::N);
}

// Of the busiest multiprocessor, in products; those of small tiles take half as long again, to load what they multiply.
template <class Tile>
int64_t cost(const CudaConv& job, const Extent& extent, int64_t phases, int64_t multiprocessors) {
  const int64_t at_once = multiprocessors * Tile::blocks;
  return divide_up(phases * tiles_of<Tile>(job, extent), at_once) * Tile::blocks * Tile::M * Tile::N;
}

template <int DIGITS, class Tile>
void run(Arguments<DIGITS> a, const Extent& extent, unsigned phases, uintptr_t stream) {
  a.output_tiles = static_cast<int>(divide_up(a.job.units, Tile::N));
  a.tiles_x = static_cast<int>(divide_up(extent.width, Tile::columns));
  a.tiles_y = static_cast<int>(divide_up(extent.height, Tile::rows));
  const int64_t pixels = (Tile::rows + extent.rows - 1) * (Tile::columns + extent.columns - 1);
  // Steps are loaded Tile::stages - 1 before they are used: their rounds, and that of the step in use.
  a.slots = static_cast<int>(divide_up(Tile::stages - 1, extent.taps)) + 1;
  a.slot_bytes = static_cast<int>(Tile::K * pixels * Group<DIGITS>::pieces * 16);
  const int64_t products = int64_t{a.slots} * a.slot_bytes + Tile::stages * Tile::stage_words * 4;
  const int64_t sums = int64_t{Tile::K} * Tile::M * Tile::pitch * static_cast<int64_t>(sizeof(Sum<DIGITS>));
  const int64_t blocks = tiles_of<Tile>(a.job, extent);
  if (blocks > INT32_MAX) throw std::invalid_argument("an integer convolution of more than 2^31 tiles in one call");
  launch("integer_conv", conv_kernel<DIGITS, Tile>, dim3(static_cast<unsigned>(blocks), phases), dim3(Tile::threads),
         static_cast<size_t>(std::max(products, sums)), stream, a);
}

template <int DIGITS>
void run(const CudaConv& job, const std::vector<CudaPhase>& phases, const CudaConvAddresses& addresses, int device,
         uintptr_t stream) {
  const DeviceGuard guard(device);
  const Extent extent = extent_of(phases);
  const auto result = static_cast<CudaResult>(job.result);
  const int64_t pixels = int64_t{job.batch} * job.out_height * job.out_width;
  const int64_t planes = pixels * job.outputs, activations = pixels * job.out_channels;
  const auto out_if = [&](CudaResult kind, int64_t count) { return result == kind ? count : 0; };
  Arguments<DIGITS> a{};
  a.job = job;
  std::copy(phases.begin(), phases.end(), a.phases);
  a.x = global<const Activation<DIGITS>>(addresses.x, int64_t{job.batch} * job.height * job.width * job.inputs);
  a.skip = global<const Activation<DIGITS>>(addresses.skip, addresses.skip == 0 ? 0 : activations);
  a.weights = global<const uint32_t>(addresses.weights,
                                     job.taps * divide_up(job.inputs, kDepth) * (job.units / kChunk) * kUnitWords);
  a.bias = global<const Sum<DIGITS>>(addresses.bias, job.units);
  a.multiplier = global<const int32_t>(addresses.multiplier, addresses.multiplier == 0 ? 0 : job.units);
  a.negative = global<const int32_t>(addresses.negative, addresses.negative == 0 ? 0 : job.units);
  a.out = global<Activation<DIGITS>>(addresses.out, out_if(CudaResult::activations, activations));
  a.pixels = global<uint8_t>(addresses.out, out_if(CudaResult::pixels, 3 * pixels));
  a.floats = global<float>(addresses.out, out_if(CudaResult::float32, planes));
  a.doubles = global<double>(addresses.out, out_if(CudaResult::float64, planes));
  const int64_t count = static_cast<int64_t>(phases.size()), multiprocessors = multiprocessor_count(device);
  if (2 * cost<Large<DIGITS>>(job, extent, count, multiprocessors) <=
      3 * cost<Small>(job, extent, count, multiprocessors)) {
    run<DIGITS, Large<DIGITS>>(a, extent, static_cast<unsigned>(phases.size()), stream);
  } else {
    run<DIGITS, Small>(a, extent, static_cast<unsigned>(phases.size()), stream);
  }
}

}  // namespace

void conv_cuda(const CudaConv& job, const std::vector<CudaPhase>& phases, const CudaConvAddresses& addresses,
               int device, uintptr_t stream) {
  if (phases.empty() || phases.size() > kMostPhases) {
    throw std::invalid_argument("an integer convolution on CUDA has 1 to 4 phases, got " +
                                std::to_string(phases.size()));
  }
  if (job.batch == 0 || job.out_height == 0 || job.out_width == 0) return;
  if (job.digits == 2) return run<2>(job, phases, addresses, device, stream);
  if (job.digits == 3) return run<3>(job, phases, addresses, device, stream);
  throw std::invalid_argument("activations have 2 or 3 bytes, got " + std::to_string(job.digits));
}

}  // namespace pylatent::integers
