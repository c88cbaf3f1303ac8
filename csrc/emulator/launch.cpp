#include "emulator/launch.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "emulator/counters.h"

namespace pylatent::emulator {
namespace {

// The limits that every device from sm_80 has (CUDA programming guide, "Compute capabilities").
constexpr size_t most_shared_bytes = 163 * 1024;

void check_launch(const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const auto refuse = [&](const std::string& what) {
    throw Fault("kernel `" + std::string(launch.name) + "` cannot be launched: " + what);
  };
  const auto size = [](const dim3& d) {
    return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z);
  };
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads < 1 || threads > 1024 || block.z > 64) refuse("a block of " + size(block) + " threads");
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) {
    refuse("a grid of " + size(grid) + " blocks");
  }
  if (launch.shared_bytes > most_shared_bytes) {
    refuse(std::to_string(launch.shared_bytes) + " bytes of shared memory, at most " +
           std::to_string(most_shared_bytes) + " are there on sm_80");
  }
}

}  // namespace

Settings& settings() {
  static Settings settings;
  return settings;
}

void run_launch(const Launch& launch) {
  check_launch(launch);
  static thread_local Block block;
  const dim3& grid = launch.grid;
  std::vector<uint64_t> order(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), uint64_t{0});
  const uint64_t seed = settings().seed * 1000003 + settings().launches++;
  Random random(seed);
  block.clock.start_launch();
  block.global.start_launch();
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
  counters().start_launch(launch);
  for (const uint64_t i : order) {
    const uint3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                      static_cast<unsigned>(i / grid.x / grid.y)};
    block.run(launch, index, seed + 7919 * i);
    if (counters().on) counters().end_block();
  }
  if (counters().on) counters().end_launch();
}

}  // namespace pylatent::emulator
