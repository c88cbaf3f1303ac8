#include "integer_conv/conv_variants.h"

#include "common/checks.h"
#include "common/cpu.h"
#include "integer_conv/conv_trial.h"

namespace pylatent::integers {
namespace {

struct Variant {
  const char* name;
  Level level;
  Kernels kernels;
};

std::vector<Variant> find_variants() {
  std::vector<Variant> found;
#ifdef PYLATENT_X86_SIMD
  if (simd_level() >= Simd::avx2) found.push_back({"amx-model", Level::amx_model, amx_model_kernels()});
#endif
  found.push_back({"scalar", Level::scalar, scalar_kernels()});
#ifdef PYLATENT_X86_SIMD
  found.push_back({"sse2", Level::sse2, sse2_kernels()});
  if (simd_level() >= Simd::avx2) {
    found.push_back({"avx2", Level::avx2, avx2_kernels()});
#ifdef PYLATENT_AVX_VNNI
    if (has_avx_vnni()) {
      found.push_back({"avx2-vnni", Level::avx_vnni, avx_vnni_kernels()});
    } else if (simd_level() >= Simd::avx512 && has_vnni()) {  // so that it runs on more machines than it is made for
      found.push_back({"avx2-vnni", Level::avx512_vl_vnni, avx512_vl_vnni_kernels()});
    }
#endif
  }
  if (simd_level() >= Simd::avx512) {
    found.push_back({"avx512", Level::avx512, avx512_kernels()});
    if (has_vnni()) found.push_back({"avx512-vnni", Level::avx512_vnni, vnni_kernels()});
  }
#ifdef PYLATENT_AMX
  if (has_amx()) {
    const Kernels kernels = amx_kernels();
    const bool last = prefers_amx() || is_faster(kernels, found.back().kernels);
    found.insert(found.end() - (last ? 0 : 1), {"amx", Level::amx, kernels});
  }
#endif
#endif
#ifdef PYLATENT_NEON
  if (has_neon()) found.push_back({"neon", Level::neon, neon_kernels()});
#endif
  return found;
}

const std::vector<Variant>& available() {
  static const std::vector<Variant> found = find_variants();
  return found;
}

}  // namespace

std::vector<const char*> variants() {
  std::vector<const char*> names;
  for (const Variant& variant : available()) names.push_back(variant.name);
  return names;
}

int variant_number(int variant) {
  const int count = static_cast<int>(available().size());
  check_range("variant", variant, -1, count - 1);
  return variant < 0 ? count - 1 : variant;
}

Level level_of(int variant) { return available()[static_cast<size_t>(variant_number(variant))].level; }

const Kernels& kernels_of(int variant) { return available()[static_cast<size_t>(variant_number(variant))].kernels; }

}  // namespace pylatent::integers
