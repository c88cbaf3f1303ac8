"""Codecs: pixels to latents, latents to bytes, and back."""

from pylatent.codecs.base import Codec
from pylatent.codecs.clc import CLC
from pylatent.codecs.context_hyperprior import ContextHyperprior
from pylatent.codecs.dictionary import Dictionary
from pylatent.codecs.features import Features
from pylatent.codecs.hyperprior import MeanScaleHyperprior, ScaleHyperprior
from pylatent.codecs.latents import CodecOutput, Latents, Parameters, Rated
from pylatent.codecs.nested import NestedCodec
from pylatent.codecs.residual import ResidualHyperprior
from pylatent.codecs.steps import Part, Step, checkerboard
from pylatent.codecs.tcm import TCM
from pylatent.codecs.tinylic import TinyLIC
from pylatent.codecs.walk import Done
from pylatent.coding.container import Bitstream

# Those that a model file may name.
ARCHITECTURES: dict[str, type[Codec]] = {
    architecture.__name__: architecture
    for architecture in (
        MeanScaleHyperprior,
        ScaleHyperprior,
        NestedCodec,
        ResidualHyperprior,
        ContextHyperprior,
        TCM,
        CLC,
        TinyLIC,
    )
}

__all__ = [
    "ARCHITECTURES",
    "CLC",
    "TCM",
    "Bitstream",
    "Codec",
    "CodecOutput",
    "ContextHyperprior",
    "Dictionary",
    "Done",
    "Features",
    "Latents",
    "MeanScaleHyperprior",
    "NestedCodec",
    "Parameters",
    "Part",
    "Rated",
    "ResidualHyperprior",
    "ScaleHyperprior",
    "Step",
    "TinyLIC",
    "checkerboard",
]
