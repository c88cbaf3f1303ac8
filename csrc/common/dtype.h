// The dtypes of tensors as Python passes them (pylatent/_native.py, DTYPE_CODES).
#pragma once

#include <stdexcept>
#include <string>

namespace pylatent {

enum class Dtype { float32 = 0, float64 = 1, float16 = 2, bfloat16 = 3 };

inline const char* dtype_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return "float32";
    case Dtype::float64:
      return "float64";
    case Dtype::float16:
      return "float16";
    case Dtype::bfloat16:
      return "bfloat16";
  }
  return "unknown";
}

inline Dtype to_dtype(int code) {
  if (code < 0 || code > 3) throw std::invalid_argument("unknown dtype code " + std::to_string(code));
  return static_cast<Dtype>(code);
}

inline int element_size(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return 4;
    case Dtype::float64:
      return 8;
    default:
      return 2;
  }
}

[[noreturn]] inline void unsupported_dtype(const char* function, Dtype dtype) {
  throw std::invalid_argument(std::string(function) + " has no kernel for " + dtype_name(dtype));
}

// Passed to a generic function to name an element type: fn(Type<float>{}).
template <class T>
struct Type {
  using type = T;
};

}  // namespace pylatent
