"""Edits of the emulator's own pipelined product."""

MODULE = "_emulator_kernels"
TESTS = ["tests/emulator/test_instructions.py", "-k", "product"]
FILE = "tests/emulator/product.cu"
MUTANTS = [
    ("no barrier after the wait", FILE, "if (variant != 2) __syncthreads();", ""),
    ("no barrier before the refill", FILE, "if (variant != 3) __syncthreads();", ""),
    ("waits one stage too late", FILE, "cp_async_wait<1>();", "cp_async_wait<2>();"),
    ("no empty group at the end", FILE, "    } else {\n      cp_async_commit();\n    }", "    }"),
    ("rows of `a` one short", FILE, "row0 + row < m);", "row0 + row < m - 1);"),
    ("rows of `a` one too many", FILE, "row0 + row < m);", "row0 + row <= m);"),
    ("no tail mask along N", FILE, "column0 + column < n || variant == 5", "true"),
    ("no tail mask at the store", FILE, "(row < m && column < n)", "(row < m)"),
    ("stages swapped", FILE, "const int stage = step % 2;", "const int stage = (step + 1) % 2;"),
    ("wrong stride of `b`", FILE, "b + (int64_t{k0 + row} * n", "b + (int64_t{k0 + row} * (n - 8)"),
    ("wrong row of the fragment", FILE, "warp % 2 * 16 + lane % 16) * tile_k", "warp % 2 * 16 + lane % 8) * tile_k"),
    ("halves of K swapped", FILE, "lane / 16 * 8));\n    for", "(lane / 16 ^ 1) * 8));\n    for"),
    ("not transposed", FILE, "ldmatrix_x2_trans(b_fragment", "ldmatrix_x2(b_fragment"),
    ("result rows swapped", FILE, "lane / 4 + i / 2 * 8;", "lane / 4 + i % 2 * 8;"),
    ("one step too few", FILE, "step < steps; ++step", "step + 1 < steps; ++step"),
    ("sums not cleared", FILE, "float sums[2][4] = {};", "float sums[2][4] = {{1}};"),
    ("no last wait", FILE, "  cp_async_wait<0>();\n\n", "\n", "every copy has landed by then: the last group is empty"),
]
