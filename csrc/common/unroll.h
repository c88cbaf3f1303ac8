// PYLATENT_UNROLL before a loop of few, constant turns: GCC keeps an array in registers only where it unrolls every
// loop over it early. PYLATENT_UNROLL_16 is for loops of up to 16.
#pragma once

#if defined(__clang__)
#define PYLATENT_UNROLL _Pragma("unroll")
#define PYLATENT_UNROLL_16 _Pragma("unroll")
#elif defined(__GNUC__)
#define PYLATENT_UNROLL _Pragma("GCC unroll 8")
#define PYLATENT_UNROLL_16 _Pragma("GCC unroll 16")
#else
#define PYLATENT_UNROLL
#define PYLATENT_UNROLL_16
#endif
