#include "integer_conv/convolve.h"

#include <algorithm>

#include "common/parallel.h"

namespace pylatent::integers {
namespace {

constexpr int64_t kMostTiles = 48;  // of a task
constexpr int64_t kSpreadElements = INT64_C(1) << 16;
constexpr double kProducts = 40;  // of a nanosecond

// Tiles that a task takes together: what it needs must stay in the second-level cache.
int64_t tiles_of(const Layer& layer) {
  if (!layer.tiled()) return kMostTiles;
  const int64_t tiles = kSpreadElements / (layer.positions * round_up(layer.shape.inputs, kPad));
  return std::clamp(tiles / kRows * kRows, int64_t{kRows}, kMostTiles);
}

int64_t most_taps(const Layer& layer) {
  if (layer.tiled()) return layer.positions;
  size_t most = 1;
  for (const Phase& phase : layer.phases) most = std::max(most, phase.taps.size());
  return static_cast<int64_t>(most);
}

int64_t most_units(const Layer& layer) {
  int most = 0;
  for (const Block& block : layer.blocks) most = std::max(most, block.units);
  return most;
}

Margin margin_of_taps(const Layer& layer, int64_t width, int64_t pixels) {
  Margin margin{0, 0};
  for (const Phase& phase : layer.phases) {
    for (const Tap& tap : phase.taps) {
      margin.left = std::max(margin.left, -tap.column);
      margin.right = std::max(margin.right, (pixels - 1) * layer.in_step + tap.column + 1 - width);
    }
  }
  return margin;
}

// Tiles of one row that a task has; `before`: its tiles of earlier rows. In tiles.
struct Run {
  int64_t row, column, tiles, before;
};

// Tiles `begin` to `end` - 1, counted along the rows from pixel row `first` on.
class Task {
 public:
  Task(const Layer& layer, const Kernels& kernels, const Ends& ends, int64_t last, Scratch& scratch)
      : layer_(layer),
        kernels_(kernels),
        ends_(ends),
        last_(last),
        scratch_(scratch),
        tiled_(layer.tiled() && ends.bytes == nullptr) {}

  void run(int64_t first, int64_t across, int64_t begin, int64_t end) {
    tiles_ = end - begin;
    count_ = round_up(tiles_, kRows);
    for (int64_t tile = begin; tile < end;) {
      const int64_t column = tile % across, tiles = std::min(across - column, end - tile);
      runs_.push_back({first + tile / across * layer_.side, column * layer_.side, tiles, tile - begin});
      tile += tiles;
    }
    if (tiled_) spread();
    int phase = -1;
    for (const Block& block : layer_.blocks) {
      if (!tiled_ && block.phase != phase) find_rows(layer_.phases[static_cast<size_t>(block.phase)]);
      phase = block.phase;
      multiply(block);
      for (const Run& run : runs_) finish(block, run);
    }
  }

  // The same by ByteKernels: pixels in groups, which end with a row.
  void run_groups(int64_t first, int64_t across, int64_t begin, int64_t end) {
    const int64_t groups = (across + kGroup - 1) / kGroup;
    for (int64_t group = begin; group < end; ++group) {
      const int64_t column = group % groups * kGroup;
      runs_.push_back(
          {first + group / groups, column, std::min(across - column, int64_t{kGroup}), (group - begin) * kGroup});
    }
    const ByteWeights& weights = layer_.bytes();
    std::vector<const uint8_t*> places;
    int phase = -1;
    for (size_t number = 0; number < layer_.blocks.size(); ++number) {
      const Block& block = layer_.blocks[number];
      const Phase& of_block = layer_.phases[static_cast<size_t>(block.phase)];
      if (block.phase != phase) places = find_groups(of_block);
      phase = block.phase;
      kernels_.bytes->multiply({places.data(), end - begin, layer_.in_step * ends_.bytes->pitch(),
                                static_cast<int64_t>(of_block.taps.size()), weights.chunks, weights.digits,
                                weights.values.get() + weights.blocks[number], block.units, scratch_.sums.get()});
      for (const Run& run : runs_) finish(block, run);
    }
  }

 private:
  void spread() {
    const Rows<int16_t>& from = *ends_.from;
    const int64_t position = tiles_ * from.pitch();
    for (const Run& run : runs_) {
      Spread job{{}, run.tiles, from.pitch(), scratch_.spread.get() + run.before * from.pitch(), position};
      for (int i = 0; i < layer_.side + 2; ++i) {
        job.rows[i] = from.row(run.row - 1 + i) + (run.column - 1) * from.pitch();
      }
      (layer_.tiles == Tiles::large ? kernels_.spread_large : kernels_.spread)(job);
    }
    for (int64_t i = 0; i < layer_.positions; ++i) {
      for (int64_t tile = 0; tile < count_; ++tile) {
        rows_at(i)[tile] = scratch_.spread.get() + i * position + std::min(tile, tiles_ - 1) * from.pitch();
      }
    }
  }

  void find_rows(const Phase& phase) {
    const Rows<int16_t>& from = *ends_.from;
    int64_t number = 0;
    for (const Tap& tap : phase.taps) {
      const int16_t** to = rows_at(number++);
      for (const Run& run : runs_) {
        const int16_t* row =
            from.row(run.row * layer_.in_step + tap.row) + (run.column * layer_.in_step + tap.column) * from.pitch();
        for (int64_t i = 0; i < run.tiles; ++i) to[run.before + i] = row + i * layer_.in_step * from.pitch();
      }
      std::fill(to + tiles_, to + count_, to[tiles_ - 1]);
    }
  }

  std::vector<const uint8_t*> find_groups(const Phase& phase) const {
    const Rows<uint8_t>& from = *ends_.bytes;
    std::vector<const uint8_t*> places;
    for (const Tap& tap : phase.taps) {
      for (const Run& run : runs_) {
        places.push_back(from.row(run.row * layer_.in_step + tap.row) +
                         (run.column * layer_.in_step + tap.column) * from.pitch());
      }
    }
    return places;
  }

  void multiply(const Block& block) {
    const int64_t outputs = block.units * kUnit;
    const int64_t taps = static_cast<int64_t>(layer_.phases[static_cast<size_t>(block.phase)].taps.size());
    Product product{rows_at(0),
                    count_,
                    layer_.tiled() ? 1 : taps,
                    layer_.depth,
                    layer_.weights.get() + block.weights,
                    block.units,
                    scratch_.sums.get()};
    for (int64_t i = 0; i < layer_.positions; ++i) {
      kernels_.multiply(product);
      product.rows += count_;
      product.weights += layer_.depth * outputs;
      product.out += count_ * outputs;
    }
  }

  void finish(const Block& block, const Run& run) {
    const Phase& phase = layer_.phases[static_cast<size_t>(block.phase)];
    const Size result = ends_.result();
    const int64_t columns = (result.width - phase.column + layer_.spread - 1) / layer_.spread - run.column;
    if (columns <= 0 || run.row * layer_.spread + phase.row >= result.height) return;
    const int64_t outputs = block.units * kUnit;
    Finish job{};
    job.sums = scratch_.sums.get() + run.before * outputs;
    job.position = count_ * outputs;
    job.tiles = run.tiles;
    job.columns = std::min(run.tiles * (tiled_ ? layer_.side : 1), columns);
    job.rows = static_cast<int>(std::min(layer_.side, last_ - run.row));
    job.units = block.units;
    job.bias = layer_.bias.data() + block.first;
    job.multiplier = layer_.multiplier.data() + block.first;
    job.negative = layer_.negative.data() + block.first;
    job.exponent = layer_.outputs();
    job.low = layer_.follow.low;
    job.high = layer_.follow.high;
    if (ends_.skip != nullptr) {
      job.skip = ends_.skip->row(run.row) + run.column * ends_.skip->pitch();
      job.skip_row = ends_.skip->stride();
      job.skip_column = ends_.skip->pitch();
    }
    if (ends_.wide != nullptr) {
      write(*ends_.wide, block, run, job, &job.wide);
    } else {
      write(*ends_.to, block, run, job, &job.out);
    }
  }

  template <class T>
  void write(const Rows<T>& to, const Block& block, const Run& run, Finish& job, T** out) {
    *out = to.row(run.row * layer_.spread) + run.column * layer_.spread * to.pitch();
    job.out_row = layer_.spread * to.stride();
    job.out_column = layer_.spread * to.pitch();
    int64_t places[kMostUnits];
    for (int unit = 0; unit < block.units; ++unit) {
      const Unit& at = layer_.units[static_cast<size_t>(block.first / kUnit + unit)];
      places[unit] = at.row * to.stride() + at.column * to.pitch() + at.channel;
    }
    job.places = places;
    (!tiled_                        ? kernels_.finish_pixels
     : layer_.tiles == Tiles::large ? kernels_.finish_large
                                    : kernels_.finish_tiles)(job);
  }

  const int16_t** rows_at(int64_t tap) { return scratch_.rows.data() + tap * count_; }

  const Layer& layer_;
  const Kernels& kernels_;
  const Ends& ends_;
  int64_t last_;
  Scratch& scratch_;
  bool tiled_;
  int64_t tiles_ = 0, count_ = 0;  // count_: in whole groups of kRows
  std::vector<Run> runs_;
};

}  // namespace

int64_t pixels_across(const Layer& layer, int64_t result) { return (result + layer.spread - 1) / layer.spread; }

ScratchPool::ScratchPool(const std::vector<Layer>& layers) {
  for (const Layer& layer : layers) {
    const int64_t tiles = tiles_of(layer);
    if (layer.tiled()) spread_ = std::max(spread_, layer.positions * tiles * round_up(layer.shape.inputs, kPad));
    sums_ = std::max(sums_, std::max<int64_t>(layer.positions * tiles, kGroups * kGroup) * most_units(layer) * kUnit);
    rows_ = std::max(rows_, most_taps(layer) * tiles);
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
  return std::make_unique<Scratch>(Scratch{allocate<int16_t>(spread_), allocate<int32_t>(sums_),
                                           std::vector<const int16_t*>(static_cast<size_t>(rows_))});
}

void ScratchPool::give(std::unique_ptr<Scratch> scratch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(std::move(scratch));
}

Margin margin_of(const Layer& layer, int64_t width, int64_t result) {
  const int64_t pixels = pixels_across(layer, result);
  if (layer.tiled()) return {1, round_up(pixels, layer.side) + 1 - width};
  return margin_of_taps(layer, width, pixels);
}

Margin margin_of_bytes(const Layer& layer, int64_t width, int64_t result) {
  return margin_of_taps(layer, width, round_up(pixels_across(layer, result), kGroup));
}

void convolve(const Layer& layer, const Kernels& kernels, const Ends& ends, int64_t first, int64_t last,
              ScratchPool& pool, int threads) {
  const int64_t pixels = pixels_across(layer, ends.result().width), side = layer.side;
  const int64_t across = (pixels + side - 1) / side, tiles = (last - first + side - 1) / side * across;
  // Tasks, as many for each thread, of whole products that differ by one at most.
  const int64_t rows = (tiles + kRows - 1) / kRows;
  const int64_t tasks = std::min(round_up((tiles + tiles_of(layer) - 1) / tiles_of(layer), threads), rows);
  const double products = static_cast<double>(tiles * layer.depth * layer.positions) *
                          static_cast<double>(layer.outputs()) * (layer.tiled() ? 1.0 : most_taps(layer));
  if (ends.bytes != nullptr) {
    const int64_t all = (last - first) * ((pixels + kGroup - 1) / kGroup);
    parallel_for((all + kGroups - 1) / kGroups, products / kProducts, threads, [&](int64_t number) {
      std::unique_ptr<Scratch> scratch = pool.take();
      Task(layer, kernels, ends, last, *scratch)
          .run_groups(first, pixels, number * kGroups, std::min((number + 1) * kGroups, all));
      pool.give(std::move(scratch));
    });
    return;
  }
  parallel_for(tasks, products / kProducts, threads, [&](int64_t number) {
    std::unique_ptr<Scratch> scratch = pool.take();
    Task(layer, kernels, ends, last, *scratch)
        .run(first, across, number * rows / tasks * kRows, std::min((number + 1) * rows / tasks * kRows, tiles));
    pool.give(std::move(scratch));
  });
}

}  // namespace pylatent::integers
