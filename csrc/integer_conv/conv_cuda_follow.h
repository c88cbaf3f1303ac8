// What follows the sums of an integer convolution: the rounding of its definition, and the places of its results.
#pragma once

#include "integer_conv/conv_cuda_tile.h"

namespace pylatent::integers {

// A launch; tiles are counted for the largest phase.
template <int DIGITS>
struct Arguments {
  CudaConv job;
  CudaPhase phases[kMostPhases];
  Global<const Activation<DIGITS>> x, skip;
  Global<const uint32_t> weights;
  Global<const Sum<DIGITS>> bias;
  Global<const int32_t> multiplier, negative;
  Global<Activation<DIGITS>> out;
  Global<uint8_t> pixels;
  Global<float> floats;
  Global<double> doubles;
  int output_tiles, tiles_x, tiles_y;
  int slots, slot_bytes;  // of activations in shared memory
};

template <class T, int N>
struct Several {
  T data[N];
  __device__ T& operator[](int i) { return data[i]; }
};

// kChunk neighbours, 16 bytes at a time.
template <class T, class Pointer>
__device__ inline Several<T, kChunk> load_chunk(Pointer from) {
  constexpr int at_once = 16 / sizeof(T) < kChunk ? 16 / sizeof(T) : kChunk;
  Several<T, kChunk> values;
#pragma unroll
  for (int i = 0; i < kChunk; i += at_once) {
    const Vec<T, at_once> part = load_vec<at_once>(from + i);
#pragma unroll
    for (int j = 0; j < at_once; ++j) values[i + j] = part[j];
  }
  return values;
}

template <class T>
__device__ inline void store_chunk(Global<T> to, Several<int32_t, kChunk>& values) {
  constexpr int at_once = 16 / sizeof(T);
#pragma unroll
  for (int i = 0; i < kChunk; i += at_once) {
    Vec<T, at_once> part;
#pragma unroll
    for (int j = 0; j < at_once; ++j) part[j] = static_cast<T>(values[i + j]);
    store_vec(to + i, part);
  }
}

__device__ inline int bounded(int64_t x, int low, int high) {
  return x < low ? low : x > high ? high : static_cast<int>(x);
}

// The results of kChunk outputs from `unit` on of a pixel of a phase; `staged` holds their sums, in K parts that lie
// `part` apart.
template <int DIGITS, int K>
__device__ inline Several<int64_t, kChunk> rounded(const Arguments<DIGITS>& a, int unit,
                                                   Shared<const Sum<DIGITS>> staged, int part) {
  using Bits = std::make_unsigned_t<Sum<DIGITS>>;
  Several<Sum<DIGITS>, kChunk> sums = load_chunk<Sum<DIGITS>>(a.bias + unit);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    Several<Sum<DIGITS>, kChunk> more = load_chunk<Sum<DIGITS>>(staged + k * part);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      sums[i] = static_cast<Sum<DIGITS>>(static_cast<Bits>(sums[i]) + static_cast<Bits>(more[i]));
    }
  }
  Several<int64_t, kChunk> results;
  if constexpr (DIGITS == 2) {
    Several<int32_t, kChunk> positive = load_chunk<int32_t>(a.multiplier + unit);
    Several<int32_t, kChunk> negative = load_chunk<int32_t>(a.negative + unit);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      const int64_t factor = sums[i] < 0 ? negative[i] : positive[i];
      results[i] = (sums[i] * factor + (int64_t{1} << 31)) >> 32;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      const int64_t scaled = sums[i] * (sums[i] < 0 ? a.job.slope : 1 << 10);
      results[i] = (scaled + (int64_t{1} << 19)) >> 20;
    }
  }
  return results;
}

// Adds the skip, clamps and writes results of the output (y, x) of a phase.
template <int DIGITS>
__device__ inline void write_chunk(const Arguments<DIGITS>& a, const CudaPhase& phase, int64_t image, int y, int x,
                                   int unit, Several<int64_t, kChunk> results) {
  const CudaConv& job = a.job;
  const int row = phase.row + job.step * y, column = phase.column + job.step * x;
  const auto result = static_cast<CudaResult>(job.result);
  Several<int32_t, kChunk> values;
  if (result == CudaResult::activations) {
    const int place = unit / job.out_channels, shuffle = job.shuffle;
    const int64_t at = ((image * job.out_height + row * shuffle + place / shuffle) * job.out_width + column * shuffle +
                        place % shuffle) *
                           job.out_channels +
                       unit % job.out_channels;
    if constexpr (DIGITS == 2) {
      if (a.skip) {
        Several<int16_t, kChunk> skipped = load_chunk<int16_t>(a.skip + at);
#pragma unroll
        for (int i = 0; i < kChunk; ++i) results[i] += skipped[i];
      }
    }
#pragma unroll
    for (int i = 0; i < kChunk; ++i) values[i] = bounded(results[i], job.low, job.high);
    store_chunk(a.out + at, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < kChunk; ++i) {
    const int channel = unit + i;
    if (channel >= job.outputs) continue;
    const int value = bounded(results[i], job.low, job.high);
    if constexpr (DIGITS == 2) {  // colours
      const int line = job.shuffle * 3;
      const int64_t line_start = (image * job.out_height + row * job.shuffle + channel / line) * job.out_width * 3;
      a.pixels[line_start + column * line + channel % line] = static_cast<uint8_t>(value);
    } else {
      const int64_t at = ((image * job.outputs + channel) * job.out_height + row) * job.out_width + column;
      if (result == CudaResult::float32) {
        a.floats[at] = static_cast<float>(value);
      } else {
        a.doubles[at] = static_cast<double>(value);
      }
    }
  }
}

}  // namespace pylatent::integers
