// The loops of sga_sample over a SIMD policy S: included by the file of each level, which adds to the policy
//
//   words<Classes>(key, rounds, block, words)     the Philox words of blocks `block` ... `block` + S::width - 1
//   Rounds(key)                                   what it can compute beforehand
//
// Block b has the four words of elements 4 b ... 4 b + 3 for two classes; for three classes, two words for each of the
// elements 2 b and 2 b + 1. They come in the order of the elements: for two classes, words[j] belongs to elements
// j S::width ... (j + 1) S::width - 1; for three, words[2 j] and words[2 j + 1] do.
#pragma once

#include "common/simd_stage.h"
#include "sga/sga_kernel.h"
#include "sga/sga_math.h"

namespace pylatent::sga {
namespace {

template <class S, Method method, int Classes, bool Slope>
void samples(const SgaSettings& settings, const float* const (&noise)[3], const float* v, float* value, float* slope,
             int64_t first, int64_t count) {
  using F = typename S::F;
  const Parameters<S> p(settings.tau, settings.a, settings.r, settings.rest, settings.n);
  const typename S::Rounds rounds(settings.key);
  constexpr int kVectors = Classes == 2 ? 4 : 2;
  for (int64_t i = 0; i < count; i += kVectors * S::width) {
    F up[kVectors], down[kVectors];
    if (settings.key != nullptr) {
      typename S::I words[4];
      S::template words<Classes>(settings.key, rounds, (first + i) / kVectors, words);
      for (auto& word : words) word = S::template shift_right_logical<1>(word);
      for (int j = 0; j < kVectors; ++j) {
        if constexpr (Classes == 2) {
          up[j] = noise_of_two<S>(words[j]);
        } else {
          noise_of_three<S>(words[2 * j], words[2 * j + 1], up[j], down[j]);
        }
      }
    } else {
      for (int j = 0; j < kVectors; ++j) {
        const int64_t at = i + j * S::width;
        const F lowest = S::load(noise[0] + at), next = S::load(noise[1] + at);
        if constexpr (Classes == 2) {
          up[j] = next - lowest;
        } else {
          up[j] = S::load(noise[2] + at) - next;
          down[j] = lowest - next;
        }
      }
    }
    for (int j = 0; j < kVectors; ++j) {
      const int64_t at = i + j * S::width;
      Sample<S> sample;
      if constexpr (Classes == 2) {
        sample = two_classes<S, method>(S::load(v + at), up[j], p);
      } else {
        sample = three_classes<S, method>(S::load(v + at), up[j], down[j], p);
      }
      S::store(value + at, sample.value);
      if constexpr (Slope) S::store(slope + at, sample.slope);
    }
  }
}

template <class S, class T, Method method, int Classes, bool Slope>
void block(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t first, int64_t count,
           int64_t total) {
  const Input<S, T> v_in(static_cast<const T*>(v), count);
  Output<S, T> value_out(static_cast<T*>(value), count);
  Output<S, float> slope_out(slope, count);
  const int64_t padded = (count + kStep - 1) / kStep * kStep;
  const auto run = [&](const float* const(&noise)[3]) {
    samples<S, method, Classes, Slope>(settings, noise, v_in.data(), value_out.data(), slope_out.data(), first, padded);
  };
  if (settings.noise == nullptr) {
    run({nullptr, nullptr, nullptr});
  } else {
    const float* from = settings.noise + first;
    const Input<S, float> one(from, count), two(from + total, count);
    const Input<S, float> three(from + (Classes - 1) * total, count);
    run({one.data(), two.data(), three.data()});
  }
  value_out.finish();
  if (Slope) slope_out.finish();
}

template <class S, class T, Method method>
Kernel kernel_of(int classes, bool slope) {
  if (classes == 2) return slope ? block<S, T, method, 2, true> : block<S, T, method, 2, false>;
  return slope ? block<S, T, method, 3, true> : block<S, T, method, 3, false>;
}

template <class S, class T>
Kernel kernel_of(int method, int classes, bool slope) {
  switch (static_cast<Method>(method)) {
    case Method::atanh:
      return kernel_of<S, T, Method::atanh>(classes, slope);
    case Method::linear:
      return kernel_of<S, T, Method::linear>(classes, slope);
    case Method::cosine:
      return kernel_of<S, T, Method::cosine>(classes, slope);
    default:
      return kernel_of<S, T, Method::ssl>(classes, slope);
  }
}

template <class S>
Kernel kernel_of(const SgaSettings& settings, Dtype dtype, bool slope) {
  switch (dtype) {
    case Dtype::float32:
      return kernel_of<S, float>(settings.method, settings.classes, slope);
    case Dtype::float16:
      return kernel_of<S, f16>(settings.method, settings.classes, slope);
    case Dtype::bfloat16:
      return kernel_of<S, bf16>(settings.method, settings.classes, slope);
    default:
      unsupported_dtype("sga_sample", dtype);
  }
}

}  // namespace
}  // namespace pylatent::sga
