// The CPU kernels of the deformable convolution for Python: addresses of contiguous arrays and sizes in.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <limits>

#include "common/checks.h"
#include "common/dtype.h"
#include "deform_conv2d/deform_conv2d_cpu.h"

namespace py = pybind11;

namespace pylatent {
namespace {

using deform_conv2d::Tile;

// height, width, out height, out width, kernel, stride, padding and dilation, each height and width
using Sizes = std::array<int64_t, 12>;
// channels per offset group, first channel and channels of the block, first output and outputs of the tile
using Part = std::array<int64_t, 5>;

template <class T>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
Tile<T> make_tile(const Sizes& s, const Part& part, uintptr_t input, uintptr_t offset, uintptr_t mask,
                  uintptr_t columns) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (int64_t size : s) check_range("sizes", size, 0, kMost);
  for (int i = 2; i < 8; ++i) check_range("output, kernel and stride", s[i], 1, kMost);
  check_range("height * width", s[0] * s[1], 0, kMost - 1);
  check_range("channels per offset group", part[0], 1, kMost);
  check_range("first channel", part[1], 0, kMost);
  check_range("channels", part[2], 1, kMost);
  check_range("first output", part[3], 0, s[2] * s[3]);
  check_range("outputs", part[4], 1, s[2] * s[3] - part[3]);
  Tile<T> tile{};
  tile.geometry = {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11]};
  tile.channels_per_offset_group = part[0];
  tile.first_channel = part[1];
  tile.channels = part[2];
  tile.first_pixel = part[3];
  tile.pixels = part[4];
  tile.input = pointer<const T>(input);
  tile.offset = pointer<const T>(offset);
  tile.mask = pointer<const T>(mask);
  tile.columns = pointer<T>(columns);
  return tile;
}

template <class Fn>
void dispatch(const char* function, int dtype, Fn&& fn) {
  switch (to_dtype(dtype)) {
    case Dtype::float32:
      return fn(Type<float>{});
    case Dtype::float64:
      return fn(Type<double>{});
    default:
      unsupported_dtype(function, to_dtype(dtype));
  }
}

void deform_conv2d_forward(int dtype, const Sizes& sizes, const Part& part, uintptr_t input, uintptr_t offset,
                           uintptr_t mask, uintptr_t columns, int threads) {
  dispatch("deform_conv2d_forward", dtype, [&](auto type) {
    const auto tile = make_tile<typename decltype(type)::type>(sizes, part, input, offset, mask, columns);
    py::gil_scoped_release release;
    deform_conv2d::forward(tile, threads);
  });
}

void deform_conv2d_backward(int dtype, const Sizes& sizes, const Part& part, uintptr_t input, uintptr_t offset,
                            uintptr_t mask, uintptr_t columns, uintptr_t grad_input, uintptr_t dots,
                            uintptr_t grad_offset, uintptr_t grad_mask, int64_t slices, int threads) {
  dispatch("deform_conv2d_backward", dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    auto tile = make_tile<T>(sizes, part, input, offset, mask, columns);
    tile.grad_input = pointer<T>(grad_input);
    tile.dots = pointer<T>(dots);
    tile.grad_offset = pointer<T>(grad_offset);
    tile.grad_mask = pointer<T>(grad_mask);
    py::gil_scoped_release release;
    deform_conv2d::backward(tile, slices, threads);
  });
}

// sizes: count, rows, columns; strides of the first two indices
void deform_conv2d_transpose(int dtype, const std::array<int64_t, 3>& sizes, uintptr_t from,
                             const std::array<int64_t, 2>& from_strides, uintptr_t to,
                             const std::array<int64_t, 2>& to_strides, int threads) {
  dispatch("deform_conv2d_transpose", dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const deform_conv2d::Transpose<T> all{sizes[0],        sizes[1],        sizes[2],       pointer<const T>(from),
                                          from_strides[0], from_strides[1], pointer<T>(to), to_strides[0],
                                          to_strides[1]};
    py::gil_scoped_release release;
    deform_conv2d::transpose(all, threads);
  });
}

}  // namespace

void bind_deform_conv2d(py::module_& m) {
  m.def("deform_conv2d_forward", &deform_conv2d_forward,
        "fills the columns of a tile of outputs for a block of channels");
  m.def("deform_conv2d_backward", &deform_conv2d_backward,
        "replaces the gradients of the columns of a tile by the columns, and adds the gradients that follow from them");
  m.def("deform_conv2d_transpose", &deform_conv2d_transpose, "to[i][k][j] = from[i][j][k]");
}

}  // namespace pylatent
