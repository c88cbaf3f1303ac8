// Transformed residuals for Python: tensors as addresses; the GIL is released while computing.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "common/checks.h"
#include "common/cpu.h"
#include "transform_residual/transform_residual.h"

namespace py = pybind11;

namespace pylatent {
namespace {

namespace tr = transform_residual;

// (before, first, last, colour, second)
using StepNumbers = std::tuple<int64_t, int64_t, int64_t, int64_t, bool>;
// Address, and elements from one colour to the next.
using Plane = std::pair<uintptr_t, int64_t>;
using HeightWidth = std::pair<int64_t, int64_t>;

tr::Step step_of(const StepNumbers& numbers) {
  const auto [before, first, last, colour, second] = numbers;
  check_range("colour", colour, 0, tr::kColours - 1);
  check_range("last", last, 1, tr::kBands);
  check_range("first", first, 0, last - 1);
  check_range("before", before, 0, first);
  return {before, first, last, colour, second};
}

tr::Size residual_pixels(HeightWidth size) { return tr::size_of(size.first, size.second); }

tr::Size residual_blocks(HeightWidth size) { return tr::size_of(tr::kSide * size.first, tr::kSide * size.second); }

template <class T>
T* residual_at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

tr::Pixels pixels_at(Plane plane) { return {residual_at<const uint8_t>(plane.first), plane.second}; }

struct TransformResidual {
  tr::Tables tables;
  Simd level;

  tr::Run on(int threads) const { return {level, threads}; }
};

}  // namespace

void bind_transform_residual(py::module_& m) {
  using Self = TransformResidual;
  const py::call_guard<py::gil_scoped_release> released;
  py::class_<Self>(m, "TransformResidual")
      // simd: the highest level to use, 0 to 2.
      .def(py::init(
               [](std::vector<int32_t> levels, std::vector<uint8_t> tables, std::vector<int64_t> parents, int simd) {
                 return Self{{std::move(levels), std::move(tables), std::move(parents)},
                             std::min(simd_level(), static_cast<Simd>(simd))};
               }),
           py::arg("levels"), py::arg("tables"), py::arg("parents"), py::arg("simd") = 2)
      .def(
          "transform",
          [](const Self& self, Plane from, Plane less, HeightWidth size, int threads, uintptr_t coefficients) {
            tr::transform(pixels_at(from), pixels_at(less), residual_pixels(size), self.on(threads),
                          residual_at<int16_t>(coefficients));
          },
          released)
      .def(
          "restore",
          [](const Self& self, uintptr_t values, int32_t step, Plane from, HeightWidth size, int threads, Plane to) {
            tr::restore(residual_at<const int16_t>(values), step, pixels_at(from), residual_pixels(size),
                        self.on(threads), residual_at<uint8_t>(to.first), to.second);
          },
          released)
      .def(
          "know",
          [](const Self& self, uintptr_t coefficients, int32_t step, HeightWidth size, int threads, uintptr_t near,
             uintptr_t far, uintptr_t busy) {
            tr::know(residual_at<const int16_t>(coefficients), step, residual_blocks(size), self.on(threads),
                     {residual_at<int16_t>(near), residual_at<int16_t>(far), residual_at<int32_t>(busy)});
          },
          released)
      .def(
          "find",
          [](const Self& self, uintptr_t sizes, uintptr_t near, uintptr_t far, uintptr_t busy, HeightWidth size,
             const StepNumbers& step, const std::vector<int32_t>& weights, int threads, uintptr_t to) {
            self.tables.find(residual_at<const int16_t>(sizes),
                             {residual_at<int16_t>(near), residual_at<int16_t>(far), residual_at<int32_t>(busy)},
                             step_of(step), weights, residual_blocks(size), self.on(threads), residual_at<uint8_t>(to));
          },
          released)
      .def(
          "put",
          [](const Self&, uintptr_t values, int32_t largest, const StepNumbers& step, HeightWidth size, int threads,
             uintptr_t coded, uintptr_t sizes) {
            return tr::put(residual_at<const int32_t>(values), largest, step_of(step), residual_blocks(size), threads,
                           residual_at<int16_t>(coded), residual_at<int16_t>(sizes));
          },
          released)
      .def(
          "choose",
          [](const Self&, uintptr_t coefficients, int32_t quantum, uintptr_t tables, uintptr_t saved,
             std::pair<int64_t, int32_t> prices, const StepNumbers& step, HeightWidth size, int threads,
             uintptr_t values, uintptr_t coded, uintptr_t sizes) {
            tr::choose(residual_at<const int16_t>(coefficients), quantum, residual_at<const uint8_t>(tables),
                       {residual_at<const double>(saved), prices.first, prices.second}, step_of(step),
                       residual_blocks(size), threads, residual_at<int16_t>(values), residual_at<int16_t>(coded),
                       residual_at<int16_t>(sizes));
          },
          released);
}

}  // namespace pylatent
