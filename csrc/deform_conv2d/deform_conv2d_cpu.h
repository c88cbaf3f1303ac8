// Deformable convolution on the CPU: everything but the matrix products, for one block of channels and one tile of
// output pixels of one picture. Layouts have channels last, so that a sample of many channels is four contiguous loads.
#pragma once

#include <cstdint>

namespace pylatent::deform_conv2d {

struct Geometry {
  int64_t height, width;  // of the input
  int64_t out_height, out_width;
  int64_t kernel_height, kernel_width;
  int64_t stride_height, stride_width;
  int64_t padding_height, padding_width;
  int64_t dilation_height, dilation_width;
};

// T is float or double. Sizes of arrays in brackets; the outputs of a tile are pixels of the flattened output.
template <class T>
struct Tile {
  Geometry geometry;
  int64_t channels_per_offset_group;
  int64_t first_channel, channels;  // of the block, which may cut offset groups anywhere
  int64_t first_pixel, pixels;      // of the tile
  const T* input;                   // [height * width + 1][channels]; the last row is zero
  const T* offset;                  // [offset groups][taps][2][all outputs]
  const T* mask;                    // [offset groups][taps][all outputs], or null for ones
  T* columns;                       // [pixels][taps][channels]: samples times mask; in backward first their gradients
  // Backward only.
  T* grad_input;   // like input, added to; the last row takes what falls outside the picture. Null if not wanted.
  T* dots;         // [slices][offset groups of the block][taps][pixels][4]: sums over the channels of a slice of
                   // gradient times corner. Null if neither grad_offset nor grad_mask is wanted.
  T* grad_offset;  // like offset, added to
  T* grad_mask;    // like mask, added to; null if there is no mask
};

// to[i][k][j] = from[i][j][k] for i < count, j < rows, k < columns; the last index is contiguous.
template <class T>
struct Transpose {
  int64_t count, rows, columns;
  const T* from;
  int64_t from_stride, from_row;
  T* to;
  int64_t to_stride, to_row;
};

// The work on a range of one tile. Ranges can run on different threads at the same time.
template <class T>
struct Kernels {
  // Fills the columns of outputs [begin, end) of the tile.
  void (*gather)(const Tile<T>&, int64_t begin, int64_t end);
  // For channels [begin, end) of the block: adds to grad_input, fills slice `slice` of dots, and replaces the gradients
  // in columns by the columns.
  void (*scatter)(const Tile<T>&, int64_t slice, int64_t begin, int64_t end);
  // Adds the gradients of offset and mask of outputs [begin, end), from the dots of all slices.
  void (*combine)(const Tile<T>&, int64_t slices, int64_t begin, int64_t end);
  // Columns [begin, end) of `from` with index i.
  void (*transpose)(const Transpose<T>&, int64_t i, int64_t begin, int64_t end);
};

Kernels<float> scalar_kernels(float);
Kernels<double> scalar_kernels(double);
Kernels<float> avx2_kernels(float);
Kernels<double> avx2_kernels(double);
Kernels<float> avx512_kernels(float);
Kernels<double> avx512_kernels(double);

// Offset groups that channels [first, first + channels) touch.
inline int64_t groups_touched(int64_t first, int64_t channels, int64_t per_group) {
  return channels == 0 ? 0 : (first + channels - 1) / per_group - first / per_group + 1;
}

template <class T>
void forward(const Tile<T>& tile, int threads);

template <class T>
void backward(const Tile<T>& tile, int64_t slices, int threads);

template <class T>
void transpose(const Transpose<T>& all, int threads);

}  // namespace pylatent::deform_conv2d
