// A fiber: a stack of its own that a function runs on until it hands over to another. swapcontext does it anywhere, but
// makes a system call for each switch; on x86-64 and arm64 a switch is a few instructions of our own.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(PYLATENT_PORTABLE_FIBERS)
#define PYLATENT_PORTABLE_FIBERS
#endif
#ifdef PYLATENT_PORTABLE_FIBERS
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define PYLATENT_ASAN_FIBERS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PYLATENT_ASAN_FIBERS
#endif
#endif

namespace pylatent::emulator {

class Fiber {
 public:
  Fiber() = default;  // of the thread that calls switch_to first; has no stack of its own
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to this fiber calls entry(), which must not return. What ran on it before is forgotten.
  void start(void (*entry)());

  // Goes on with `next` and returns when something switches back. `last`: nothing ever will.
  void switch_to(Fiber& next, bool last = false);

 private:
  static constexpr size_t guard_size = 64 * 1024;  // a multiple of every page size
#ifdef PYLATENT_ASAN_FIBERS
  static constexpr size_t stack_size = 512 * 1024;
#else
  static constexpr size_t stack_size = 128 * 1024;
#endif
  static void arrive();

  char* stack_ = nullptr;
  void (*entry_)() = nullptr;
#ifndef PYLATENT_PORTABLE_FIBERS
  void* top_ = nullptr;  // stack pointer while another fiber runs
#else
  ucontext_t context_;
#endif
#ifdef PYLATENT_ASAN_FIBERS
  void finish_switch();
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
#endif
};

}  // namespace pylatent::emulator
