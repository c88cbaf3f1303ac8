"""Names of CompressAI's state dicts, translated to ours and back. The layers' own names are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from pylatent.codecs.hyperprior import Hyperprior, MeanScaleHyperprior, ScaleHyperprior
from pylatent.codecs.tcm import TCM
from pylatent.codecs.tinylic import TinyLIC
from pylatent.coding.tables import CdfTables
from pylatent.errors import ModelError

_IGNORED = re.compile(
    r"^coding\.|_reparam\.|lower_bound|\.target$|scale_bound$|scale_table$|(_quantized_cdf|_cdf_length|_offset)$"
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


def hyperprior_from_compressai(
    state_dict: Mapping[str, Tensor],
) -> tuple[Hyperprior, tuple[CdfTables, CdfTables] | None]:
    """The codec that a CompressAI state dict describes, with its integer tables (y's, z's) if it carries any.

    Channels are read off the weights; extra tensors `gain` and `inverse_gain` (Q, M) make it variable-rate. Raises
    ModelError for any other architecture.
    """
    parameters = from_compressai(state_dict)
    try:
        N, M = parameters["g_a.0.weight"].shape[0], parameters["g_a.6.weight"].shape[0]
        last = parameters["h_s.4.weight"]
    except KeyError as error:
        raise ModelError(f"the checkpoint is not a hyperprior of CompressAI: it has no {error}") from error
    gains = len(parameters["gain"]) if "gain" in parameters else 0
    architecture = MeanScaleHyperprior if last.shape[0] == 2 * M else ScaleHyperprior
    codec = architecture(N, M, gains=gains)
    try:
        codec.load_state_dict(parameters)
    except RuntimeError as error:
        raise ModelError(f"the checkpoint does not fit {architecture.__name__}({N}, {M}): {error}") from error
    return codec.eval(), _tables(state_dict)


def tcm_from_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[TCM, tuple[CdfTables, CdfTables] | None]:
    """The TCM that a published state dict describes, with its integer tables (y's, z's) if it carries any.

    Channels are read off the weights. Raises ModelError for any other architecture.
    """
    parameters = from_compressai(state_dict)
    try:
        N, M = parameters["g_a.0.conv1.weight"].shape[0] // 2, parameters["g_a.9.weight"].shape[0]
        Z, width = parameters["h_a.3.weight"].shape[0], parameters["lrp_transforms.0.4.weight"].shape[0]
    except KeyError as error:
        raise ModelError(f"the checkpoint is not a TCM: it has no {error}") from error
    try:
        codec = TCM(N, M, Z=Z, slices=M // width, attention="atten_mean.0.0.in_conv.weight" in parameters)
        codec.load_state_dict({name: value.float() for name, value in parameters.items()})
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"the checkpoint does not fit TCM({N}, {M}): {error}") from error
    return codec.eval(), _tables(state_dict)


_OF_TINYLIC = [  # what is published, and ours; stages are numbered from 1 there
    (re.compile(r"^([gh]_[as])(\d)\."), r"\1.\2."),
    (re.compile(r"\.residual_group\.blocks\."), ".blocks."),
    (re.compile(r"\.norm([12])\."), r".norm_\1."),
    (re.compile(r"\.attn\.rpb$"), ".attention.bias"),
    (re.compile(r"\.attn\."), ".attention."),
    (re.compile(r"\.mlp\.fc1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.fc2\."), ".mlp.2."),
    (re.compile(r"^Gain$"), "gain"),
    (re.compile(r"^InverseGain$"), "inverse_gain"),
    (re.compile(r"^HyperGain$"), "hyper_gain"),
    (re.compile(r"^InverseHyperGain$"), "inverse_hyper_gain"),
]
_NUMBERED = re.compile(r"^(sc_transform|entropy_parameters)_(\d)\.")


def tinylic_from_state_dict(
    state_dict: Mapping[str, Tensor],
) -> tuple[TinyLIC, tuple[CdfTables, CdfTables] | None]:
    """The TinyLIC that a published state dict describes, with its integer tables (y's, z's) if it carries any.

    Channels and qualities are read off the weights. Raises ModelError for any other architecture, as MPA's, which has
    other blocks, is.
    """
    parameters = {}
    for name, value in from_compressai(state_dict).items():
        if name.endswith(".mask"):
            continue
        for published, ours in _OF_TINYLIC:
            name = published.sub(ours, name)
        if found := _NUMBERED.match(name):
            kind = found.group(1).removesuffix("s") + "s"
            name = f"{kind}.{int(found.group(2)) - 1}.{name[found.end() :]}"
        parameters[name] = value.float()
    try:
        N, M = parameters["g_a.0.weight"].shape[0], parameters["g_a.6.weight"].shape[0]
    except KeyError as error:
        raise ModelError(f"the checkpoint is not a TinyLIC: it has no {error}") from error
    gains = len(parameters["gain"]) if "gain" in parameters else 0
    for name, value in parameters.items():
        if name.endswith((".gamma_1", ".gamma_2")) and len(value) != gains:
            raise ModelError(f"the checkpoint has {gains} quality levels by its gains, but {len(value)} by {name}")
    try:
        codec = TinyLIC(N, M, gains=gains)
        codec.load_state_dict(parameters)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"the checkpoint does not fit TinyLIC({N}, {M}, gains={gains}): {error}") from error
    return codec.eval(), _tables(state_dict)


def _tables(state_dict: Mapping[str, Tensor]) -> tuple[CdfTables, CdfTables] | None:
    """Integer tables of y and z, of a model that was prepared for coding."""

    def of(owner: str) -> CdfTables:
        return CdfTables(*(state_dict[f"{owner}.{name}"] for name in ("_quantized_cdf", "_cdf_length", "_offset")))

    cdf = state_dict.get("gaussian_conditional._quantized_cdf")
    return None if cdf is None or cdf.numel() == 0 else (of("gaussian_conditional"), of("entropy_bottleneck"))
