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

const char* simd_name(Simd level);

}  // namespace pylatent
