// Which SIMD variants the running CPU and operating system can execute.
#pragma once

namespace pylatent {

enum class Simd { scalar = 0, avx2 = 1, avx512 = 2 };

// The best level of this machine, lowered by the environment variable PYLATENT_SIMD=scalar|avx2|avx512 if it is set.
// Read once. avx2 means FMA, F16C and BMI2 too, avx512 means F, BW, DQ and VL; a variable that names anything else is
// ignored.
Simd simd_level();

// Whether the CPU has AVX-512 VNNI besides.
bool has_vnni();

// Whether it has AVX-VNNI: the same at AVX2's width, on CPUs without AVX-512, too.
bool has_avx_vnni();

// Whether it has AMX's tiles and products of bytes besides AVX-512 VNNI, Linux lets this process use them (which it is
// asked for), and PYLATENT_SIMD names no lower level.
bool has_amx();

// Whether PYLATENT_SIMD is amx: AMX is to be used even where something else is faster.
bool prefers_amx();

// Whether this is a 64-bit ARM, all of which have NEON, and PYLATENT_SIMD is not scalar.
bool has_neon();

const char* simd_name(Simd level);

// Calls the variant of a function for a SIMD level: avx512_<name>, avx2_<name> or scalar_<name>. Each is in a file that
// is compiled for the level by its suffix (CMakeLists.txt). `arguments` stand in parentheses.
#ifdef PYLATENT_X86_SIMD
#define PYLATENT_CALL_VARIANT(level, name, arguments)            \
  ((level) == ::pylatent::Simd::avx512 ? avx512_##name arguments \
   : (level) == ::pylatent::Simd::avx2 ? avx2_##name arguments   \
                                       : scalar_##name arguments)
#else
#define PYLATENT_CALL_VARIANT(level, name, arguments) ((void)(level), scalar_##name arguments)
#endif

}  // namespace pylatent
