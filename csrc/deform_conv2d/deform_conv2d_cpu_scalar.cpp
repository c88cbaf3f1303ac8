#include "deform_conv2d/deform_conv2d_cpu_kernel.h"

namespace pylatent::deform_conv2d {

Kernels<float> scalar_kernels(float) { return kernels_of<Array<float, 4>>(); }
Kernels<double> scalar_kernels(double) { return kernels_of<Array<double, 2>>(); }

}  // namespace pylatent::deform_conv2d
