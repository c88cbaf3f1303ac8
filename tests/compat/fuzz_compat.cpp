// Standalone fuzzer of the CompressAI-compatible coder, for sanitizers:
//   g++ -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover -Icsrc tests/compat/fuzz_compat.cpp
//       csrc/rans/compat_*.cpp -o fuzz_compat && ./fuzz_compat 1000000
// Every round codes random symbols with random tables, checks the round trip, then damages the bytes and decodes again.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "rans/compat_decoder.h"
#include "rans/compat_encoder.h"
#include "rans/compat_pmf.h"

using namespace pylatent::compat;

namespace {

std::mt19937_64 rng(1);

int64_t below(int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }

std::shared_ptr<const Tables> random_tables(int64_t rows) {
  std::vector<int32_t> values, sizes, offsets;
  std::vector<int64_t> begin{0};
  for (int64_t k = 0; k < rows; ++k) {
    std::vector<float> pmf(static_cast<size_t>(2 + below(below(8) ? 30 : 900)));
    const bool sparse = below(2);
    for (float& p : pmf) p = sparse && below(4) ? 0.0f : static_cast<float>(rng() % 1000) * 1e-4f;
    pmf[0] += 1;
    const std::vector<int32_t> cdf = quantize_pmf(pmf.data(), pmf.size(), kPrecision);
    values.insert(values.end(), cdf.begin(), cdf.end());
    begin.push_back(static_cast<int64_t>(values.size()));
    sizes.push_back(static_cast<int32_t>(cdf.size()));
    offsets.push_back(static_cast<int32_t>(below(2001) - 1000));
  }
  return std::make_shared<Tables>(values.data(), begin.data(), sizes.data(), offsets.data(), rows);
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::abort();
}

void damage(std::vector<uint8_t>& bytes) {
  switch (below(4)) {
    case 0:
      bytes[static_cast<size_t>(below(static_cast<int64_t>(bytes.size())))] ^= static_cast<uint8_t>(1u << below(8));
      break;
    case 1:
      bytes.resize(static_cast<size_t>(below(static_cast<int64_t>(bytes.size()))));
      break;
    case 2:
      bytes.push_back(static_cast<uint8_t>(rng()));
      break;
    default:
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 100000;
  long refused = 0;
  std::shared_ptr<const Tables> tables;
  for (long round = 0; round < rounds; ++round) {
    if (round % 50 == 0) tables = random_tables(below(40) ? 1 + below(6) : 1025);
    const size_t n = static_cast<size_t>(below(60));
    std::vector<int32_t> symbols(n), indexes(n), decoded(n);
    for (size_t i = 0; i < n; ++i) {
      indexes[i] = static_cast<int32_t>(below(tables->count()));
      const int shift = static_cast<int>(below(3) ? 24 + below(8) : below(32));
      symbols[i] = static_cast<int32_t>(static_cast<int32_t>(rng()) >> shift);
    }
    try {
      const Stream stream = encode(symbols.data(), indexes.data(), n, *tables);
      BufferedEncoder buffered;
      const size_t half = n / 2;
      buffered.append(symbols.data(), indexes.data(), half, tables);
      buffered.append(symbols.data() + half, indexes.data() + half, n - half, tables);
      const Stream same = buffered.flush();
      const uint8_t* first = reinterpret_cast<const uint8_t*>(stream.begin);
      std::vector<uint8_t> bytes(first, first + stream.bytes());
      require(same.bytes() == bytes.size() && std::memcmp(same.begin, first, bytes.size()) == 0, "buffered encoder");
      Decoder decoder(bytes.data(), bytes.size());
      decoder.decode(indexes.data(), n, *tables, decoded.data());
      decoder.expect_end();
      require(decoded == symbols, "round trip");
      damage(bytes);
      if (n > 0 && below(20) == 0)
        indexes[static_cast<size_t>(below(static_cast<int64_t>(n)))] = static_cast<int32_t>(rng());
      const std::vector<uint8_t> exact(bytes);  // no spare capacity behind the last byte
      Decoder hostile(exact.data(), exact.size());
      hostile.decode(indexes.data(), n, *tables, decoded.data());
      hostile.expect_end();
    } catch (const FormatError&) {
      ++refused;
    } catch (const std::out_of_range&) {
      ++refused;
    } catch (const std::invalid_argument&) {  // an escape beyond 32 bits
      ++refused;
    }
  }
  std::printf("%ld rounds, %ld refused\n", rounds, refused);
}
