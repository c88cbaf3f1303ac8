// What a kernel would cost a GPU, as far as counting tells: bytes, requests, bank conflicts, tensor-core instructions.
//
// Accesses of the lanes of a warp belong to one request if they come from the same instruction for the same time since
// the lanes last met. A request to global memory moves whole sectors of 32 bytes. A request to shared memory takes as
// many turns (wavefronts) as the busiest of the 32 banks has different words to serve; it serves a whole warp, half, or
// a quarter of it at once, for accesses of up to 4, 8, or 16 bytes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "emulator/accesses.h"
#include "emulator/fault.h"

namespace pylatent::emulator {

struct Lane;
struct Launch;

// One kernel as it is launched.
struct LaunchKey {
  std::string name;
  uint64_t kernel;  // its address in the module
  uint32_t threads;
  uint64_t shared_bytes;

  bool operator<(const LaunchKey& other) const {
    return std::tie(name, kernel, threads, shared_bytes) <
           std::tie(other.name, other.kernel, other.threads, other.shared_bytes);
  }
};

// Of the accesses that a line of the source makes.
struct LineCounts {
  int64_t global_sectors = 0, global_sectors_ideal = 0;  // ideal: as if the bytes of a request lay together
  int64_t shared_turns = 0, shared_turns_ideal = 0;
};

struct Counts {
  int64_t launches = 0, blocks = 0;
  int64_t bytes_read = 0, bytes_written = 0, bytes_added = 0;  // sectors of all requests; added: by atomics
  int64_t bytes_needed = 0;                                    // different bytes that a launch read, plus wrote
  std::map<std::string, LineCounts> lines;                     // by "file:line"
  int64_t ldmatrix_turns = 0, ldmatrix_turns_ideal = 0;
  int64_t ldmatrix = 0, mma_16bit = 0, mma_tf32 = 0, mma_bytes = 0;  // instructions of a warp
};

class Counters {
 public:
  bool on = false;
  std::map<LaunchKey, Counts> by_kernel;
  std::set<LaunchKey> launched;  // also while off

  void start_launch(const Launch& launch);
  void end_block();
  void end_launch();

  // By the running thread; `site` is the address of the instruction.
  void note_global(const void* site, uintptr_t address, int bytes, Access access, const Where& where);
  void note_shared(const void* site, int64_t byte, int bytes, const Where& where);
  void note_ldmatrix(const int64_t* row_bytes, int matrices);
  enum class Product { halves, tf32, bytes };
  void note_mma(Product product) {
    ++(product == Product::halves ? counts_->mma_16bit
       : product == Product::tf32 ? counts_->mma_tf32
                                  : counts_->mma_bytes);
  }

 private:
  enum class Space : uint8_t { global, shared };
  struct Record {
    uint64_t request;
    uint64_t address;
    uint8_t lane, bytes;
    Space space;
    Access access;
    Where where;
  };

  void note(const void* site, uint64_t address, int bytes, Space space, Access access, const Where& where);
  void count_global(const Record* first, const Record* last);
  void count_shared(const Record* first, const Record* last);

  Counts* counts_ = nullptr;
  std::vector<std::vector<Record>> records_;               // by warp, of this block
  std::unordered_map<uint64_t, uint32_t> repetitions_;     // of an instruction by a lane
  std::unordered_map<uint64_t, uint32_t> read_, written_;  // by sector, its bytes, of this launch
};

Counters& counters();

}  // namespace pylatent::emulator
