#include <algorithm>
#include <utility>

#include "common/checks.h"
#include "common/parallel.h"
#include "transform_residual/transform_residual.h"
#include "transform_residual/transform_residual_kernel.h"

namespace pylatent::transform_residual {
namespace {

constexpr int kBinBits = 6;
constexpr double kTransformNanoseconds = 3, kKnowNanoseconds = 1, kFindNanoseconds = 6;  // of a coefficient

Kernels kernels_of(Simd level) { return PYLATENT_CALL_VARIANT(level, kernels, ()); }

double coefficients_of(Size size) { return static_cast<double>(kColours * kBands * size.blocks); }

// In the order of the features.
Weights weights_of(const Step& step, const std::vector<int32_t>& all) {
  size_t at = 0;
  const auto next = [&] { return at < all.size() ? all[at++] : (++at, 0); };
  Weights w{};
  w.constant = next();
  if (step.first > 0) w.nearest = next(), w.around_nearest = next(), w.parent = next();
  if (step.before > 0) w.lower = next();
  w.near = next(), w.far = next(), w.mean = next(), w.around_mean = next(), w.busy = next();
  if (step.colour > 0) w.first = next();
  for (int64_t other = 0; other < step.colour; ++other) {
    w.others[other].own = next(), w.others[other].sum = next(), w.others[other].sides = next();
  }
  if (step.second) w.around = next(), w.sum_around = next();
  check_equal("number of weights", static_cast<int64_t>(all.size()), static_cast<int64_t>(at));
  return w;
}

}  // namespace

Size size_of(int64_t height, int64_t width) {
  const int64_t rows = (height + kSide - 1) / kSide, columns = (width + kSide - 1) / kSide;
  return {height, width, rows, columns, rows * columns};
}

void transform(Pixels pixels, Pixels less, Size size, Run run, int16_t* coefficients) {
  const Kernels kernels = kernels_of(run.level);
  const Transform job{pixels, less, size, coefficients};
  parallel_for(size.rows, coefficients_of(size) * kTransformNanoseconds, run.threads,
               [&](int64_t row) { kernels.transform(job, row); });
}

void restore(const int16_t* values, int32_t step, Pixels pixels, Size size, Run run, uint8_t* to, int64_t plane) {
  const Kernels kernels = kernels_of(run.level);
  const Restoration job{values, step, pixels, size, to, plane};
  parallel_for(size.rows, coefficients_of(size) * kTransformNanoseconds, run.threads,
               [&](int64_t row) { kernels.restore(job, row); });
}

void know(const int16_t* coefficients, int32_t step, Size size, Run run, Known known) {
  const Kernels kernels = kernels_of(run.level);
  const Knowledge job{coefficients, step, size, known};
  parallel_for(size.rows, coefficients_of(size) * kKnowNanoseconds, run.threads,
               [&](int64_t row) { kernels.know(job, row); });
}

Tables::Tables(std::vector<int32_t> levels, std::vector<uint8_t> numbers, std::vector<int64_t> parents)
    : levels_(std::move(levels)), numbers_(std::move(numbers)), parents_(std::move(parents)) {
  check_range("number of levels", static_cast<int64_t>(levels_.size()), 1, UINT8_MAX);
  check_equal("number of tables", static_cast<int64_t>(numbers_.size()), static_cast<int64_t>(levels_.size()) + 1);
  check_equal("number of parents", static_cast<int64_t>(parents_.size()), kBands);
  for (const int64_t parent : parents_) check_range("parent", parent, 0, kBands - 1);
  check_range("first level", levels_.front(), 1, INT32_MAX);
  for (size_t i = 1; i < levels_.size(); ++i) {
    check_range("level", levels_[i], int64_t{levels_[i - 1]} + (1 << kBinBits) + 1, INT32_MAX);
  }
  for (int64_t value = 0; value <= levels_.back(); value += 1 << kBinBits) {
    lowest_.push_back(static_cast<uint8_t>(std::upper_bound(levels_.begin(), levels_.end(), value) - levels_.begin()));
  }
}

void Tables::find(const int16_t* sizes, Known known, const Step& step, const std::vector<int32_t>& weights, Size size,
                  Run run, uint8_t* to) const {
  const Kernels kernels = kernels_of(run.level);
  const int64_t bands = step.last - step.first;
  std::vector<int32_t> nearest(size.blocks), mean(size.blocks);
  const auto plane = [&](const int16_t* of, int64_t band) { return of + (step.colour * kBands + band) * size.blocks; };
  kernels.sum(plane(sizes, step.before), step.first - step.before, size.blocks, size.blocks, nearest.data());
  kernels.sum(plane(known.near, step.first), bands, size.blocks, size.blocks, mean.data());
  for (int32_t& value : mean) value /= static_cast<int32_t>(bands);
  const Search job{sizes,           known,          step,        size,           weights_of(step, weights),
                   parents_.data(), nearest.data(), mean.data(), levels_.data(), static_cast<int32_t>(numbers_.size()),
                   numbers_.data(), lowest_.data(), to};
  parallel_for(size.rows, static_cast<double>(size.blocks * bands) * kFindNanoseconds, run.threads, [&](int64_t row) {
    std::vector<int32_t> scratch(2 * size.columns);
    kernels.find(job, row, scratch.data());
  });
}

}  // namespace pylatent::transform_residual
