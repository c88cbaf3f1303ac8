#include "integer_synthesis/synthesis_convolve.h"

#include <algorithm>

#include "common/parallel.h"

namespace pylatent::integers {
namespace {

constexpr int64_t kMostTiles = 48;  // of a task
constexpr int64_t kSpreadElements = INT64_C(3) << 16;
constexpr double kProducts = 40;  // of a nanosecond

// Tiles that a task takes together: what it needs must stay in the second-level cache.
int64_t tiles_of(const Layer& layer) {
  const int64_t tiles = kSpreadElements / (layer.positions * round_up(layer.shape.inputs, kPad));
  return std::clamp(tiles / kRows * kRows, int64_t{kRows}, kMostTiles);
}

int64_t most_units(const Layer& layer) {
  int most = 0;
  for (const Block& block : layer.blocks) most = std::max(most, block.units);
  return most;
}

}  // namespace

ScratchPool::ScratchPool(const std::vector<Layer>& layers) {
  for (const Layer& layer : layers) {
    const int64_t tiles = tiles_of(layer) * layer.positions;
    spread_ = std::max(spread_, tiles * round_up(layer.shape.inputs, kPad));
    sums_ = std::max(sums_, tiles * most_units(layer) * kUnit);
  }
}

std::unique_ptr<Scratch> ScratchPool::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(free_.back());
      free_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>(Scratch{allocate<int16_t>(spread_), allocate<int32_t>(sums_)});
}

void ScratchPool::give(std::unique_ptr<Scratch> scratch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(std::move(scratch));
}

void convolve(const Layer& layer, const Kernels& kernels, const Rows& from, const Rows* skip, const Rows& to,
              int64_t width, int64_t first, int64_t last, ScratchPool& pool, int threads) {
  const bool wide = layer.shape.kernel == 3;
  const int64_t side = wide ? 2 : 1;  // of a tile
  const int64_t across = (width + side - 1) / side, down = (last - first + side - 1) / side;
  const int64_t together = tiles_of(layer), groups = (across + together - 1) / together;
  const double products =
      static_cast<double>(across * down * layer.positions * layer.depth) * static_cast<double>(layer.bias.size());
  parallel_for(down * groups, products / kProducts, threads, [&](int64_t task) {
    const int64_t row = first + task / groups * side, tile = task % groups * together, column = tile * side;
    const int64_t tiles = std::min(together, across - tile);
    std::unique_ptr<Scratch> scratch = pool.take();
    Product product{from.row(row) + column * from.pitch(), from.pitch(), tiles, layer.depth, nullptr, 0, nullptr};
    const int64_t position = tiles * from.pitch();
    if (wide) {
      Spread spread{{}, tiles, from.pitch(), scratch->spread.get(), position};
      for (int i = 0; i < 4; ++i) spread.rows[i] = from.row(row - 1 + i) + (column - 1) * from.pitch();
      kernels.spread(spread);
      product.a = scratch->spread.get();
    }
    Finish finish{};
    finish.sums = scratch->sums.get();
    finish.tiles = tiles;
    finish.columns = std::min(tiles * side, width - column);
    finish.rows = static_cast<int>(std::min(side, last - row));
    finish.low = layer.shape.low;
    finish.high = layer.shape.high;
    finish.out = to.row(row * layer.spread) + column * layer.spread * to.pitch();
    finish.out_row = layer.spread * to.stride();
    finish.out_column = layer.spread * to.pitch();
    if (skip != nullptr) {
      finish.skip = skip->row(row) + column * skip->pitch();
      finish.skip_row = skip->stride();
      finish.skip_column = skip->pitch();
    }
    for (const Block& block : layer.blocks) {
      const int64_t outputs = block.units * kUnit;
      finish.position = round_up(tiles, kRows) * outputs;
      product.units = finish.units = block.units;
      for (int64_t i = 0; i < layer.positions; ++i) {
        Product one = product;
        one.a += i * position;
        one.weights = layer.weights.get() + block.weights + i * layer.depth * outputs;
        one.out = scratch->sums.get() + i * finish.position;
        kernels.multiply(one);
      }
      int64_t places[kMostUnits];
      for (int unit = 0; unit < block.units; ++unit) {
        const Unit& at = layer.units[static_cast<size_t>(block.first / kUnit + unit)];
        places[unit] = at.row * to.stride() + at.column * to.pitch() + at.channel;
      }
      finish.places = places;
      finish.bias = layer.bias.data() + block.first;
      finish.multiplier = layer.multiplier.data() + block.first;
      finish.negative = layer.negative.data() + block.first;
      (wide ? kernels.finish3 : kernels.finish1)(finish);
    }
    pool.give(std::move(scratch));
  });
}

}  // namespace pylatent::integers
