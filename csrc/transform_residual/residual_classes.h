// Transformed residuals: the classes of coefficients that are next, from all that is known of them (docs/format.md,
// "Transformed residual"); the integers of pylatent/transform_residual/context.py, sooner.
#pragma once

#include <cstdint>
#include <vector>

namespace pylatent::transform_residual {

constexpr int64_t kColours = 3, kBands = 64;

// Of a band of rows with height x width blocks: sizes of what is coded so far, and of what the codec decodes, up to a
// nearer and a farther limit, (3, 64, height, width); `busy`, the mean of `near` in a block, (3, height, width).
struct Known {
  const int16_t *sizes, *near, *far;
  const int32_t* busy;
  int64_t height, width;
};

// Bands first to last - 1, the group before them from `before` on, in one colour, and the blocks whose row and column
// add up to an even or, if `second`, an odd number.
struct Step {
  int64_t before, first, last, colour;
  bool second;
};

class Classes {
 public:
  // levels: where each class but the first begins, ascending, and more than 64 apart.
  explicit Classes(std::vector<int32_t> levels);

  // weights: a constant, then one a feature. parents: of all bands. to: (bands, blocks of the step), row by row.
  // Throws std::invalid_argument for another number of weights.
  void find(const Known& known, const Step& step, const std::vector<int32_t>& weights,
            const std::vector<int64_t>& parents, int threads, uint8_t* to) const;

 private:
  std::vector<int32_t> levels_;
  std::vector<uint8_t> lowest_;  // class at the beginning of every 64 values

  uint8_t of(int32_t expected) const;
};

// The values of a step (bands, blocks) into `coded`, and 16 times their sizes, at most 255, into `sizes`, both
// (3, 64, height, width). Values beyond 16 bits must have been refused.
void put(const int32_t* values, const Step& step, int64_t height, int64_t width, int16_t* coded, int16_t* sizes);

}  // namespace pylatent::transform_residual
