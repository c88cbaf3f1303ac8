#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#ifdef PYLATENT_ASAN_FIBERS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__) && !defined(PYLATENT_PORTABLE_FIBERS)
// Saves the registers that a function must keep, and returns on the other stack as the switch there once began.
extern "C" void pylatent_switch_stack(void** from, void* to);
asm(R"(
.text
.p2align 4
.hidden pylatent_switch_stack
.globl pylatent_switch_stack
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
#if defined(__x86_64__) && !defined(PYLATENT_PORTABLE_FIBERS)
  // Six registers, the return address, and one word that keeps the stack aligned as a call would.
  auto* top = reinterpret_cast<uintptr_t*>(stack_ + stack_size) - 8;
  for (int i = 0; i < 6; ++i) top[i] = 0;
  top[6] = reinterpret_cast<uintptr_t>(&Fiber::arrive);
  top[7] = 0;
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
#if defined(__x86_64__) && !defined(PYLATENT_PORTABLE_FIBERS)
  pylatent_switch_stack(&top_, next.top_);
#else
  swapcontext(&context_, &next.context_);
#endif
#ifdef PYLATENT_ASAN_FIBERS
  finish_switch();
#endif
}

}  // namespace pylatent::emulator
