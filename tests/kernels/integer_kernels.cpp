// Prints a checksum of what every set of integer kernels of this machine makes of random networks: equal lines mean
// equal integers. `.ci/aarch64` compares those of this machine with those of an emulated 64-bit ARM.
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "exact_conv/exact_conv.h"
#include "integer_analysis/integer_analysis.h"
#include "integer_conv/conv_variants.h"
#include "integer_synthesis/integer_synthesis.h"

namespace {

using namespace pylatent;

class Random {
 public:
  int64_t from(int64_t low, int64_t high) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return low + static_cast<int64_t>((state_ >> 33) % static_cast<uint64_t>(high - low + 1));
  }
  template <class T>
  std::vector<T> some(int64_t count, int64_t low, int64_t high) {
    std::vector<T> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<T>(from(low, high)));
    return values;
  }

 private:
  uint64_t state_ = 1;
};

template <class T>
uint64_t checksum(const std::vector<T>& values) {
  uint64_t sum = 1469598103934665603u;
  for (T value : values) sum = (sum ^ static_cast<uint64_t>(static_cast<int64_t>(value))) * 1099511628211u;
  return sum;
}

integers::Layer layer(Random& random, int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride,
                      const integers::Follow& follow, int64_t weights = 60, bool large = false) {
  using integers::Tiles;
  const integers::ConvShape shape{inputs, outputs, kernel, kernel, stride, kernel / 2, 0, false};
  const int64_t side = large ? integers::kLargeSides : kernel, numbers = outputs * (large ? integers::kExponents : 1);
  const auto weight = random.some<int16_t>(outputs * inputs * side * side, -weights, weights);
  const auto bias = random.some<int32_t>(numbers, -(1 << 20), 1 << 20);
  const auto multiplier = random.some<int32_t>(numbers, 1 << 20, 1 << 26),
             negative = random.some<int32_t>(numbers, 0, 1 << 20);
  const Tiles tiles = large ? Tiles::large : kernel == 3 && stride == 1 ? Tiles::small : Tiles::none;
  return {shape, follow, tiles, weight.data(), bias.data(), multiplier.data(), negative.data()};
}

void syntheses(int variant) {
  Random random;
  constexpr int32_t kMost = 4000;
  std::vector<integers::Layer> layers;
  layers.push_back(layer(random, 20, 33, 3, 1, {1, false, -kMost, kMost, false, false}));
  layers.push_back(layer(random, 33, 33, 3, 1, {1, false, -kMost, kMost, false, false}, 400));
  layers.push_back(layer(random, 33, 33, 3, 1, {1, true, -kMost, kMost, false, false}));
  layers.push_back(layer(random, 33, 72, 1, 1, {2, false, -kMost, kMost, false, false}));
  layers.push_back(layer(random, 18, 48, 3, 1, {4, false, 0, 255, true, false}));
  const integers::Synthesis synthesis(8191, std::move(layers));
  const auto latents = random.some<float>(20 * 13 * 17, -20, 20);
  const auto gains = random.some<int32_t>(20, 1 << 18, 1 << 24);
  std::vector<uint8_t> pixels(static_cast<size_t>(3 * 64 * 13 * 17));
  synthesis.run(latents.data(), 1, {13, 17}, gains.data(), pixels.data(), 1, variant);
  std::printf(" synthesis %016" PRIx64, checksum(pixels));
}

void analyses(int variant) {
  Random random;
  constexpr int32_t kMost = 4000;
  std::vector<integers::Layer> layers;
  layers.push_back(layer(random, 48, 21, 3, 1, {1, false, -kMost, kMost, false, false}));
  layers.push_back(layer(random, 21, 21, 3, 1, {1, false, -kMost, kMost, false, false}, 400, true));
  layers.push_back(layer(random, 21, 34, 3, 2, {1, false, -kMost, kMost, false, false}));
  layers.push_back(layer(random, 34, 19, 3, 2, {1, false, -(1 << 29), 1 << 29, false, true}));
  const integers::Analysis analysis({{8160, 8160, 8160}, 0, 8160, 4}, std::move(layers));
  auto pixels = random.some<float>(3 * 50 * 70, 0, 255);
  for (float& pixel : pixels) pixel /= 255;
  const integers::Size size = analysis.result_size({50, 70}, 16);
  const std::vector<float> scales(19, 1.0f);
  std::vector<float> latents(static_cast<size_t>(19 * size.area()));
  analysis.run(pixels.data(), 1, {50, 70}, 16, scales.data(), latents.data(), 1, variant);
  std::printf(" analysis %016" PRIx64, checksum(latents));
}

// largest: of the inputs; large ones take the kernels for activations of any size.
void exact_networks(int64_t largest, int64_t weights, int variant) {
  Random random;
  const auto make = [&](const exact::ConvShape& shape, int32_t slope) {
    const int64_t count = shape.inputs * shape.outputs * shape.kernel_h * shape.kernel_w;
    return exact::LayerWeights{shape, random.some<int32_t>(count, -weights, weights),
                               random.some<int64_t>(shape.outputs, -100000, 100000), slope};
  };
  const exact::Network network({make({13, 35, 5, 5, 2, 2, 1, true}, 10), make({35, 20, 3, 3, 1, 1, 0, false}, 0),
                                make({20, 50, 3, 3, 2, 1, 0, false}, 1024), make({50, 18, 1, 1, 1, 0, 0, false}, 10)});
  const auto values = random.some<double>(13 * 9 * 11, -largest, largest);
  const exact::Size size = network.output_size({9, 11});
  std::vector<double> out(static_cast<size_t>(network.outputs() * size.area()));
  network.run(values.data(), {1, 13, {9, 11}}, size, out.data(), Dtype::float64, 1, variant);
  std::printf(" %016" PRIx64, checksum(out));
}

}  // namespace

int main() {
  const std::vector<const char*> names = integers::variants();
  for (size_t i = 0; i < names.size(); ++i) {
    const int variant = static_cast<int>(i);
    syntheses(variant);
    analyses(variant);
    std::printf(" exact");
    exact_networks(2000, 400, variant);       // small
    exact_networks(30000, 3000, variant);     // narrow and split
    exact_networks(1 << 20, 2000, variant);   // split
    exact_networks(1 << 20, 40000, variant);  // wide
    std::printf(" %s\n", names[i]);
  }
}
