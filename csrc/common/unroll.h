// PYLATENT_UNROLL before a loop of few, constant turns: GCC keeps an array in registers only where it unrolls every
// loop over it early.
#pragma once

#if defined(__clang__)
#define PYLATENT_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define PYLATENT_UNROLL _Pragma("GCC unroll 8")
#else
#define PYLATENT_UNROLL
#endif
