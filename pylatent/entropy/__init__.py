"""Entropy models: the bits that a quantised latent costs, with gradients."""

from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits
from pylatent.entropy.logistic import LogisticPrior, logistic_bits

__all__ = ["FactorizedPrior", "LogisticPrior", "default_scales", "gaussian_bits", "logistic_bits"]
