// Values of a step: chosen by an encoder, and put where the next steps see them.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>

#include "common/checks.h"
#include "common/parallel.h"
#include "transform_residual/transform_residual.h"

namespace pylatent::transform_residual {
namespace {

constexpr int32_t kLargestSize = 255;
constexpr double kPutNanoseconds = 2, kChooseNanoseconds = 4;  // of a coefficient

// at(value, place): for every row, the number of each of its coefficients in the step and its place in the picture.
template <class Fn>
void for_places(const Step& step, Size size, int64_t row, Fn&& at) {
  const int64_t odd = step.second ? 1 : 0, blocks = (size.blocks + 1 - odd) / 2;
  for (int64_t band = step.first; band < step.last; ++band) {
    const int64_t place = (step.colour * kBands + band) * size.blocks + row * size.columns;
    int64_t value = (band - step.first) * blocks + (row * size.columns + 1 - odd) / 2;
    for (int64_t x = (row + odd) % 2; x < size.columns; x += 2, ++value) at(value, place + x);
  }
}

double work(const Step& step, Size size, double nanoseconds) {
  return static_cast<double>((step.last - step.first) * size.blocks / 2) * nanoseconds;
}

int16_t size_of_value(int32_t value) { return static_cast<int16_t>(std::min(kUnit * std::abs(value), kLargestSize)); }

}  // namespace

bool put(const int32_t* values, int32_t largest, const Step& step, Size size, int threads, int16_t* coded,
         int16_t* sizes) {
  std::atomic<bool> within{true};
  parallel_for(size.rows, work(step, size, kPutNanoseconds), threads, [&](int64_t row) {
    bool beyond = false;
    for_places(step, size, row, [&](int64_t number, int64_t place) {
      const int32_t value = values[number];
      beyond |= value < -largest || value > largest;
      coded[place] = static_cast<int16_t>(value);
      sizes[place] = size_of_value(value);
    });
    if (beyond) within.store(false, std::memory_order_relaxed);
  });
  return within.load();
}

void choose(const int16_t* coefficients, int32_t quantum, const uint8_t* tables, const Prices& prices, const Step& step,
            Size size, int threads, int16_t* values, int16_t* coded, int16_t* sizes) {
  parallel_for(size.rows, work(step, size, kChooseNanoseconds), threads, [&](int64_t row) {
    for_places(step, size, row, [&](int64_t number, int64_t place) {
      const int32_t wanted = std::abs(int32_t{coefficients[place]});
      int32_t near = 0;
      if (2 * wanted >= quantum) {
        check_range("table", tables[number], 0, prices.tables - 1);
        const double exact = static_cast<double>(wanted) / quantum;
        near = std::min(static_cast<int32_t>(std::floor(exact + 0.5)), prices.largest);
        // Squared distance of the next value, less that of this one.
        const double farther = 2 * (exact - near) + 1;
        if (farther < prices.saved[tables[number] * (prices.largest + 1) + near]) --near;
      }
      const int32_t value = coefficients[place] < 0 ? -near : near;
      values[number] = coded[place] = static_cast<int16_t>(value);
      sizes[place] = size_of_value(value);
    });
  });
}

}  // namespace pylatent::transform_residual
