"""Writes deform_conv2d_golden.npz with torchvision: `python tests/ops/make_deform_conv2d_golden.py`."""

import numpy as np
import torch
import torchvision
from deform_conv2d_cases import GOLDEN, NAMES, golden_cases


def main() -> None:
    arrays = {"torchvision": np.array(torchvision.__version__)}
    for i, case in enumerate(golden_cases()):
        tensors = [None if t is None else t.requires_grad_() for t in case.tensors()]
        input, offset, weight, bias, mask = tensors
        out = torchvision.ops.deform_conv2d(input, offset, weight, bias, mask=mask, **case.geometry)
        (out * torch.linspace(-0.5, 1.5, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        arrays[f"{i} out"] = out.detach().numpy().astype(np.float32)
        for name, tensor in zip(NAMES, tensors, strict=True):
            if tensor is not None:
                arrays[f"{i} {name}"] = tensor.grad.numpy().astype(np.float32)
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{GOLDEN}: {len(golden_cases())} cases, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
