// Classes of transformed residuals for Python: tensors as addresses; the GIL is released while computing.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/checks.h"
#include "transform_residual/residual_classes.h"

namespace py = pybind11;

namespace pylatent {
namespace {

using transform_residual::Classes;

// (before, first, last, colour, second)
using StepNumbers = std::tuple<int64_t, int64_t, int64_t, int64_t, bool>;

transform_residual::Step step_of(const StepNumbers& numbers) {
  const auto [before, first, last, colour, second] = numbers;
  check_range("colour", colour, 0, transform_residual::kColours - 1);
  check_range("last", last, 1, transform_residual::kBands);
  check_range("first", first, 0, last - 1);
  check_range("before", before, 0, first);
  return {before, first, last, colour, second};
}

void find_classes(const Classes& classes, uintptr_t sizes, uintptr_t near, uintptr_t far, uintptr_t busy,
                  int64_t height, int64_t width, const StepNumbers& numbers, const std::vector<int32_t>& weights,
                  const std::vector<int64_t>& parents, int threads, uintptr_t to) {
  check_equal("number of parents", static_cast<int64_t>(parents.size()), transform_residual::kBands);
  for (const int64_t parent : parents) check_range("parent", parent, 0, transform_residual::kBands - 1);
  const transform_residual::Known known{reinterpret_cast<const int16_t*>(sizes),
                                        reinterpret_cast<const int16_t*>(near),
                                        reinterpret_cast<const int16_t*>(far),
                                        reinterpret_cast<const int32_t*>(busy),
                                        height,
                                        width};
  classes.find(known, step_of(numbers), weights, parents, threads, reinterpret_cast<uint8_t*>(to));
}

}  // namespace

void bind_transform_residual(py::module_& m) {
  py::class_<Classes>(m, "TransformResidualClasses")
      .def(py::init<std::vector<int32_t>>(), py::arg("levels"))
      .def("find", &find_classes, py::call_guard<py::gil_scoped_release>());
  m.def(
      "transform_residual_put",
      [](uintptr_t values, const StepNumbers& numbers, int64_t height, int64_t width, uintptr_t coded,
         uintptr_t sizes) {
        transform_residual::put(reinterpret_cast<const int32_t*>(values), step_of(numbers), height, width,
                                reinterpret_cast<int16_t*>(coded), reinterpret_cast<int16_t*>(sizes));
      },
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent
