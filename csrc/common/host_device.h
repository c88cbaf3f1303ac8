// __host__ and __device__ for headers that CPU code and CUDA kernels share.
#pragma once

#ifndef __CUDACC__
#define __host__
#define __device__
#endif
