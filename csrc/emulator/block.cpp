#include "emulator/block.h"

#include <algorithm>
#include <utility>

namespace pylatent::emulator {

__thread Lane* current;

void Block::run(const Launch& launch_, uint3 index_, uint64_t seed) {
  launch = &launch_;
  index = index_;
  random_ = Random(seed);
  prepare();
  try {
    schedule();
  } catch (...) {
    shared.forget();
    throw;
  }
}

void Block::schedule() {
  int warp = -1;
  for (;;) {
    if (warp < 0 || !warps[warp].ready || (order_.hand_over_every && random_.below(order_.hand_over_every) == 0)) {
      warp = pick_warp();
      if (warp < 0) break;
    }
    for (uint32_t turn = warps[warp].ready; turn;) {
      const int lane = pick_lane(turn);
      turn &= ~(uint32_t{1} << lane);
      current = &lanes[warp * 32 + lane];
      scheduler_.switch_to(current->fiber);
      current = nullptr;
      if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
    }
  }
  const bool all_finished =
      std::all_of(warps.begin(), warps.end(), [](const Warp& w) { return w.finished == w.exist; });
  if (!all_finished) throw Fault(describe_deadlock(*this, threads_));
}

void Block::prepare() {
  const dim3& size = launch->block;
  threads_ = static_cast<int>(size.x * size.y * size.z);
  if (threads_ > capacity_) {
    lanes = std::make_unique<Lane[]>(threads_);
    capacity_ = threads_;
  }
  warps.assign((threads_ + 31) / 32, Warp{});
  for (int i = 0; i < threads_; ++i) {
    Lane& lane = lanes[i];
    lane.block = this;
    lane.linear = i;
    lane.thread = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
    lane.state = Lane::State::ready;
    lane.copies.clear();
    lane.meetings = 0;
    lane.fiber.start(&Block::run_lane);
    warps[i / 32].exist |= lane.bit();
    warps[i / 32].ready |= lane.bit();
  }
  clock.start_block();
  shared.start_block(launch->shared_bytes);
  at_barrier_ = 0;
  constexpr uint32_t hand_overs[] = {0, 64, 8, 2};
  order_ = {hand_overs[random_.below(4)], random_.below(3), random_.below(4)};
}

int Block::pick_warp() {
  int first = -1, last = -1, random = -1, seen = 0;
  for (int i = 0; i < static_cast<int>(warps.size()); ++i) {
    if (!warps[i].ready) continue;
    if (first < 0) first = i;
    last = i;
    if (random_.below(++seen) == 0) random = i;
  }
  return order_.warps == 0 ? first : order_.warps == 1 ? last : random;
}

int Block::pick_lane(uint32_t candidates) {
  if (order_.lanes == 0) return __builtin_ctz(candidates);
  if (order_.lanes == 1) return 31 - __builtin_clz(candidates);
  const uint32_t from = random_.below(32);
  const uint32_t high = candidates >> from << from;
  return __builtin_ctz(high ? high : candidates);
}

void Block::run_lane() {
  Lane& lane = *current;
  Block& block = *lane.block;
  try {
    block.launch->body(block.launch->arguments);
    if (!lane.copies.waiting.empty()) {
      fail("returns before its cp_async has been waited for", lane.copies.waiting.front().where);
    }
  } catch (...) {
    block.fault_ = std::current_exception();
  }
  lane.state = Lane::State::finished;
  block.warps[lane.warp()].ready &= ~lane.bit();
  block.warps[lane.warp()].finished |= lane.bit();
  lane.fiber.switch_to(block.scheduler_, true);
}

void Block::wait(Lane& lane) {
  warps[lane.warp()].ready &= ~lane.bit();
  lane.fiber.switch_to(scheduler_);
}

void Block::release(Lane& lane) {
  ++lane.meetings;
  lane.state = Lane::State::ready;
  warps[lane.warp()].ready |= lane.bit();
}

void Block::arrive_at_barrier(Lane& lane, const Where& where) {
  lane.state = Lane::State::at_barrier;
  lane.where = where;
  if (++at_barrier_ < threads_) return wait(lane);
  at_barrier_ = 0;
  for (int i = 0; i < threads_; ++i) {
    if (lanes[i].where == where) continue;
    fail("divergent __syncthreads: " + describe_thread(lanes[i]) + " is at the one in " + to_string(lanes[i].where),
         where);
  }
  for (int i = 0; i < threads_; ++i) release(lanes[i]);
  clock.pass_barrier();
}

void Block::arrive_at_collective(Lane& lane, const Collective& what, uint32_t mask, void* payload, const Where& where) {
  const Warp& warp = warps[lane.warp()];
  Lane* const first = &lanes[lane.warp() * 32];
  if (!(mask & lane.bit())) fail(std::string(what.name) + " with a mask that lacks the calling lane", where);
  if (what.aligned && warp.exist != ~uint32_t{0}) {
    fail(std::string(what.name) + " needs all 32 lanes, and the last warp of this block has " +
             std::to_string(__builtin_popcount(warp.exist)),
         where);
  }
  mask &= warp.exist;
  lane.state = Lane::State::at_collective;
  lane.where = where;
  lane.waits = &what;
  lane.mask = mask;
  lane.payload = payload;

  void* payloads[32] = {};
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    const int i = __builtin_ctz(rest);
    if (first[i].state != Lane::State::at_collective || first[i].waits != &what || first[i].mask != mask) {
      return wait(lane);
    }
    payloads[i] = first[i].payload;
  }
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    Lane& other = first[__builtin_ctz(rest)];
    if (what.aligned && !(other.where == where)) {
      fail("divergent " + std::string(what.name) + ": " + describe_thread(other) + " is at the one in " +
               to_string(other.where),
           where);
    }
    release(other);
  }
  what.complete(payloads, mask);
}

void barrier(const Where& where) { current->block->arrive_at_barrier(*current, where); }

void collective(const Collective& what, uint32_t mask, void* payload, const Where& where) {
  current->block->arrive_at_collective(*current, what, mask, payload, where);
}

}  // namespace pylatent::emulator
