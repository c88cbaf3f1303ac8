#include <cuda_runtime.h>

#include "common/cuda_info.h"

namespace pylatent {

CudaInfo cuda_info() {
  CudaInfo info{CUDART_VERSION, 0, {}, ""};
  cudaDriverGetVersion(&info.driver);
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  for (int device = 0; status == cudaSuccess && device < count; ++device) {
    cudaDeviceProp properties;
    status = cudaGetDeviceProperties(&properties, device);
    if (status != cudaSuccess) break;
    const std::string arch = "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
    info.devices.push_back(std::string(properties.name) + " (" + arch + ")");
  }
  if (status != cudaSuccess) {
    info.problem = cudaGetErrorString(status);
    cudaGetLastError();  // the statically linked runtime keeps its own error state: leave it clean for the kernels
  }
  return info;
}

}  // namespace pylatent
