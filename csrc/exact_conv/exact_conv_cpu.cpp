#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <utility>

#include "common/checks.h"
#include "common/parallel.h"
#include "exact_conv/exact_any.h"
#include "exact_conv/exact_conv.h"
#include "exact_conv/exact_small.h"
#include "integer_conv/conv_variants.h"

namespace pylatent::exact {
namespace {

constexpr double kNanosecondsOfProduct = 0.01;

}  // namespace

Network::Network(const std::vector<LayerWeights>& layers) {
  if (layers.empty()) throw std::invalid_argument("`layers` must not be empty");
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerWeights& layer = layers[i];
    if (i > 0) check_equal("inputs of a layer", layer.shape.inputs, layers[i - 1].shape.outputs);
    layers_.emplace_back(layer.shape, layer.weight.data(), layer.bias.data(), layer.slope);
  }
  if (std::optional<SmallNetwork> small = SmallNetwork::make(layers)) {
    small_ = std::make_unique<SmallNetwork>(std::move(*small));
  }
}

Network::Network(Network&&) noexcept = default;
Network::~Network() = default;

Size Network::output_size(Size input) const {
  for (const Layer& layer : layers_) input = layer.output_size(input);
  return input;
}

bool Network::run(const double* values, const Images& images, Size crop, void* out, Dtype dtype, int threads,
                  int variant) const {
  variant = integers::variant_number(variant);
  check_equal("channels", images.channels, layers_.front().shape.inputs);
  check_range("batch", images.batch, 1, INT32_MAX);
  check_range("height", images.size.height, 1, INT32_MAX);
  check_range("width", images.size.width, 1, INT32_MAX);
  if (dtype != Dtype::float32 && dtype != Dtype::float64) unsupported_dtype("an exact network", dtype);

  std::vector<Size> sizes{images.size};  // first of the whole activations, then of the parts that `crop` depends on
  for (const Layer& layer : layers_) sizes.push_back(layer.output_size(sizes.back()));
  check_range("rows", crop.height, 1, sizes.back().height);
  check_range("columns", crop.width, 1, sizes.back().width);
  sizes.back() = crop;
  double products = 0;
  for (size_t i = layers_.size(); i-- > 0;) {
    const Layer& layer = layers_[i];
    products += static_cast<double>(sizes[i + 1].area() * layer.shape.inputs * layer.shape.outputs * layer.taps()) /
                static_cast<double>(layer.out_step * layer.out_step);
    sizes[i] = layer.needed_input(sizes[i], sizes[i + 1]);
  }
  const int64_t in_image = images.channels * images.size.area(), out_image = outputs() * crop.area();
  const bool each = images.batch >= threads;  // an image a thread
  std::atomic<bool> whole{true};
  const double nanoseconds = static_cast<double>(images.batch) * products * kNanosecondsOfProduct;
  parallel_for(images.batch, nanoseconds, each ? threads : 1, [&](int64_t image) {
    const double* from = values + image * in_image;
    const int team = each ? 1 : threads;
    const bool good =
        dtype == Dtype::float32
            ? run_one(from, images.size, sizes, static_cast<float*>(out) + image * out_image, team, variant)
            : run_one(from, images.size, sizes, static_cast<double*>(out) + image * out_image, team, variant);
    if (!good) whole.store(false, std::memory_order_relaxed);
  });
  return whole.load();
}

template <class T>
bool Network::run_one(const double* values, Size size, const std::vector<Size>& sizes, T* out, int threads,
                      int variant) const {
  if (small_ != nullptr && small_->run(values, size, sizes, out, threads, variant)) return true;
  Activations current(sizes[0], layers_.front().shape.inputs);
  if (!import_image(values, size, current, threads)) return false;
  for (size_t i = 0; i < layers_.size(); ++i) {
    Activations next(sizes[i + 1], layers_[i].shape.outputs);
    convolve_any(layers_[i], current, next, threads, variant);
    current = std::move(next);
  }
  export_image(current, out, threads);
  return true;
}

}  // namespace pylatent::exact
