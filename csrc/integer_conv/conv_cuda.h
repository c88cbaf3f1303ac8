// CUDA launchers of integer convolutions: the integers of pylatent/codecs/integer.py and exact.py. Activations are
// channels last, their channels in whole eights; pylatent/codecs/_conv_cuda.py makes the jobs.
#pragma once

#include <cstdint>
#include <vector>

namespace pylatent::integers {

constexpr int kMostPhases = 4;

// Outputs (row + step y, column + step x) of a convolution: taps `first_row` to `first_row` + rows - 1 from (y, x).
struct CudaPhase {
  int row, column, first_row, rows, first_column, columns;
  int height, width;  // in outputs
  int weights;        // where its weights begin, in taps
};

// What the results are: int16 or int32, channels last; bytes of colours beside each other; or planes of floats.
enum class CudaResult : int { activations, pixels, float32, float64 };

struct CudaConv {
  int digits;                        // bytes of an activation: 2 of an int16, or 3 of an int32 within +-2^20
  int batch, height, width, inputs;  // of the activations x, (batch, height, width, inputs)
  int outputs, units;                // of the convolution; and in whole eights, in the order of their places
  int shuffle, step;                 // pixels along a side that an output becomes; between outputs of a phase
  int out_height, out_width;         // of the result
  int out_channels;                  // of the result, in whole eights if they are activations
  int low, high;                     // to which results are clamped
  int slope;                         // over 2^10, of negative sums that have 3 digits
  int result;                        // a CudaResult
  int taps;                          // of all phases
};

// weights: bytes [tap][group of 32 inputs][unit / 8][lane][16], see _conv_cuda.py. bias: `units` int32, or int64 for 3
// digits. multiplier, negative: `units` int32 for 2 digits. skip: like the result, or 0.
struct CudaConvAddresses {
  uintptr_t x, weights, bias, multiplier, negative, skip, out;
};

// 2 digits: (S m + 2^31) >> 32 of sums S modulo 2^32, m being `negative` where S < 0; plus skip. 3 digits: sums have 64
// bits; those below 0 times slope / 2^10, all over 2^10, halves rounded up.
void conv_cuda(const CudaConv& job, const std::vector<CudaPhase>& phases, const CudaConvAddresses& addresses,
               int device, uintptr_t stream);

struct CudaImages {
  int64_t batch, channels, height, width, padded;  // channels of the activations that are made
};

// latents: float (batch, channels, height, width), gains: int32 (batch, channels) -> int16 channels last, as
// IntegerSynthesis defines them. values: double, rounded and clamped to +-2^20 -> int32 channels last.
void read_latents_cuda(const CudaImages& images, uintptr_t latents, uintptr_t gains, int64_t largest, uintptr_t out,
                       int device, uintptr_t stream);
void read_values_cuda(const CudaImages& images, uintptr_t values, uintptr_t out, int device, uintptr_t stream);

}  // namespace pylatent::integers
