#include "common/philox.h"
#include "common/simd_host.h"
#include "sga_sample/sga_sample_kernel_impl.h"

namespace pylatent::sga {
namespace {

struct Lane : HostScalar {
  struct Rounds {
    explicit Rounds(const int64_t*) {}
  };

  template <int Classes>
  static void words(const int64_t* key, const Rounds&, int64_t block, int32_t (&words)[4]) {
    const uint64_t low = static_cast<uint64_t>(key[0]);
    const Vec<uint32_t, 4> drawn = philox4x32(static_cast<uint64_t>(block), static_cast<uint64_t>(key[1]),
                                              static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32));
    for (int i = 0; i < 4; ++i) words[i] = static_cast<int32_t>(drawn[i]);
  }
};

}  // namespace

Kernel scalar_kernel(Dtype dtype) { return kernel_of<Lane>(dtype); }

}  // namespace pylatent::sga
