#include "rans/lane_stream.h"

#include <algorithm>

#include "common/parallel.h"
#include "rans/lane_segment.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace pylatent::rans {
namespace {

constexpr double kSymbol = 1.2;  // nanoseconds, of either direction

constexpr int kMaxLanesLog2 = 6;
constexpr int kEscapes = 8, kSegments = 16;
constexpr int64_t kMaxSegments = 256;
// How the encoder chooses; a decoder does not depend on these.
constexpr int64_t kSamples = 4096;
constexpr int64_t kBitsPerLane = 24000;
constexpr int64_t kBitsPerSegment = int64_t{1} << 21;

// Asks for 2 MiB pages under a large output. A fresh allocation is mapped page by page as it is written, which in pages
// of 4 KiB can take longer than decoding into it.
void prefer_large_pages([[maybe_unused]] void* data, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

struct Plan {
  int lanes_log2 = 0;
  int64_t segments = 1;
};

Plan make_plan(const LaneTables& tables, const Array& indexes, int64_t n) {
  int64_t sum = 0, count = 0;
  for (int64_t i = 0, step = n / kSamples | 1; i < n; i += step, ++count) {
    const int32_t k = element(indexes, i);
    if (k < 0 || k >= tables.size()) throw_index(indexes, i, tables.size());
    sum += tables.entropy[k];
  }
  const int64_t bits = sum / count * n >> 16;
  Plan plan;
  plan.segments = std::min({std::max<int64_t>(bits / kBitsPerSegment, 1), kMaxSegments, n});
  const int64_t lanes = bits / plan.segments / kBitsPerLane;
  while (plan.lanes_log2 < kMaxLanesLog2 && lanes >> (plan.lanes_log2 + 1)) ++plan.lanes_log2;
  return plan;
}

int64_t cut(int64_t n, int64_t i, int64_t segments) { return n * i / segments; }

std::string varint(uint64_t v) {
  std::string out;
  for (; v >= 128; v >>= 7) out.push_back(static_cast<char>((v & 127) | 128));
  out.push_back(static_cast<char>(v));
  return out;
}

// At most 5 bytes, in the shortest form.
int64_t read_varint(const uint8_t*& p, const uint8_t* end) {
  int64_t v = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    if (p == end) throw FormatProblem("the stream ends within a number");
    const uint8_t byte = *p++;
    v |= int64_t{byte & 127} << shift;
    if (byte >= 128) continue;
    if (byte == 0 && shift > 0) break;
    return v;
  }
  throw FormatProblem("a number is longer than it needs to be");
}

struct Span {
  const uint8_t* begin;
  const uint8_t* end;
};

struct Header {
  int lanes;
  bool escapes;
  std::vector<Span> segments;
};

Header read_header(const uint8_t* p, int64_t bytes, int64_t n) {
  const uint8_t* const end = p + bytes;
  if (bytes == 0) throw FormatProblem("the stream is empty");
  const int head = *p++;
  if ((head & 7) > kMaxLanesLog2 || head >> 5) {
    throw FormatProblem("the first byte of the stream is " + std::to_string(head) +
                        ", which this version does not know");
  }
  Header h{1 << (head & 7), (head & kEscapes) != 0, {}};
  std::vector<int64_t> lengths;
  if (head & kSegments) {
    const int64_t segments = read_varint(p, end);
    if (segments < 2 || segments > std::min(kMaxSegments, n)) {
      throw FormatProblem("the stream declares " + std::to_string(segments) + " segments for " + std::to_string(n) +
                          " symbols");
    }
    for (int64_t i = 1; i < segments; ++i) lengths.push_back(read_varint(p, end));
  }
  for (int64_t length : lengths) {
    if (length > end - p) throw FormatProblem("the segments are longer than the stream");
    h.segments.push_back({p, p + length});
    p += length;
  }
  h.segments.push_back({p, end});
  return h;
}

void decode_part(const LaneTables& tables, const DecodeItem& item, const Header& h, int64_t segment) {
  const int64_t count = static_cast<int64_t>(h.segments.size());
  auto [p, end] = h.segments[segment];
  const int64_t escapes = h.escapes ? read_varint(p, end) : 0;
  if (escapes > end - p) throw FormatProblem("the escapes are longer than their segment");
  decode_segment(tables, item, cut(item.size, segment, count), cut(item.size, segment + 1, count), h.lanes, p,
                 end - p - escapes, end - escapes, escapes);
}

Pieces join(const Plan& plan, std::vector<CodedSegment>& parts) {
  const bool escapes =
      std::any_of(parts.begin(), parts.end(), [](const CodedSegment& p) { return !p.escapes.empty(); });
  std::string head(1,
                   static_cast<char>(plan.lanes_log2 | (escapes ? kEscapes : 0) | (plan.segments > 1 ? kSegments : 0)));
  if (plan.segments > 1) head += varint(plan.segments);
  Pieces out(1);
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string front = escapes ? varint(parts[i].escapes.size()) : std::string();
    if (i + 1 < parts.size()) head += varint(front.size() + parts[i].coded.size() + parts[i].escapes.size());
    if (!front.empty()) out.push_back(std::move(front));
    out.push_back(std::move(parts[i].coded));
    if (!parts[i].escapes.empty()) out.push_back(std::move(parts[i].escapes));
  }
  out[0] = std::move(head);
  return out;
}

// Runs fn, and puts the number of the item before its error where there are several.
template <class Fn>
void for_item(int64_t item, size_t items, Fn&& fn) {
  const std::string where = items > 1 ? "item " + std::to_string(item) + ": " : "";
  try {
    fn();
  } catch (const FormatProblem& problem) {
    throw FormatProblem(where + problem.what());
  } catch (const IndexProblem& problem) {
    throw IndexProblem(where + problem.what());
  }
}

}  // namespace

std::vector<Pieces> encode_streams(const LaneTables& tables, const std::vector<EncodeItem>& items, int threads) {
  struct Task {
    int64_t item, segment;
  };
  std::vector<Plan> plans(items.size());
  std::vector<std::vector<CodedSegment>> parts(items.size());
  std::vector<Task> tasks;
  double symbols = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].size == 0) continue;
    symbols += static_cast<double>(items[i].size);
    for_item(i, items.size(), [&] { plans[i] = make_plan(tables, items[i].indexes, items[i].size); });
    parts[i].resize(plans[i].segments);
    for (int64_t s = 0; s < plans[i].segments; ++s) tasks.push_back({static_cast<int64_t>(i), s});
  }
  parallel_for(tasks.size(), kSymbol * symbols, threads, [&](int64_t t) {
    const auto [i, s] = tasks[t];
    const EncodeItem& item = items[i];
    const int64_t count = plans[i].segments;
    for_item(i, items.size(), [&, i = i, s = s] {
      parts[i][s] = encode_segment(tables, item, cut(item.size, s, count), cut(item.size, s + 1, count),
                                   1 << plans[i].lanes_log2);
    });
  });
  std::vector<Pieces> out;
  for (size_t i = 0; i < items.size(); ++i) {
    out.push_back(items[i].size == 0 ? Pieces{std::string(1, '\0')} : join(plans[i], parts[i]));
  }
  return out;
}

void decode_streams(const LaneTables& tables, const std::vector<DecodeItem>& items, int threads) {
  struct Task {
    int64_t item, segment;
  };
  std::vector<Header> headers(items.size());
  std::vector<Task> tasks;
  double symbols = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const DecodeItem& item = items[i];
    symbols += static_cast<double>(item.size);
    for_item(i, items.size(), [&] {
      if (item.size > 0) {
        prefer_large_pages(item.symbols, 4 * item.size);
        headers[i] = read_header(item.data, item.bytes, item.size);
      } else if (item.bytes != 1 || item.data[0] != 0) {
        throw FormatProblem("a stream of no symbols must be one zero byte, got " + std::to_string(item.bytes) +
                            " bytes");
      }
    });
    for (size_t s = 0; s < headers[i].segments.size(); ++s) {
      tasks.push_back({static_cast<int64_t>(i), static_cast<int64_t>(s)});
    }
  }
  parallel_for(tasks.size(), kSymbol * symbols, threads, [&](int64_t t) {
    const auto [i, s] = tasks[t];
    for_item(i, items.size(), [&, i = i, s = s] { decode_part(tables, items[i], headers[i], s); });
  });
}

}  // namespace pylatent::rans
