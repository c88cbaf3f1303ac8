// Errors as large as the CUDA programming guide ("Intrinsic functions") and the PTX manual (ex2, lg2 and
// rcp.approx.ftz) allow, so that no test leans on an exact result.
#include <cmath>

#include "common/device_emulated.h"

namespace pylatent {
namespace {

// A number in [-1, 1] that depends on the bits alone.
float scatter(float x) {
  uint32_t bits = bit_cast<uint32_t>(x) * 0x9E3779B9u;
  bits ^= bits >> 15;
  return static_cast<float>(static_cast<int32_t>(bits * 0x85EBCA6Bu)) * 0x1p-31f;
}

constexpr float ulp = 0x1p-23f;

// Denormal arguments and results of .ftz are zeros.
float flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

}  // namespace

float fast_exp(float x) {
  const float ulps = 2 + std::floor(std::fabs(1.173f * x));
  const float y = std::exp(x);
  return std::isfinite(y) ? y * (1 + scatter(x) * ulps * ulp) : y;
}

float fast_log(float x) {
  const float y = std::log(x);
  if (!std::isfinite(y)) return y;
  return x >= 0.5f && x <= 2.0f ? y + scatter(x) * 3.6e-7f : y * (1 + scatter(x) * 3 * ulp);
}

float fast_exp2(float x) {
  const float y = std::exp2(x);
  return std::isfinite(y) ? flush(y * (1 + scatter(x) * 2 * ulp)) : y;
}

float fast_log2(float x) {
  const float y = std::log2(flush(x));
  if (!std::isfinite(y)) return y;
  return x >= 0.5f && x <= 2.0f ? y + scatter(x) * 0x1p-22f : y * (1 + scatter(x) * 2 * ulp);
}

float fast_divide(float a, float b) {
  const float magnitude = std::fabs(b);
  if (magnitude > 0x1p126f && std::isfinite(magnitude)) return std::isinf(a) ? NAN : 0.0f;
  const float reciprocal = 1 / flush(b), y = a * reciprocal;
  return std::isfinite(y) ? y * (1 + scatter(a + b) * 2 * ulp) : y;
}

}  // namespace pylatent
