// One thread block of a kernel on the CPU: a fiber a thread, run in an order that a seed decides.
//
// Threads run one after another, each until it waits: at __syncthreads for the block, at a collective for lanes of its
// warp. A warp runs as far as it may before another does, with random hand-overs, so that what is not ordered by the
// kernel happens in an order that its author did not think of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fault.h"
#include "emulator/fiber.h"
#include "emulator/global_memory.h"
#include "emulator/shared_memory.h"

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct uint3 {
  unsigned x, y, z;
};

namespace pylatent::emulator {

struct Block;

struct Launch {
  const char* name;
  const void* kernel;
  dim3 grid, block;
  size_t shared_bytes;
  void (*body)(const void* arguments);  // one thread
  const void* arguments;
};

// What the lanes of a warp do together. complete() runs once, when all have come: payloads are theirs, null for a lane
// that takes no part.
struct Collective {
  const char* name;
  bool aligned;  // all 32 lanes execute the same instruction
  void (*complete)(void* const* payloads, uint32_t lanes);
};

struct Lane {
  enum class State { ready, at_collective, at_barrier, finished };

  Fiber fiber;
  Block* block = nullptr;
  int linear = 0;  // number in the block; the warp is linear / 32
  uint3 thread{};
  State state = State::finished;
  Where where;                        // of what it waits at
  const Collective* waits = nullptr;  // at_collective
  uint32_t mask = 0;
  void* payload = nullptr;
  uint32_t meetings = 0;  // barriers and collectives that it has passed
  AsyncCopies copies;

  int warp() const { return linear / 32; }
  uint32_t bit() const { return uint32_t{1} << (linear % 32); }
};

struct Warp {
  uint32_t exist = 0, ready = 0, finished = 0;  // lanes
  uint16_t syncs = 0;                           // __syncwarp calls that all lanes have passed, modulo 2^16
};

class Random {
 public:
  explicit Random(uint64_t seed = 0) : state_(seed * 0x9E3779B97F4A7C15u + 0x2545F4914F6CDD1Du) {}
  uint32_t below(uint32_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32) % n;
  }

 private:
  uint64_t state_;
};

struct Block {
  // Runs the block with this index to its end, or throws the Fault of the first thread that breaks a rule.
  void run(const Launch& launch, uint3 index, uint64_t seed);

  const Launch* launch = nullptr;
  uint3 index{};
  std::unique_ptr<Lane[]> lanes;
  std::vector<Warp> warps;
  Clock clock;
  SharedMemory shared;
  GlobalMemory global;

  void arrive_at_barrier(Lane& lane, const Where& where);
  void arrive_at_collective(Lane& lane, const Collective& what, uint32_t mask, void* payload, const Where& where);

 private:
  struct Order {  // how this block is scheduled
    uint32_t hand_over_every;
    uint32_t lanes, warps;
  };

  void prepare();
  void schedule();
  int pick_warp();
  int pick_lane(uint32_t candidates);
  void wait(Lane& lane);
  void release(Lane& lane);
  static void run_lane();

  int threads_ = 0, capacity_ = 0;
  int at_barrier_ = 0;
  Order order_{};
  Random random_;
  Fiber scheduler_;
  std::exception_ptr fault_;
};

// The running thread; null outside of kernels. initial-exec: a plain load, where a shared library would call a
// function.
extern __thread Lane* current __attribute__((tls_model("initial-exec")));

void barrier(const Where& where);
void collective(const Collective& what, uint32_t mask, void* payload, const Where& where);

// Who waits for what, when nobody can go on.
std::string describe_deadlock(const Block& block, int threads);
std::string describe_block(const Block& block);             // "kernel `name`, block (0, 0, 0)"
std::string describe_thread(const Lane& lane);              // "thread (0, 0, 0)"
std::string describe_lanes(uint32_t lanes, int first = 0);  // "0-15, 17"

}  // namespace pylatent::emulator
