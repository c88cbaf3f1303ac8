"""Entropy models: the bits that a quantised latent costs, with gradients."""

from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits

__all__ = ["FactorizedPrior", "default_scales", "gaussian_bits"]
