// The loops over outputs, taps and channels, as templates over a vector type L (scalar, AVX2, AVX-512). Included once
// by each variant, and in an anonymous namespace, so that no code for newer CPUs is shared with the other variants.
#pragma once

#include "deform_conv2d/deform_conv2d_cpu.h"
#include "deform_conv2d/deform_conv2d_cpu_plan.h"

namespace pylatent::deform_conv2d {
namespace {

// Vectors of N channels as an array, for the compiler to vectorise. The members are what every L has.
template <class Type, int N>
struct Array {
  using T = Type;
  struct V {
    T at[N];
  };
  static constexpr int kWidth = N;

  static V set(T x) {
    V out;
    for (int i = 0; i < N; ++i) out.at[i] = x;
    return out;
  }
  static V load(const T* p) {
    V out;
    for (int i = 0; i < N; ++i) out.at[i] = p[i];
    return out;
  }
  static V load(const T* p, int n) {  // zeros from n on
    V out;
    for (int i = 0; i < N; ++i) out.at[i] = i < n ? p[i] : T(0);
    return out;
  }
  static void store(T* p, V v) {
    for (int i = 0; i < N; ++i) p[i] = v.at[i];
  }
  static void store(T* p, V v, int n) {
    for (int i = 0; i < n; ++i) p[i] = v.at[i];
  }
  static V multiply(V a, V b) {
    for (int i = 0; i < N; ++i) a.at[i] *= b.at[i];
    return a;
  }
  static V multiply_add(V a, V b, V c) {
    for (int i = 0; i < N; ++i) c.at[i] += a.at[i] * b.at[i];
    return c;
  }
  static void store_sums(T* p, V a, V b, V c, V d) {
    T sums[4] = {0, 0, 0, 0};
    for (int i = 0; i < N; ++i) {
      sums[0] += a.at[i];
      sums[1] += b.at[i];
      sums[2] += c.at[i];
      sums[3] += d.at[i];
    }
    for (int i = 0; i < 4; ++i) p[i] = sums[i];
  }

  static constexpr int kBlock = 1;  // of a transposition
  static void transpose_block(const T* from, int64_t, T* to, int64_t) { *to = *from; }
};

template <class L>
void gather(const Tile<typename L::T>& tile, int64_t begin, int64_t end) {
  using T = typename L::T;
  using V = typename L::V;
  const int64_t taps = tile.geometry.kernel_height * tile.geometry.kernel_width;
  for (int64_t first = begin; first < end; first += kGroup) {
    const Group<T> group(tile, first, end);
    each_offset_group(tile, 0, tile.channels, [&](int64_t, int64_t offset_group, int64_t from, int64_t to) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const Plan<T> plan(tile, group, offset_group, tap);
        for (int i = 0; i < group.count; ++i) {
          const T* corner[4];
          V weight[4];
          for (int k = 0; k < 4; ++k) {
            corner[k] = tile.input + plan.at[k][i] * tile.channels;
            weight[k] = L::set(plan.weight[k][i] * plan.mask[i]);
          }
          T* out = tile.columns + ((first + i) * taps + tap) * tile.channels;
          int64_t c = from;
          for (; c + L::kWidth <= to; c += L::kWidth) {
            V sum = L::multiply(weight[0], L::load(corner[0] + c));
            for (int k = 1; k < 4; ++k) sum = L::multiply_add(weight[k], L::load(corner[k] + c), sum);
            L::store(out + c, sum);
          }
          if (c < to) {
            const int n = static_cast<int>(to - c);
            V sum = L::multiply(weight[0], L::load(corner[0] + c, n));
            for (int k = 1; k < 4; ++k) sum = L::multiply_add(weight[k], L::load(corner[k] + c, n), sum);
            L::store(out + c, sum, n);
          }
        }
      }
    });
  }
}

// One output and tap in backward: the corners of its sample, and what happens to n channels of it.
template <class L, bool kInput, bool kDots>
struct Sample {
  using T = typename L::T;
  using V = typename L::V;
  const T* corner[4];
  T* grad_corner[4];
  V weight[4];
  V dot[4];

  template <class... N>  // nothing for a whole vector, else the number of channels
  void visit(T* column, int64_t c, N... n) {
    const V grad = L::load(column, n...);
    V sum = L::set(0);
    for (int k = 0; k < 4; ++k) {
      const V value = L::load(corner[k] + c, n...);
      sum = L::multiply_add(weight[k], value, sum);
      if (kDots) dot[k] = L::multiply_add(grad, value, dot[k]);
    }
    L::store(column, sum, n...);
    if (!kInput) return;
    for (int k = 0; k < 4; ++k) {  // one after the other: corners outside the picture share a row
      L::store(grad_corner[k] + c, L::multiply_add(weight[k], grad, L::load(grad_corner[k] + c, n...)), n...);
    }
  }
};

template <class L, bool kInput, bool kDots>
void scatter_as(const Tile<typename L::T>& tile, int64_t slice, int64_t begin, int64_t end) {
  using T = typename L::T;
  const int64_t taps = tile.geometry.kernel_height * tile.geometry.kernel_width;
  const int64_t groups = groups_touched(tile.first_channel, tile.channels, tile.channels_per_offset_group);
  for (int64_t first = 0; first < tile.pixels; first += kGroup) {
    const Group<T> group(tile, first, tile.pixels);
    each_offset_group(tile, begin, end, [&](int64_t index, int64_t offset_group, int64_t from, int64_t to) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const Plan<T> plan(tile, group, offset_group, tap);
        for (int i = 0; i < group.count; ++i) {
          Sample<L, kInput, kDots> sample;
          for (int k = 0; k < 4; ++k) {
            const int64_t at = plan.at[k][i] * tile.channels;
            sample.corner[k] = tile.input + at;
            if (kInput) sample.grad_corner[k] = tile.grad_input + at;
            sample.weight[k] = L::set(plan.weight[k][i] * plan.mask[i]);
            sample.dot[k] = L::set(0);
          }
          T* column = tile.columns + ((first + i) * taps + tap) * tile.channels;
          int64_t c = from;
          for (; c + L::kWidth <= to; c += L::kWidth) sample.visit(column + c, c);
          if (c < to) sample.visit(column + c, c, static_cast<int>(to - c));
          if (kDots) {
            T* dots = tile.dots + (((slice * groups + index) * taps + tap) * tile.pixels + first + i) * 4;
            L::store_sums(dots, sample.dot[0], sample.dot[1], sample.dot[2], sample.dot[3]);
          }
        }
      }
    });
  }
}

template <class L>
void scatter(const Tile<typename L::T>& tile, int64_t slice, int64_t begin, int64_t end) {
  if (tile.grad_input != nullptr && tile.dots != nullptr) return scatter_as<L, true, true>(tile, slice, begin, end);
  if (tile.grad_input != nullptr) return scatter_as<L, true, false>(tile, slice, begin, end);
  scatter_as<L, false, true>(tile, slice, begin, end);
}

template <class T>
void combine(const Tile<T>& tile, int64_t slices, int64_t begin, int64_t end) {
  const Geometry& g = tile.geometry;
  const int64_t taps = g.kernel_height * g.kernel_width, outputs = g.out_height * g.out_width;
  const int64_t groups = groups_touched(tile.first_channel, tile.channels, tile.channels_per_offset_group);
  for (int64_t first = begin; first < end; first += kGroup) {
    const Group<T> group(tile, first, end);
    each_offset_group(tile, 0, tile.channels, [&](int64_t index, int64_t offset_group, int64_t, int64_t) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const Plan<T> plan(tile, group, offset_group, tap);
        T dot[4][kGroup] = {};
        for (int64_t slice = 0; slice < slices; ++slice) {
          const T* dots = tile.dots + (((slice * groups + index) * taps + tap) * tile.pixels + first) * 4;
          for (int i = 0; i < group.count; ++i) {
            for (int k = 0; k < 4; ++k) dot[k][i] += dots[4 * i + k];
          }
        }
        const int64_t plane = offset_group * taps + tap, output = tile.first_pixel + first;
        T* grad_y = tile.grad_offset + 2 * plane * outputs + output;
        T* grad_x = grad_y + outputs;
        for (int i = 0; i < group.count; ++i) {
          const T d = plan.down[i], r = plan.right[i];
          grad_y[i] += plan.mask[i] * ((1 - r) * (dot[2][i] - dot[0][i]) + r * (dot[3][i] - dot[1][i]));
          grad_x[i] += plan.mask[i] * ((1 - d) * (dot[1][i] - dot[0][i]) + d * (dot[3][i] - dot[2][i]));
        }
        if (tile.grad_mask == nullptr) continue;
        T* grad_mask = tile.grad_mask + plane * outputs + output;
        for (int i = 0; i < group.count; ++i) {
          for (int k = 0; k < 4; ++k) grad_mask[i] += plan.weight[k][i] * dot[k][i];
        }
      }
    });
  }
}

template <class L>
void transpose(const Transpose<typename L::T>& all, int64_t i, int64_t begin, int64_t end) {
  using T = typename L::T;
  constexpr int64_t kBlock = L::kBlock;
  const T* from = all.from + i * all.from_stride;
  T* to = all.to + i * all.to_stride;
  const int64_t whole_rows = all.rows / kBlock * kBlock, whole = begin + (end - begin) / kBlock * kBlock;
  for (int64_t k = begin; k < whole; k += kBlock) {
    for (int64_t j = 0; j < whole_rows; j += kBlock) {
      L::transpose_block(from + j * all.from_row + k, all.from_row, to + k * all.to_row + j, all.to_row);
    }
    for (int64_t j = whole_rows; j < all.rows; ++j) {
      for (int64_t n = k; n < k + kBlock; ++n) to[n * all.to_row + j] = from[j * all.from_row + n];
    }
  }
  for (int64_t k = whole; k < end; ++k) {
    for (int64_t j = 0; j < all.rows; ++j) to[k * all.to_row + j] = from[j * all.from_row + k];
  }
}

template <class L>
Kernels<typename L::T> kernels_of() {
  return {&gather<L>, &scatter<L>, &combine<typename L::T>, &transpose<L>};
}

}  // namespace
}  // namespace pylatent::deform_conv2d
