#include "integer_synthesis/synthesis_schedule.h"

#include <algorithm>

namespace pylatent::integers {

Schedule make_schedule(const std::vector<Layer>& layers, Size latents, int64_t band) {
  const int64_t count = static_cast<int64_t>(layers.size());
  Schedule plan;
  plan.sizes.push_back(latents);
  for (const Layer& layer : layers) {
    plan.sizes.push_back({plan.sizes.back().height * layer.spread, plan.sizes.back().width * layer.spread});
  }
  plan.capacities.assign(static_cast<size_t>(count) + 1, 1);
  // ready: rows of the inputs of each layer, and of the last one's outputs; next: the row that each layer, and then the
  // writing of pixels, will compute.
  std::vector<int64_t> ready(static_cast<size_t>(count) + 1, 0), next(static_cast<size_t>(count) + 1, 0);
  const auto layer_at = [&](int64_t number) -> const Layer& { return layers[static_cast<size_t>(number)]; };
  const auto keep = [&](int64_t number) {
    const size_t at = static_cast<size_t>(number);
    int64_t oldest = next[at];
    if (number < count && layer_at(number).shape.kernel == 3) oldest -= 1;
    if (number + 1 < count && layer_at(number + 1).shape.skip) oldest = std::min(oldest, next[at + 1]);
    plan.capacities[at] = std::max(plan.capacities[at], ready[at] - std::max<int64_t>(oldest, 0));
  };
  while (next.back() < plan.sizes.back().height) {
    const int64_t read = std::min(ready[0] + band, latents.height);
    if (read > ready[0]) plan.steps.push_back({-1, ready[0], read});
    ready[0] = read;
    keep(0);
    for (int64_t number = 0; number < count; ++number) {
      const size_t at = static_cast<size_t>(number);
      const Layer& layer = layer_at(number);
      int64_t last = ready[at];
      if (layer.shape.kernel == 3 && last < plan.sizes[at].height) last = std::max<int64_t>(last - 1, 0) / 2 * 2;
      if (last <= next[at]) continue;
      plan.steps.push_back({number, next[at], last});
      next[at] = last;
      ready[at + 1] = last * layer.spread;
      keep(number + 1);
    }
    if (ready.back() > next.back()) plan.steps.push_back({count, next.back(), ready.back()});
    next.back() = ready.back();
  }
  for (int64_t number = 0; number <= count; ++number) {
    // A step writes a pair of rows of outputs, which lie behind each other.
    const int64_t whole = number == 0 ? 2 : 2 * layer_at(number - 1).spread;
    int64_t& capacity = plan.capacities[static_cast<size_t>(number)];
    capacity = round_up(capacity, whole);
  }
  return plan;
}

}  // namespace pylatent::integers
