// What the CUDA driver of this machine says, without failing where there is none.
#pragma once

#include <string>
#include <vector>

namespace pylatent {

struct CudaInfo {
  int toolkit;                       // version that the kernels were built with, e.g. 13000
  int driver;                        // highest CUDA version that the driver supports, 0 without a driver
  std::vector<std::string> devices;  // "name (sm_90)" per device
  std::string problem;               // the runtime's message when no device can be used, else empty
};

CudaInfo cuda_info();

}  // namespace pylatent
