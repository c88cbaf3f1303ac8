// Where in a kernel file something happens, and how a broken rule is reported.
#pragma once

#include <stdexcept>
#include <string>

namespace pylatent::emulator {

// As a default argument, Where::here() is the place of the call.
struct Where {
  const char* file = nullptr;
  int line = 0;

  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  bool operator==(const Where& other) const { return line == other.line && file == other.file; }
};

std::string to_string(const Where& where);  // "gate_cuda.cu:42"

// A kernel broke a rule of the hardware; the message names kernel, block and thread.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws a Fault of the running thread.
[[noreturn]] void fail(const std::string& what, const Where& where);

}  // namespace pylatent::emulator
