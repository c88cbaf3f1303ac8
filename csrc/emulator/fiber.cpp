#include "emulator/fiber.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>

#ifdef PYLATENT_ASAN_FIBERS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef PYLATENT_PORTABLE_FIBERS
// Saves the registers that a function must keep, and returns on the other stack as the switch there once began.
extern "C" void pylatent_switch_stack(void** from, void* to) __asm__("pylatent_switch_stack");
#ifdef __x86_64__
constexpr int saved_words = 8, return_address = 6;  // after six registers; one word keeps the stack aligned
__asm__(R"(
.text
.p2align 4
pylatent_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
#else
constexpr int saved_words = 20, return_address = 11;  // x19 to x30, d8 to d15
__asm__(R"(
.text
.p2align 4
pylatent_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#endif
#endif

namespace pylatent::emulator {
namespace {

__thread Fiber* running;
#ifdef PYLATENT_ASAN_FIBERS
__thread Fiber* previous;
#endif

}  // namespace

Fiber::~Fiber() {
  if (stack_) munmap(stack_ - guard_size, stack_size + guard_size);
}

void Fiber::start(void (*entry)()) {
  if (!stack_) {
    void* memory = mmap(nullptr, stack_size + guard_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, guard_size, PROT_NONE);
    stack_ = static_cast<char*>(memory) + guard_size;
  }
  entry_ = entry;
#ifdef PYLATENT_ASAN_FIBERS
  ASAN_UNPOISON_MEMORY_REGION(stack_, stack_size);
  fake_stack_ = nullptr;
  bottom_ = stack_;
  size_ = stack_size;
#endif
#ifndef PYLATENT_PORTABLE_FIBERS
  auto* top = reinterpret_cast<uintptr_t*>(stack_ + stack_size) - saved_words;
  std::fill(top, top + saved_words, 0);
  top[return_address] = reinterpret_cast<uintptr_t>(&Fiber::arrive);
  top_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_size;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::arrive, 0);
#endif
}

void Fiber::arrive() {
#ifdef PYLATENT_ASAN_FIBERS
  running->finish_switch();
#endif
  running->entry_();
  __builtin_unreachable();
}

#ifdef PYLATENT_ASAN_FIBERS
void Fiber::finish_switch() { __sanitizer_finish_switch_fiber(fake_stack_, &previous->bottom_, &previous->size_); }
#endif

void Fiber::switch_to(Fiber& next, bool last) {
  running = &next;
#ifdef PYLATENT_ASAN_FIBERS
  previous = this;
  __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack_, next.bottom_, next.size_);
#else
  static_cast<void>(last);
#endif
#ifndef PYLATENT_PORTABLE_FIBERS
  pylatent_switch_stack(&top_, next.top_);
#else
  swapcontext(&context_, &next.context_);
#endif
#ifdef PYLATENT_ASAN_FIBERS
  finish_switch();
#endif
}

}  // namespace pylatent::emulator
