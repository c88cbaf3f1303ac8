"""Planted bugs are reported under every schedule, with kernel, block, thread and what was waited for."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

SEEDS = range(8)
THREAD = r"kernel `bug`, block \([01], 0, 0\), thread \(\d+, 0, 0\) at bugs.cu:\d+: "

UNWRITTEN = "reads byte .* of shared memory, which no thread of this block has written"
NOT_LANDED = r"reads byte .* before the cp_async of thread .* at bugs.cu:\d+ into it has been waited for"

BUGS = {
    "divergent_barrier": r"divergent __syncthreads: thread \(\d+, 0, 0\) is at the one in bugs.cu:\d+",
    "divergent_mma": r"divergent mma_m16n8k16<bf16>: thread \(\d+, 0, 0\) is at the one in bugs.cu:\d+",
    "lane_outside_its_mask": "__shfl_sync with a mask that lacks the calling lane",
    "read_outside": "reads bytes -[0-9]+ to -[0-9]+ of a global array of 256 bytes",
    "vector_beyond_the_end": "writes bytes (256|[2-9][0-9]{2}|1[0-9]{3}) to .* of a global array of 256 bytes",
    "misaligned_vector": "writes 16 bytes of global memory at an address that is not a multiple of 16",
    "copy_beyond_the_end": "reads bytes .* of a global array of 256 bytes",
    "absent_array": "writes a global array that has no elements",
    "shared_outside": "writes bytes 256 to 259 of shared memory, and the launch gave 256 bytes",
    "shared_misaligned": "writes 4 bytes of shared memory at byte \\d+, which is not a multiple of 4",
    "shared_uninitialised": "reads byte 160 of shared memory, which no thread of this block has written",
    "race_in_a_warp": "race: .*, which thread .* with no __syncwarp or __syncthreads in between",
    "shuffle_as_barrier": "race: reads byte .*, which thread .* wrote with no __syncwarp or __syncthreads in between",
    "warp_barrier_between_warps": f"race: .* with no __syncthreads in between|{UNWRITTEN}",
    "two_writers": "race: writes byte .*, which thread .* wrote with no __syncwarp or __syncthreads in between",
    "read_then_write": "race: .*, which thread .* with no (__syncwarp or )?__syncthreads in between",
    "two_writers_of_global": r"race: writes byte .* of a global array of 256 bytes, which thread \(\d+, 0, 0\) wrote",
    "two_blocks_write": "race: writes byte 0 of a global array .*, which a thread of another block wrote",
    "block_reads_of_another": "race: .* of a global array .*, which a thread of another block (read|wrote)",
    "copy_read_before_its_wait": NOT_LANDED,
    "copy_not_committed": NOT_LANDED,
    "copy_of_another_thread": "race: .*|reads byte .* before the cp_async of thread .*|" + UNWRITTEN,
    "copy_never_waited_for": "returns before its cp_async has been waited for",
    "write_under_a_copy": "writes byte .* before the cp_async of thread .*",
}

DEADLOCKS = {
    "skipped_barrier": r"warp 0: threads 0-9 have returned; threads 10-31 wait at __syncthreads \(bugs.cu:\d+\)",
    "skipped_lane": r"threads 0-6, 8-31 wait at __shfl_xor_sync \(bugs.cu:\d+\) for thread 7; "
    r"threads 7 wait at __syncthreads \(bugs.cu:\d+\)",
    "different_collectives": r"threads 0-15 wait at __shfl_sync \(bugs.cu:\d+\) for threads 16-31; "
    r"threads 16-31 wait at __syncwarp \(bugs.cu:\d+\) for threads 0-15",
}

LAUNCHES = {
    "no threads": ((1, 0, 1, 0), "cannot be launched: a block of 0 x 1 x 1 threads"),
    "too many threads": ((1, 32, 64, 0), "cannot be launched: a block of 32 x 64 x 1 threads"),
    "no blocks": ((0, 32, 1, 0), "cannot be launched: a grid of 0 x 1 x 1 blocks"),
    "too much shared memory": ((1, 32, 1, 204800), "204800 bytes of shared memory, at most 166912 are there on sm_80"),
    "partial warp": ((1, 20, 1, 0), "mma_m16n8k16<bf16> needs all 32 lanes, and the last warp of this block has 20"),
}


def check(kernels: ModuleType, name: str, message: str) -> None:
    scratch = torch.zeros(64)
    for seed in SEEDS:
        kernels.set_seed(seed)
        with pytest.raises(kernels.Fault, match=message):
            kernels.bug(name, scratch.data_ptr())


@pytest.mark.parametrize("name", BUGS)
def test_bug(kernels: ModuleType, name: str) -> None:
    check(kernels, name, THREAD + f"(?:{BUGS[name]})")


@pytest.mark.parametrize("name", DEADLOCKS)
def test_deadlock(kernels: ModuleType, name: str) -> None:
    check(
        kernels, name, r"kernel `bug`, block \([01], 0, 0\): deadlock, no thread can go on(?:.|\n)*" + DEADLOCKS[name]
    )


@pytest.mark.parametrize("name", LAUNCHES)
def test_launch(kernels: ModuleType, name: str) -> None:
    arguments, message = LAUNCHES[name]
    with pytest.raises(kernels.Fault, match=f"kernel `bug`.*{message}"):
        kernels.launch_with(*arguments, torch.zeros(64).data_ptr())


SWAP = {
    "no barrier": (1, "race: reads|no thread of this block has written"),
    "no tail mask": (2, "writes bytes .* 4000"),
}


@pytest.mark.parametrize("bug", SWAP)
def test_swap(kernels: ModuleType, bug: str) -> None:
    variant, message = SWAP[bug]
    x, out = torch.randn(1000), torch.zeros(1000)
    for seed in SEEDS:
        kernels.set_seed(seed)
        with pytest.raises(kernels.Fault, match=message):
            kernels.swap_pairs(x.data_ptr(), out.data_ptr(), 1000, 96, variant)


HISTOGRAM = {
    "no atomic in shared memory": (1, "race: (reads|writes) byte .* of shared memory"),
    "no barrier": (2, "race: (reads|adds to) byte .* of shared memory"),
    "no atomic in global memory": (3, "race: reads byte .* of a global array .* another block wrote"),
}


@pytest.mark.parametrize("bug", HISTOGRAM)
def test_histogram(kernels: ModuleType, bug: str) -> None:
    variant, message = HISTOGRAM[bug]
    x, counts = torch.randint(0, 37, (500,), dtype=torch.int32), torch.zeros(37, dtype=torch.int32)
    for seed in SEEDS:
        kernels.set_seed(seed)
        with pytest.raises(kernels.Fault, match=message):
            kernels.histogram(x.data_ptr(), counts.data_ptr(), 500, 37, variant)


PRODUCT = {
    "waits one stage too late": (1, "before the cp_async"),
    "no barrier after the wait": (2, "race: reads|before the cp_async|no thread of this block has written"),
    "no barrier before a stage is filled again": (3, "race: writes|before the cp_async|race: reads"),
    "no tail mask at the store": (4, "writes bytes"),
    "no tail mask at the load": (5, "reads bytes"),
}


@pytest.mark.parametrize("bug", PRODUCT)
def test_product(kernels: ModuleType, bug: str) -> None:
    variant, message = PRODUCT[bug]
    a, b, out = torch.randn(50, 64).bfloat16(), torch.randn(64, 72).bfloat16(), torch.zeros(50, 72)
    for seed in SEEDS:
        kernels.set_seed(seed)
        with pytest.raises(kernels.Fault, match=message):
            kernels.product(a.data_ptr(), b.data_ptr(), out.data_ptr(), 50, 72, 64, 3, variant)


@pytest.mark.parametrize("bug", ["waits one stage too late", "no barrier before a stage is filled again"])
def test_the_schedule_finds_races_too(kernels: ModuleType, bug: str) -> None:
    """Without race reports, an adverse order still makes wrong results, or reads a copy that has not landed."""
    a, b, out = torch.randn(50, 64).bfloat16(), torch.randn(64, 72).bfloat16(), torch.zeros(50, 72)
    kernels.set_races(False)
    found = 0
    for seed in SEEDS:
        kernels.set_seed(seed)
        try:
            kernels.product(a.data_ptr(), b.data_ptr(), out.data_ptr(), 50, 72, 64, 3, PRODUCT[bug][0])
        except kernels.Fault:
            found += 1
        else:
            found += not torch.allclose(out, a.float() @ b.float(), rtol=1e-5, atol=1e-4)
    assert found == len(SEEDS)


def test_a_launch_after_a_fault(kernels: ModuleType) -> None:
    scratch = torch.zeros(64)
    with pytest.raises(kernels.Fault):
        kernels.bug("copy_never_waited_for", scratch.data_ptr())
    x, out = torch.randn(1000), torch.zeros(1000)
    kernels.swap_pairs(x.data_ptr(), out.data_ptr(), 1000, 64, 0)
    assert torch.equal(out.view(-1, 2).flip(1).flatten(), x)
