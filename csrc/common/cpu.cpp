#include "common/cpu.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pylatent {
namespace {

Simd detect() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2")) return Simd::scalar;
  if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c")) return Simd::scalar;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide ? Simd::avx512 : Simd::avx2;
#elif defined(_MSC_VER) && defined(_M_X64)
  int leaf[4];
  __cpuid(leaf, 0);
  if (leaf[0] < 7) return Simd::scalar;
  __cpuid(leaf, 1);
  const int needed = (1 << 12) | (1 << 27) | (1 << 29);  // FMA, saved vector registers, F16C
  if ((leaf[2] & needed) != needed) return Simd::scalar;
  const unsigned long long saved = _xgetbv(0);
  __cpuidex(leaf, 7, 0);
  const bool avx2 = (leaf[1] & (1 << 5)) && (leaf[1] & (1 << 8)) && (saved & 6) == 6;
  const int wide = (1 << 16) | (1 << 17) | (1 << 30) | (1 << 31);
  if (!avx2) return Simd::scalar;
  return (leaf[1] & wide) == wide && (saved & 0xe6) == 0xe6 ? Simd::avx512 : Simd::avx2;
#else
  return Simd::scalar;
#endif
}

Simd choose() {
  const Simd best = detect();
  const char* wanted = std::getenv("PYLATENT_SIMD");
  if (wanted == nullptr) return best;
  for (Simd level : {Simd::scalar, Simd::avx2, Simd::avx512}) {
    if (std::strcmp(wanted, simd_name(level)) == 0) return level < best ? level : best;
  }
  return best;
}

#if defined(__x86_64__) && defined(__linux__)
// Tiles have 8 KB of state, which Linux saves for processes that have asked for it.
bool may_use_tiles() {
  constexpr unsigned kSaved = 1U << 27, kTile = 1U << 24, kInt8 = 1U << 25;
  constexpr unsigned kState = 3U << 17;                        // of XCR0: configuration and data
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & kSaved)) return false;
  unsigned saved, upper;
  __asm__("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
  if ((saved & kState) != kState) return false;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx & kTile) || !(edx & kInt8)) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool may_use_tiles() { return false; }
#endif

bool wants(const char* level) {
  const char* wanted = std::getenv("PYLATENT_SIMD");
  return wanted != nullptr && std::strcmp(wanted, level) == 0;
}

}  // namespace

Simd simd_level() {
  static const Simd level = choose();
  return level;
}

bool has_vnni() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  return __builtin_cpu_supports("avx512vnni");
#else
  return false;  // MSVC builds have no SIMD variants
#endif
}

bool has_avx_vnni() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  unsigned eax, ebx, ecx, edx;  // of leaf 7, 1: compilers' own names for it differ
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1U << 4)) != 0;
#else
  return false;
#endif
}

bool has_amx() {
  return simd_level() == Simd::avx512 && !wants(simd_name(Simd::avx512)) && has_vnni() && may_use_tiles();
}

bool prefers_amx() { return wants("amx"); }

bool has_neon() {
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
  return !wants(simd_name(Simd::scalar));
#else
  return false;
#endif
}

const char* simd_name(Simd level) {
  switch (level) {
    case Simd::avx512:
      return "avx512";
    case Simd::avx2:
      return "avx2";
    default:
      return "scalar";
  }
}

}  // namespace pylatent
