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

// The words of a block, 31 bits each: `second` is for three classes.
struct Words {
  alignas(64) int32_t first[kBlock], second[kBlock];
};

template <class S, int Classes>
[[gnu::flatten]] void draw(const int64_t* key, int64_t first, int64_t count, Words& words) {
  const typename S::Rounds rounds(key);
  constexpr int kElements = Classes == 2 ? 4 : 2;  // of a Philox block
  for (int64_t i = 0; i < count; i += kElements * S::width) {
    typename S::I drawn[4];
    S::template words<Classes>(key, rounds, (first + i) / kElements, drawn);
    for (int j = 0; j < 4; ++j) {
      int32_t* to =
          Classes == 2 ? words.first + j * S::width : (j % 2 == 0 ? words.first : words.second) + j / 2 * S::width;
      S::store(to + i, S::template shift_right_logical<1>(drawn[j]));
    }
  }
}

template <class S, Method method, bool Slope, class Noise>
[[gnu::flatten]] void samples(const SgaSettings& settings, const Noise& noise, const float* v, float* value,
                              float* slope, int64_t count) {
  const Parameters<S> p(settings.tau, settings.a, settings.r, settings.rest, settings.n);
  for (int64_t i = 0; i < count; i += S::width) {
    const Sample<S> sample = noise.template sample<S, method>(S::load(v + i), i, p);
    S::store(value + i, sample.value);
    if (Slope) S::store(slope + i, sample.slope);
  }
}

template <int Classes>
struct DrawnNoise {
  const Words& words;

  template <class S, Method method>
  Sample<S> sample(typename S::F v, int64_t i, const Parameters<S>& p) const {
    const typename S::I first = S::load(words.first + i);
    if constexpr (Classes == 2) {
      return two_classes<S, method>(v, noise_of_two<S>(first), p);
    } else {
      typename S::F up, down;
      noise_of_three<S>(first, S::load(words.second + i), up, down);
      return three_classes<S, method>(v, up, down, p);
    }
  }
};

template <int Classes>
struct GivenNoise {
  const float *lowest, *next, *highest;

  template <class S, Method method>
  Sample<S> sample(typename S::F v, int64_t i, const Parameters<S>& p) const {
    const typename S::F low = S::load(lowest + i), middle = S::load(next + i);
    if constexpr (Classes == 2) {
      return two_classes<S, method>(v, middle - low, p);
    } else {
      return three_classes<S, method>(v, S::load(highest + i) - middle, low - middle, p);
    }
  }
};

template <class S, class T, Method method, int Classes, bool Slope>
void block(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t first, int64_t count,
           int64_t total) {
  const Input<S, T> v_in(static_cast<const T*>(v), count);
  Output<S, T> value_out(static_cast<T*>(value), count);
  Output<S, float> slope_out(slope, count);
  const int64_t padded = (count + kStep - 1) / kStep * kStep;
  const auto run = [&](const auto& noise) {
    samples<S, method, Slope>(settings, noise, v_in.data(), value_out.data(), slope_out.data(), padded);
  };
  if (settings.noise == nullptr) {
    Words words;
    draw<S, Classes>(settings.key, first, padded, words);
    run(DrawnNoise<Classes>{words});
  } else {
    const float* from = settings.noise + first;
    const Input<S, float> one(from, count), two(from + total, count), three(from + (Classes - 1) * total, count);
    run(GivenNoise<Classes>{one.data(), two.data(), three.data()});
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
