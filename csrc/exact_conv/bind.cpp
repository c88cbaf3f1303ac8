// Exact networks for Python: weights as arrays, activations as addresses; the GIL is released while computing.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/checks.h"
#include "exact_conv/exact_bind.h"

namespace py = pybind11;

namespace pylatent::exact {
namespace {

using Int32 = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Int64 = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

LayerWeights make_layer(const Int32& weight, const Int64& bias, int64_t stride, int64_t padding, int64_t output_padding,
                        bool transposed, int32_t slope) {
  check_equal("dimensions of weight", weight.ndim(), 4);
  const int inputs = transposed ? 0 : 1;
  const ConvShape shape{weight.shape(inputs),
                        weight.shape(1 - inputs),
                        weight.shape(2),
                        weight.shape(3),
                        stride,
                        padding,
                        output_padding,
                        transposed};
  check_equal("size of bias", bias.size(), shape.outputs);
  return {shape, {weight.data(), weight.data() + weight.size()}, {bias.data(), bias.data() + bias.size()}, slope};
}

bool run(const Network& network, uintptr_t values, int64_t batch, int64_t channels, int64_t height, int64_t width,
         int64_t rows, int64_t columns, uintptr_t out, int dtype, int threads, int variant) {
  return network.run(reinterpret_cast<const double*>(values), {batch, channels, {height, width}}, {rows, columns},
                     reinterpret_cast<void*>(out), to_dtype(dtype), threads, variant);
}

}  // namespace

std::vector<LayerWeights> make_layers(const py::list& layers) {
  std::vector<LayerWeights> made;
  for (const py::handle& item : layers) {
    const auto [weight, bias, stride, padding, output_padding, transposed, slope] =
        item.cast<std::tuple<Int32, Int64, int64_t, int64_t, int64_t, bool, int32_t>>();
    made.push_back(make_layer(weight, bias, stride, padding, output_padding, transposed, slope));
  }
  return made;
}

void bind(py::module_& m) {
  py::class_<Network>(m, "ExactNetwork")
      .def(py::init([](const py::list& layers) { return Network(make_layers(layers)); }), py::arg("layers"))
      .def("output_shape",
           [](const Network& network, int64_t height, int64_t width) {
             const Size size = network.output_size({height, width});
             return py::make_tuple(network.outputs(), size.height, size.width);
           })
      .def("run", &run, py::arg("values"), py::arg("batch"), py::arg("channels"), py::arg("height"), py::arg("width"),
           py::arg("rows"), py::arg("columns"), py::arg("out"), py::arg("dtype"), py::arg("threads"),
           py::arg("variant"), py::call_guard<py::gil_scoped_release>());
  m.def(
      "table_indexes",
      [](uintptr_t values, int64_t count, const Int32& thresholds, uintptr_t indexes, int threads) {
        const int32_t* data = thresholds.data();
        const int64_t size = thresholds.size();
        py::gil_scoped_release release;
        table_indexes(reinterpret_cast<const float*>(values), count, data, size, reinterpret_cast<uint8_t*>(indexes),
                      threads);
      },
      py::arg("values"), py::arg("count"), py::arg("thresholds"), py::arg("indexes"), py::arg("threads"));
}

}  // namespace pylatent::exact

namespace pylatent {
void bind_exact_conv(py::module_& m) { exact::bind(m); }
}  // namespace pylatent
