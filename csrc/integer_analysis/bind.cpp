// Integer analyses for Python: weights as arrays, images and results as addresses; the GIL is released while computing.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/checks.h"
#include "integer_analysis/integer_analysis.h"

namespace py = pybind11;

namespace pylatent::integers {
namespace {

using AnalysisWeight = py::array_t<int16_t, py::array::c_style>;
using AnalysisVector = py::array_t<int32_t, py::array::c_style>;

using AnalysisUnits = py::array_t<float, py::array::c_style>;

// layers: (weight, bias, multiplier, multiplier of negative sums, stride, skip, low, high); those of large tiles have a
// transformed weight (outputs, inputs, 6, 6), and the next three for each exponent.
Analysis make_analysis(const AnalysisUnits& units, int32_t low, int32_t high, int64_t block, const py::list& layers) {
  std::vector<Layer> made;
  for (const py::handle& item : layers) {
    const auto [weight, bias, multiplier, negative, stride, skip, lowest, highest] = item.cast<
        std::tuple<AnalysisWeight, AnalysisVector, AnalysisVector, AnalysisVector, int64_t, bool, int32_t, int32_t>>();
    check_equal("dimensions of weight", weight.ndim(), 4);
    const bool large = weight.shape(2) == kLargeSides;
    const int64_t side = large ? kLargeSides : 3, numbers = weight.shape(0) * (large ? kExponents : 1);
    check_equal("size of a kernel", weight.shape(2), side);
    check_equal("size of a kernel", weight.shape(3), side);
    check_equal("size of bias", bias.size(), numbers);
    check_equal("size of multiplier", multiplier.size(), numbers);
    check_equal("size of multiplier of negative sums", negative.size(), numbers);
    const ConvShape shape{weight.shape(1), weight.shape(0), 3, 3, stride, 1, 0, false};
    const Follow follow{1, skip, lowest, highest, false, made.size() + 1 == layers.size()};
    const Tiles tiles = large ? Tiles::large : stride == 1 ? Tiles::small : Tiles::none;
    made.emplace_back(shape, follow, tiles, weight.data(), bias.data(), multiplier.data(), negative.data());
  }
  return Analysis({{units.data(), units.data() + units.size()}, low, high, block}, std::move(made));
}

}  // namespace

void bind_analysis(py::module_& m) {
  py::class_<Analysis>(m, "IntegerAnalysis")
      .def(py::init(&make_analysis), py::arg("units"), py::arg("low"), py::arg("high"), py::arg("block"),
           py::arg("layers"))
      .def("result_shape",
           [](const Analysis& network, int64_t height, int64_t width, int64_t alignment) {
             const Size size = network.result_size({height, width}, alignment);
             return py::make_tuple(network.outputs(), size.height, size.width);
           })
      .def(
          "run",
          [](const Analysis& network, uintptr_t images, int64_t batch, int64_t height, int64_t width, int64_t alignment,
             uintptr_t scales, uintptr_t results, int threads, int variant) {
            network.run(reinterpret_cast<const float*>(images), batch, {height, width}, alignment,
                        reinterpret_cast<const float*>(scales), reinterpret_cast<float*>(results), threads, variant);
          },
          py::arg("images"), py::arg("batch"), py::arg("height"), py::arg("width"), py::arg("alignment"),
          py::arg("scales"), py::arg("results"), py::arg("threads"), py::arg("variant"),
          py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent::integers

namespace pylatent {
void bind_integer_analysis(py::module_& m) { integers::bind_analysis(m); }
}  // namespace pylatent
