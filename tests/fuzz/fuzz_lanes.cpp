// Hostile bytes for the lane decoder: random tables and streams, damaged in many ways, must decode to the very symbols
// that were coded or be refused, without touching memory that is not theirs.
//
//   g++ -g -O1 -std=c++17 -fsanitize=address,undefined -fno-sanitize-recover=all -Icsrc \
//       tests/fuzz/fuzz_lanes.cpp csrc/rans/lane_[stde]*.cpp csrc/common/{cpu,parallel}.cpp -ldl -pthread -o fuzz_lanes
//   PYLATENT_SIMD=avx2 ./fuzz_lanes <seed> <number of damaged streams>
//
// (for the SIMD kernels, compile lane_avx2.cpp and lane_avx512.cpp with the options that CMakeLists.txt gives them)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "common/cpu.h"
#include "rans/lane_stream.h"

using namespace pylatent::rans;

namespace {

std::mt19937_64 rng;

int64_t below(int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }

LaneTables random_tables() {
  const int64_t k = 1 + below(below(4) ? 70 : 300);
  std::vector<int32_t> precision, extra, low, count, row{0}, cdf;
  std::vector<int64_t> entropy;
  for (int64_t i = 0; i < k; ++i) {
    const int p = 12 + static_cast<int>(below(4));
    const int limit = (1 << (32 - 2 * p)) - 1, bins = 1 + static_cast<int>(below(limit));
    precision.push_back(p);
    extra.push_back(static_cast<int>(below(std::min(4, 16 - p) + 1)));
    low.push_back(static_cast<int>(below(600)) - 300 + (below(400) == 0 ? 1 << 20 : 0));
    count.push_back(bins);
    std::vector<bool> cut(1 << p);
    for (int b = 0; b < bins;) {
      const int64_t at = 1 + below((1 << p) - 1);
      if (!cut[at]) cut[at] = true, ++b;
    }
    cdf.push_back(0);
    for (int s = 1; s < 1 << p; ++s) {
      if (cut[s]) cdf.push_back(s);
    }
    cdf.push_back(1 << p);
    row.push_back(static_cast<int32_t>(cdf.size()));
    entropy.push_back(below(8 << 16));
  }
  return make_lane_tables(k, precision.data(), extra.data(), low.data(), count.data(), row.data(), cdf.data(),
                          static_cast<int64_t>(cdf.size()), entropy.data());
}

void damage(std::string& data) {
  const int64_t size = static_cast<int64_t>(data.size());
  switch (below(8)) {
    case 0:
      data.resize(below(size));
      break;
    case 1:
      for (int64_t i = 1 + below(9); i > 0; --i) data.push_back(static_cast<char>(rng()));
      break;
    case 2:
      data.erase(below(size), 1 + below(4));
      break;
    case 3:
      data.insert(below(size), std::string(1 + below(4), static_cast<char>(rng())));
      break;
    case 4:
      for (char& c : data) c = static_cast<char>(rng());
      break;
    case 5:
      data[below(std::min<int64_t>(size, 12))] = static_cast<char>(rng());
      break;
    default:
      for (int64_t i = 1 + below(3); i > 0; --i) data[below(size)] ^= static_cast<char>(1 << below(8));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  const int64_t runs = argc > 2 ? std::atoll(argv[2]) : 10000;
  rng.seed(seed);
  int64_t refused = 0, same = 0, other = 0;
  while (refused + same + other < runs) {
    const LaneTables tables = random_tables();
    const int64_t n = 1 + below(below(3) ? 400 : 60000);
    // Exact heap blocks, so that the sanitizer sees a single byte too many.
    const std::unique_ptr<int32_t[]> symbols(new int32_t[n]), out(new int32_t[n]);
    const std::unique_ptr<uint16_t[]> indexes(new uint16_t[n]);
    for (int64_t i = 0; i < n; ++i) {
      indexes[i] = static_cast<uint16_t>(below(tables.size()));
      const LaneTable& t = tables.rows[indexes[i]];
      symbols[i] = t.low + static_cast<int32_t>(below(int64_t{t.count} << t.extra));
      if (below(300) == 0) symbols[i] = static_cast<int32_t>(rng());
    }
    const Array which{indexes.get(), Dtype::int16};
    const auto pieces = encode_streams(tables, {{{symbols.get(), Dtype::int32}, which, n}}, 1);
    std::string whole;
    for (const std::string& piece : pieces[0]) whole += piece;
    for (int i = 0; i < (n > 400 ? 20 : 300); ++i) {
      std::string data = whole;
      if (i > 0) damage(data);
      const std::unique_ptr<uint8_t[]> bytes(new uint8_t[data.size()]);
      std::copy(data.begin(), data.end(), bytes.get());
      std::fill(out.get(), out.get() + n, -1);
      try {
        decode_streams(tables, {{bytes.get(), static_cast<int64_t>(data.size()), which, out.get(), n}}, 1);
        if (std::equal(out.get(), out.get() + n, symbols.get())) {
          ++same;
        } else {
          ++other;
        }
        if (i == 0 && !std::equal(out.get(), out.get() + n, symbols.get())) std::abort();
      } catch (const FormatProblem&) {
        if (i == 0) std::abort();
        ++refused;
      }
    }
  }
  std::printf("%s seed %llu: %lld refused, %lld decoded unchanged, %lld decoded to other symbols\n",
              pylatent::simd_name(pylatent::simd_level()), static_cast<unsigned long long>(seed),
              static_cast<long long>(refused), static_cast<long long>(same), static_cast<long long>(other));
}
