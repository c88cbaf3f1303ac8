#include "integer_conv/conv_trial.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "integer_conv/conv_pipeline.h"

namespace pylatent::integers {
namespace {

constexpr int64_t kChannels = 128;
constexpr Size kSize{8, 48};
constexpr int kTurns = 5;

std::vector<Layer> make_layer() {
  const ConvShape shape{kChannels, kChannels, 3, 3, 1, 1, 0, false};
  const Follow follow{1, false, -4095, 4095, false, false};
  std::vector<int16_t> weight(static_cast<size_t>(9 * kChannels * kChannels));
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<int16_t>(i * 37 % 4001 - 2000);
  const std::vector<int32_t> bias(kChannels, 1), multiplier(kChannels, 1 << 20);
  std::vector<Layer> layers;
  layers.emplace_back(shape, follow, Tiles::small, weight.data(), bias.data(), multiplier.data(), multiplier.data());
  return layers;
}

double seconds_of(const std::vector<Layer>& layers, const Kernels& kernels) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  Pipeline(layers, kernels, {kSize, kSize}, kSize.height, 1)
      .run<int16_t>(
          [](int64_t row, int16_t* out, int64_t pitch) {
            for (int64_t i = 0; i < kSize.width * pitch; ++i)
              out[i] = static_cast<int16_t>((row + i) * 29 % 8001 - 4000);
            return true;
          },
          [](int64_t, const int16_t*, int64_t) {});
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

bool is_faster(const Kernels& candidate, const Kernels& other) {
  const std::vector<Layer> layers = make_layer();
  double of_candidate = std::numeric_limits<double>::infinity(), of_other = of_candidate;
  for (int turn = 0; turn < kTurns; ++turn) {  // the first of each warms up
    of_candidate = std::min(of_candidate, seconds_of(layers, candidate));
    of_other = std::min(of_other, seconds_of(layers, other));
  }
  return kLeastGain * of_candidate <= of_other;
}

}  // namespace pylatent::integers
