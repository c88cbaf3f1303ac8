#include "rans/lane_tables.h"

#include "common/checks.h"

namespace pylatent::rans {
namespace {

constexpr uint32_t kSlotUnit = 1 << kMinPrecision;
constexpr uint64_t kMaxSlots = uint64_t{2048} * kSlotUnit;  // 32 MiB, and 11 bits of decode_info

void check_row(const LaneTable& t, const int32_t* cdf, int64_t entries) {
  check_range("precision", t.precision, kMinPrecision, kMaxPrecision);
  check_range("extra", t.extra, 0, 16 - t.precision < kMaxExtra ? 16 - t.precision : kMaxExtra);
  check_range("count", t.count, 1, (int64_t{1} << (32 - 2 * t.precision)) - 1);
  check_equal("row size", entries, int64_t{t.count} + 2);
  check_equal("cdf", cdf[0], 0);
  for (uint32_t b = 0; b <= t.count; ++b) check_range("cdf", cdf[b + 1], int64_t{cdf[b]} + 1, 1 << t.precision);
  check_equal("cdf", cdf[t.count + 1], 1 << t.precision);
}

void fill_slots(const LaneTable& t, const int32_t* cdf, uint32_t* slots) {
  for (uint32_t b = 0; b <= t.count; ++b) {
    const uint32_t start = cdf[b], end = cdf[b + 1];
    const uint32_t fixed = (end - start) | b << (2 * t.precision);
    for (uint32_t s = start; s < end; ++s) slots[s] = fixed | (s - start) << t.precision;
  }
}

void find_likely(LaneTable& t, const int32_t* cdf) {
  for (uint32_t b = 1; b <= t.count; ++b) {
    const int32_t frequency = cdf[b + 1] - cdf[b];
    if (4 * frequency < 3 << t.precision) continue;
    t.likely_start = static_cast<uint16_t>(cdf[b]);
    t.likely_frequency = static_cast<uint16_t>(frequency);
    t.likely_low = t.low + static_cast<int32_t>((b - 1) << t.extra);
  }
}

bool fits_int16(int64_t v) { return v >= INT16_MIN && v <= INT16_MAX; }

void pack(LaneTables& t) {
  for (const LaneTable& r : t.rows) {
    if (!fits_int16(r.low) || !fits_int16(int64_t{r.low} - (1 << r.extra))) return;
  }
  for (const LaneTable& r : t.rows) {
    const uint32_t common = r.extra << 2 | (r.precision - kMinPrecision);
    t.encode_info.push_back(static_cast<uint32_t>(r.low) << 16 | r.count << 8 | common);
    t.decode_info.push_back(static_cast<uint32_t>(r.low - (1 << r.extra)) << 16 | r.first_slot / kSlotUnit << 5 |
                            common);
  }
}

}  // namespace

LaneTables make_lane_tables(int64_t k, const int32_t* precision, const int32_t* extra, const int32_t* low,
                            const int32_t* count, const int32_t* row, const int32_t* cdf, int64_t cdf_size,
                            const int64_t* entropy) {
  check_range("tables", k, 1, 1 << 16);
  LaneTables t;
  uint64_t slots = 0;
  for (int64_t i = 0; i < k; ++i) {
    check_range("row", row[i + 1], row[i], cdf_size);
    LaneTable r{low[i],
                static_cast<uint32_t>(count[i]),
                static_cast<uint32_t>(slots),
                static_cast<uint32_t>(row[i]),
                static_cast<uint8_t>(precision[i]),
                static_cast<uint8_t>(extra[i]),
                0,
                0,
                0};
    check_row(r, cdf + row[i], row[i + 1] - row[i]);
    find_likely(r, cdf + row[i]);
    t.rows.push_back(r);
    slots += uint64_t{1} << r.precision;
  }
  t.cdf.assign(cdf, cdf + cdf_size);
  t.entropy.assign(entropy, entropy + k);
  if (slots > kMaxSlots) return t;
  t.decode.resize(slots);
  t.encode.resize(k * kEncodeStride);
  for (int64_t i = 0; i < k; ++i) {
    const LaneTable& r = t.rows[i];
    const int32_t* c = cdf + r.first_cdf;
    fill_slots(r, c, t.decode.data() + r.first_slot);
    for (uint32_t b = 0; b <= r.count; ++b) t.encode[i * kEncodeStride + b] = (c[b + 1] - c[b]) | c[b] << 16;
  }
  pack(t);
  return t;
}

}  // namespace pylatent::rans
