// Two-step contexts for Python: weights as arrays, everything else as addresses; the GIL is released while computing.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>

#include "common/checks.h"
#include "common/parallel.h"
#include "exact_conv/exact_bind.h"
#include "two_step_context/two_step_context.h"

namespace py = pybind11;

namespace pylatent::exact {
namespace {

constexpr double kNanosecondsOfPosition = 15e3;

using Function = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

std::vector<int32_t> values_of(const Function& array) { return {array.data(), array.data() + array.size()}; }

TwoStepContext make_context(const py::list& prior, const py::list& hyper, const py::list& neighbours,
                            const py::list& fuse, const Function& thresholds, const Function& features,
                            const Function& sigmas, const Function& reciprocals, int64_t channels, int32_t tables) {
  const ContextWeights weights{make_layers(prior), make_layers(hyper), make_layers(neighbours), make_layers(fuse)};
  const ScaleGrid grid{values_of(thresholds), values_of(features), values_of(sigmas), values_of(reciprocals)};
  std::optional<TwoStepContext> made = TwoStepContext::make(weights, grid, channels, tables);
  if (!made) throw std::overflow_error("the networks of the context do not fit 16 bits");
  return std::move(*made);
}

// fn(image, threads) for each image; whether all were good.
template <class Fn>
bool each_image(int64_t batch, Size size, int threads, Fn&& fn) {
  const bool each = batch >= threads;  // an image a thread
  std::atomic<bool> good{true};
  const double nanoseconds = static_cast<double>(batch * size.area()) * kNanosecondsOfPosition;
  parallel_for(batch, nanoseconds, each ? threads : 1, [&](int64_t image) {
    if (!fn(image, each ? 1 : threads)) good.store(false, std::memory_order_relaxed);
  });
  return good.load();
}

}  // namespace

void bind_context(py::module_& m) {
  py::class_<TwoStepContext>(m, "TwoStepContext")
      .def(py::init(&make_context), py::arg("prior"), py::arg("hyper"), py::arg("neighbours"), py::arg("fuse"),
           py::arg("thresholds"), py::arg("features"), py::arg("sigmas"), py::arg("reciprocals"), py::arg("channels"),
           py::arg("tables"))
      .def(
          "first",
          [](const TwoStepContext& context, uintptr_t z, int64_t batch, int64_t z_channels, int64_t z_height,
             int64_t z_width, int64_t height, int64_t width, uintptr_t rest, uintptr_t mean, uintptr_t table,
             int64_t elements, uintptr_t kept_mean, uintptr_t level, int threads, int variant) {
            const Size size{height, width}, z_size{z_height, z_width};
            const int64_t kept = size.area() * context.channels();
            return each_image(batch, size, threads, [&](int64_t image, int team) {
              return context.first(reinterpret_cast<const double*>(z) + image * z_channels * z_size.area(), z_size,
                                   size, reinterpret_cast<float*>(rest) + image * context.others() * size.area(),
                                   reinterpret_cast<float*>(mean) + image * elements,
                                   reinterpret_cast<uint8_t*>(table) + image * elements,
                                   {reinterpret_cast<int32_t*>(kept_mean) + image * kept,
                                    reinterpret_cast<uint8_t*>(level) + image * kept},
                                   team, variant);
            });
          },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "second",
          [](const TwoStepContext& context, uintptr_t symbols, int64_t batch, int64_t height, int64_t width,
             uintptr_t kept_mean, uintptr_t level, int64_t first_elements, uintptr_t mean, uintptr_t table,
             int64_t elements, int threads, int variant) {
            const Size size{height, width};
            const int64_t kept = size.area() * context.channels();
            return each_image(batch, size, threads, [&](int64_t image, int team) {
              return context.second(reinterpret_cast<const int32_t*>(symbols) + image * first_elements, size,
                                    {reinterpret_cast<int32_t*>(kept_mean) + image * kept,
                                     reinterpret_cast<uint8_t*>(level) + image * kept},
                                    reinterpret_cast<float*>(mean) + image * elements,
                                    reinterpret_cast<uint8_t*>(table) + image * elements, team, variant);
            });
          },
          py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent::exact

namespace pylatent {
void bind_two_step_context(py::module_& m) { exact::bind_context(m); }
}  // namespace pylatent
