"""Names of CompressAI's state dicts, translated to ours and back. The layers' own names are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_IGNORED = re.compile(
    r"(\.reparam|_reparam)\.|lower_bound|\.target$|scale_bound$|scale_table$|(_quantized_cdf|_cdf_length|_offset)$"
)
_OLD_PARAMETER = re.compile(r"^entropy_bottleneck\._(matrix|bias|factor)(\d)$")
_PLURAL = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


def from_compressai(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float parameters of a CompressAI state dict under our names; constants and integer tables are left out.

    Both spellings of the entropy bottleneck are read (`_matrix0` before CompressAI 1.2.5, `matrices.0` since), and the
    prefix that data-parallel training leaves is removed. Our own state dicts pass through unchanged.
    """
    parameters = {}
    for name, value in state_dict.items():
        name = name.removeprefix("module.")
        if _IGNORED.search(name):
            continue
        old = _OLD_PARAMETER.match(name)
        if old:
            name = f"entropy_bottleneck.{_PLURAL[old.group(1)]}.{old.group(2)}"
        parameters[name] = value
    return parameters
