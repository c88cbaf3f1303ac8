// FlushDenormals: while one lives, the thread that made it takes floating-point numbers below the normal ones for
// zeros.
//
// Intel's processors leave the vector unit for microcode, some 150 cycles, when an instruction meets such an operand or
// result, unless MXCSR says to flush them. That register belongs to a thread: a kernel makes one in every task that it
// hands out. Processors other than x86 compute with them at full speed, so that nothing is done there.
#pragma once

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace pylatent {

class FlushDenormals {
 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

#if defined(__SSE2__) || defined(_M_X64)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  unsigned before_;
#else
  FlushDenormals() {}
  ~FlushDenormals() {}
#endif
};

}  // namespace pylatent
