#include "integer_conv/conv_schedule.h"

#include <algorithm>
#include <numeric>

namespace pylatent::integers {
namespace {

constexpr int64_t kMostSide = 4;  // of a tile

// Rows of a layer's pixels that can be computed from the first `ready` rows of its inputs.
int64_t computable(const Layer& layer, int64_t ready, Size input, int64_t pixels) {
  if (ready >= input.height) return pixels;
  const int64_t room = ready - 1 - layer.last_tap_row();
  const int64_t rows = room < 0 ? 0 : room / layer.in_step + 1;
  return std::min(rows / layer.side * layer.side, pixels);
}

}  // namespace

Schedule make_schedule(const std::vector<Layer>& layers, const std::vector<Size>& sizes, int64_t band) {
  const size_t count = layers.size();
  Schedule plan;
  plan.capacities.assign(count + 1, 1);
  // ready: rows of the inputs of each layer, and of the results; next: the row of pixels that each layer, and then the
  // writing of results, will compute.
  std::vector<int64_t> ready(count + 1, 0), next(count + 1, 0);
  const auto keep = [&](size_t number) {
    int64_t oldest = next[number];
    if (number < count) oldest = oldest * layers[number].in_step + std::min<int64_t>(layers[number].first_tap_row(), 0);
    if (number + 1 < count && layers[number + 1].follow.skip) oldest = std::min(oldest, next[number + 1]);
    plan.capacities[number] =
        std::max(plan.capacities[number], ready[number] - std::clamp<int64_t>(oldest, 0, ready[number]));
  };
  while (next[count] < sizes[count].height) {
    const int64_t read = std::min(ready[0] + band, sizes[0].height);
    if (read > ready[0]) plan.steps.push_back({-1, ready[0], read});
    ready[0] = read;
    keep(0);
    for (size_t number = 0; number < count; ++number) {
      const Layer& layer = layers[number];
      const int64_t pixels = (sizes[number + 1].height + layer.spread - 1) / layer.spread;
      const int64_t last = computable(layer, ready[number], sizes[number], pixels);
      if (last <= next[number]) continue;
      plan.steps.push_back({static_cast<int64_t>(number), next[number], last});
      next[number] = last;
      ready[number + 1] = std::min(last * layer.spread, sizes[number + 1].height);
      keep(number + 1);
    }
    if (ready[count] > next[count]) plan.steps.push_back({static_cast<int64_t>(count), next[count], ready[count]});
    next[count] = ready[count];
  }
  for (size_t number = 0; number <= count; ++number) {
    // The rows of a tile's results, and those that are added to them, lie behind each other.
    const int64_t whole = number == 0 ? 1 : layers[number - 1].side * layers[number - 1].spread;
    plan.capacities[number] = round_up(plan.capacities[number], std::lcm(whole, kMostSide));
  }
  return plan;
}

}  // namespace pylatent::integers
