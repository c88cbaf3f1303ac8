#include "transform_residual/residual_classes.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "common/checks.h"
#include "common/parallel.h"

namespace pylatent::transform_residual {
namespace {

constexpr int kBinBits = 6;
constexpr double kNanosecondsOfCoefficient = 15;
constexpr int32_t kUnit = 16, kLargest = 255;

// to[x] += weight * from[x]
template <class T>
void add(int32_t weight, const T* from, int64_t width, int32_t* to) {
  if (weight == 0) return;
  for (int64_t x = 0; x < width; ++x) to[x] += weight * from[x];
}

// The same of the sum over the four neighbours of each place of a row of `plane`.
template <class T>
void add_sides(int32_t weight, const T* plane, int64_t row, int64_t height, int64_t width, int32_t* to) {
  if (weight == 0) return;
  const T* from = plane + row * width;
  if (row > 0) add(weight, from - width, width, to);
  if (row + 1 < height) add(weight, from + width, width, to);
  for (int64_t x = 1; x < width; ++x) to[x] += weight * from[x - 1];
  for (int64_t x = 0; x + 1 < width; ++x) to[x] += weight * from[x + 1];
}

// Weights in the order of the features.
class Weights {
 public:
  explicit Weights(const std::vector<int32_t>& all) : all_(all) {}
  int32_t next() { return at_ < all_.size() ? all_[at_++] : (++at_, 0); }
  void check() const { check_equal("number of weights", static_cast<int64_t>(all_.size()), static_cast<int64_t>(at_)); }

 private:
  const std::vector<int32_t>& all_;
  size_t at_ = 0;
};

struct StepWeights {
  int32_t constant, nearest = 0, around_nearest = 0, parent = 0, lower = 0, near, far, mean, around_mean, busy,
                    first = 0;
  struct Other {
    int32_t own, sum, sides;
  } others[kColours - 1] = {};
  int32_t around = 0, sum_around = 0;

  StepWeights(const Step& step, const std::vector<int32_t>& all) {
    Weights from(all);
    constant = from.next();
    if (step.first > 0) nearest = from.next(), around_nearest = from.next(), parent = from.next();
    if (step.before > 0) lower = from.next();
    near = from.next(), far = from.next(), mean = from.next(), around_mean = from.next(), busy = from.next();
    if (step.colour > 0) first = from.next();
    for (int64_t other = 0; other < step.colour; ++other) {
      others[other].own = from.next(), others[other].sum = from.next(), others[other].sides = from.next();
    }
    if (step.second) around = from.next(), sum_around = from.next();
    from.check();
  }
};

}  // namespace

Classes::Classes(std::vector<int32_t> levels) : levels_(std::move(levels)) {
  check_range("number of levels", static_cast<int64_t>(levels_.size()), 1, UINT8_MAX);
  check_range("first level", levels_.front(), 1, INT32_MAX);
  for (size_t i = 1; i < levels_.size(); ++i) {
    check_range("level", levels_[i], int64_t{levels_[i - 1]} + (1 << kBinBits) + 1, INT32_MAX);
  }
  for (int64_t value = 0; value <= levels_.back(); value += 1 << kBinBits) {
    lowest_.push_back(static_cast<uint8_t>(std::upper_bound(levels_.begin(), levels_.end(), value) - levels_.begin()));
  }
}

uint8_t Classes::of(int32_t expected) const {
  if (expected >= levels_.back()) return static_cast<uint8_t>(levels_.size());
  const uint8_t lowest = lowest_[expected >> kBinBits];
  return static_cast<uint8_t>(lowest + (expected >= levels_[lowest]));
}

void Classes::find(const Known& known, const Step& step, const std::vector<int32_t>& weights,
                   const std::vector<int64_t>& parents, int threads, uint8_t* to) const {
  const StepWeights w(step, weights);
  const int64_t height = known.height, width = known.width, area = height * width, bands = step.last - step.first;
  const auto plane = [&](const int16_t* of, int64_t colour, int64_t band) {
    return of + (colour * kBands + band) * area;
  };
  // Sums over the bands of each block, for all rows.
  std::vector<int32_t> nearest(area), mean(area);
  for (int64_t band = step.before; band < step.first; ++band) {
    add(1, plane(known.sizes, step.colour, band), area, nearest.data());
  }
  for (int64_t band = step.first; band < step.last; ++band) {
    add(1, plane(known.near, step.colour, band), area, mean.data());
  }
  for (int32_t& value : mean) value /= static_cast<int32_t>(bands);

  const int64_t odd = step.second ? 1 : 0;
  const int64_t blocks = (area + 1 - odd) / 2;
  parallel_for(height, static_cast<double>(area * bands) * kNanosecondsOfCoefficient, threads, [&](int64_t row) {
    const int64_t begin = row * width;
    std::vector<int32_t> common(width, w.constant), expected(width);
    add(w.nearest, nearest.data() + begin, width, common.data());
    add_sides(w.around_nearest, nearest.data(), row, height, width, common.data());
    for (int64_t band = 0; band < step.before; ++band) {
      add(w.lower, plane(known.sizes, step.colour, band) + begin, width, common.data());
    }
    add(w.mean, mean.data() + begin, width, common.data());
    add_sides(w.around_mean, mean.data(), row, height, width, common.data());
    add(w.busy, known.busy + step.colour * area + begin, width, common.data());
    for (int64_t band = step.first; band < step.last; ++band) {
      for (int64_t other = 0; other < step.colour; ++other) {
        add(w.others[other].sum, plane(known.sizes, other, band) + begin, width, common.data());
      }
      add_sides(w.sum_around, plane(known.sizes, step.colour, band), row, height, width, common.data());
    }
    const int64_t start = (row + odd) % 2;      // first column of the step's blocks
    uint8_t* out = to + (begin + 1 - odd) / 2;  // as many blocks are in the rows before
    for (int64_t band = step.first; band < step.last; ++band, out += blocks) {
      std::copy(common.begin(), common.end(), expected.begin());
      add(w.parent, plane(known.sizes, step.colour, parents[band]) + begin, width, expected.data());
      add(w.near, plane(known.near, step.colour, band) + begin, width, expected.data());
      add(w.far, plane(known.far, step.colour, band) + begin, width, expected.data());
      add(w.first, plane(known.near, 0, band) + begin, width, expected.data());
      for (int64_t other = 0; other < step.colour; ++other) {
        add(w.others[other].own, plane(known.sizes, other, band) + begin, width, expected.data());
        add_sides(w.others[other].sides, plane(known.sizes, other, band), row, height, width, expected.data());
      }
      add_sides(w.around, plane(known.sizes, step.colour, band), row, height, width, expected.data());
      for (int64_t x = start, n = 0; x < width; x += 2, ++n) out[n] = of(expected[x]);
    }
  });
}

void put(const int32_t* values, const Step& step, int64_t height, int64_t width, int16_t* coded, int16_t* sizes) {
  const int64_t odd = step.second ? 1 : 0;
  for (int64_t band = step.first; band < step.last; ++band) {
    const int64_t place = (step.colour * kBands + band) * height * width;
    for (int64_t row = 0; row < height; ++row) {
      for (int64_t x = (row + odd) % 2; x < width; x += 2, ++values) {
        coded[place + row * width + x] = static_cast<int16_t>(*values);
        sizes[place + row * width + x] = static_cast<int16_t>(std::min(kUnit * std::abs(*values), kLargest));
      }
    }
  }
}

}  // namespace pylatent::transform_residual
