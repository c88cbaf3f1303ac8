// Integer syntheses for Python: weights as arrays, latents and pixels as addresses; the GIL is released while
// computing.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/checks.h"
#include "integer_synthesis/integer_synthesis.h"

namespace py = pybind11;

namespace pylatent::integers {
namespace {

using Int16 = py::array_t<int16_t, py::array::c_style>;
using Int32 = py::array_t<int32_t, py::array::c_style>;

// layers: (weight, bias, multiplier, multiplier of negative sums, skip, low, high, shuffle)
Synthesis make(int32_t largest, const py::list& layers) {
  std::vector<Layer> made;
  for (const py::handle& item : layers) {
    const auto [weight, bias, multiplier, negative, skip, low, high, shuffle] =
        item.cast<std::tuple<Int16, Int32, Int32, Int32, bool, int32_t, int32_t, int64_t>>();
    check_equal("dimensions of weight", weight.ndim(), 4);
    const int64_t kernel = weight.shape(2);
    if (kernel != 1) check_equal("size of a kernel", kernel, 3);
    check_equal("width of a kernel", weight.shape(3), kernel);
    check_equal("size of bias", bias.size(), weight.shape(0));
    check_equal("size of multiplier", multiplier.size(), weight.shape(0));
    check_equal("size of multiplier of negative sums", negative.size(), weight.shape(0));
    const ConvShape shape{weight.shape(1), weight.shape(0), kernel, kernel, 1, kernel / 2, 0, false};
    const Follow follow{shuffle, skip, low, high, made.size() + 1 == layers.size(), false};
    made.emplace_back(shape, follow, kernel == 3 ? Tiles::small : Tiles::none, weight.data(), bias.data(),
                      multiplier.data(), negative.data());
  }
  return Synthesis(largest, std::move(made));
}

}  // namespace

void bind(py::module_& m) {
  py::class_<Synthesis>(m, "IntegerSynthesis")
      .def(py::init(&make), py::arg("largest"), py::arg("layers"))
      .def(
          "run",
          [](const Synthesis& network, uintptr_t latents, int64_t batch, int64_t channels, int64_t height,
             int64_t width, uintptr_t gains, uintptr_t pixels, int threads, int variant) {
            check_equal("channels", channels, network.inputs());
            network.run(reinterpret_cast<const float*>(latents), batch, {height, width},
                        reinterpret_cast<const int32_t*>(gains), reinterpret_cast<uint8_t*>(pixels), threads, variant);
          },
          py::arg("latents"), py::arg("batch"), py::arg("channels"), py::arg("height"), py::arg("width"),
          py::arg("gains"), py::arg("pixels"), py::arg("threads"), py::arg("variant"),
          py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent::integers

namespace pylatent {
void bind_integer_synthesis(py::module_& m) { integers::bind(m); }
}  // namespace pylatent
