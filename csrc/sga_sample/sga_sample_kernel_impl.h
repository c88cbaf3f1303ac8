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
#include "sga_sample/sga_sample_kernel.h"
#include "sga_sample/sga_sample_math.h"

namespace pylatent::sga {
namespace {

// The words of a block, 31 bits each, and its noise to base 2: with two classes that of ceil less that of floor, in
// `up`; with three, that of k + 1 and of k - 1 less that of k.
struct Words {
  alignas(64) int32_t first[kBlock], second[kBlock];
};
struct Noise {
  alignas(64) float up[kBlock], down[kBlock];
};

// In two loops: compilers make vectors of the second one's, where S is one lane.
template <class S, int Classes>
[[gnu::flatten]] void draw(const int64_t* key, int64_t first, int64_t count, Noise& noise) {
  Words words;
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
  for (int64_t i = 0; i < count; i += S::width) {
    if constexpr (Classes == 2) {
      S::store(noise.up + i, noise_of_two<S>(S::load(words.first + i)));
    } else {
      typename S::F up, down;
      noise_of_three<S>(S::load(words.first + i), S::load(words.second + i), up, down);
      S::store(noise.up + i, up);
      S::store(noise.down + i, down);
    }
  }
}

// `given`: the noise of the first class; `stride`: from class to class.
template <class S>
void take(const float* given, int64_t stride, int classes, int64_t count, Noise& noise) {
  const Input<S, float> lowest(given, count), next(given + stride, count);
  const Input<S, float> highest(given + (classes - 1) * stride, count);
  for (int64_t i = 0; i < (count + kStep - 1) / kStep * kStep; i += S::width) {
    const typename S::F low = S::load(lowest.data() + i), middle = S::load(next.data() + i);
    const typename S::F up = classes == 2 ? middle - low : S::load(highest.data() + i) - middle;
    S::store(noise.up + i, S::set(kLog2e) * up);
    S::store(noise.down + i, S::set(kLog2e) * (low - middle));
  }
}

using Samples = void (*)(const SgaSettings& settings, const Noise& noise, const float* v, float* value, float* slope,
                         int64_t count);

template <class S, Method method, bool Slope>
[[gnu::flatten]] void samples_of_two(const SgaSettings& settings, const Noise& noise, const float* v, float* value,
                                     float* slope, int64_t count) {
  const Parameters<S> p(settings.tau, settings.a, settings.r, settings.rest, settings.n);
  for (int64_t i = 0; i < count; i += S::width) {
    const Sample<S> sample = two_classes<S, method>(S::load(v + i), S::load(noise.up + i), p);
    S::store(value + i, sample.value);
    if (Slope) S::store(slope + i, sample.slope);
  }
}

// What `logits` gives for a block.
struct Stored {
  alignas(64) float up[kBlock], down[kBlock], middle_slope[kBlock], up_slope[kBlock], down_slope[kBlock];
};

// In two loops: a vector's chain of operations is as long as what a processor looks ahead, and halves of it overlap.
template <class S, Method method, bool Slope>
[[gnu::flatten]] void samples_of_three(const SgaSettings& settings, const Noise& noise, const float* v, float* value,
                                       float* slope, int64_t count) {
  const Parameters<S> p(settings.tau, settings.a, settings.r, settings.rest, settings.n);
  Stored stored;
  for (int64_t i = 0; i < count; i += S::width) {
    const typename S::F x = S::load(v + i);
    const Logits<S> l = logits_at<S, method>(x, S::round(x), p);
    S::store(stored.up + i, l.up);
    S::store(stored.down + i, l.down);
    if (Slope) {
      S::store(stored.middle_slope + i, l.middle_slope);
      S::store(stored.up_slope + i, l.up_slope);
      S::store(stored.down_slope + i, l.down_slope);
    }
  }
  for (int64_t i = 0; i < count; i += S::width) {
    const typename S::F x = S::load(v + i), zero = S::set(0.0f);
    Logits<S> l = {S::load(stored.up + i), S::load(stored.down + i), zero, zero, zero};
    if (Slope) {
      l.middle_slope = S::load(stored.middle_slope + i);
      l.up_slope = S::load(stored.up_slope + i);
      l.down_slope = S::load(stored.down_slope + i);
    }
    const Sample<S> sample = three_classes<S>(x, S::round(x), l, S::load(noise.up + i), S::load(noise.down + i), p);
    S::store(value + i, sample.value);
    if (Slope) S::store(slope + i, sample.slope);
  }
}

template <class S, Method method>
Samples samples_of(int classes, bool slope) {
  if (classes == 2) return slope ? samples_of_two<S, method, true> : samples_of_two<S, method, false>;
  return slope ? samples_of_three<S, method, true> : samples_of_three<S, method, false>;
}

template <class S>
Samples samples_of(Method method, int classes, bool slope) {
  switch (method) {
    case Method::atanh:
      return samples_of<S, Method::atanh>(classes, slope);
    case Method::linear:
      return samples_of<S, Method::linear>(classes, slope);
    case Method::cosine:
      return samples_of<S, Method::cosine>(classes, slope);
    default:
      return samples_of<S, Method::ssl>(classes, slope);
  }
}

template <class S, class T>
void block(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t first, int64_t count,
           int64_t total) {
  const Input<S, T> v_in(static_cast<const T*>(v), count);
  Output<S, T> value_out(static_cast<T*>(value), count);
  Output<S, float> slope_out(slope, count);
  const int64_t padded = (count + kStep - 1) / kStep * kStep;
  Noise noise;
  if (settings.noise != nullptr) {
    take<S>(settings.noise + first, total, settings.classes, count, noise);
  } else if (settings.classes == 2) {
    draw<S, 2>(settings.key, first, padded, noise);
  } else {
    draw<S, 3>(settings.key, first, padded, noise);
  }
  const Samples run = samples_of<S>(static_cast<Method>(settings.method), settings.classes, slope != nullptr);
  run(settings, noise, v_in.data(), value_out.data(), slope_out.data(), padded);
  value_out.finish();
  if (slope != nullptr) slope_out.finish();
}

template <class S>
Kernel kernel_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return block<S, float>;
    case Dtype::float16:
      return block<S, f16>;
    case Dtype::bfloat16:
      return block<S, bf16>;
    default:
      unsupported_dtype("sga_sample", dtype);
  }
}

}  // namespace
}  // namespace pylatent::sga
