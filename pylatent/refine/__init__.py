"""Refinement of latents at encoding time: smaller files from the same model, decodable by anyone who has it."""

from pylatent.refine.objective import TrueLoss, true_loss
from pylatent.refine.plan import Plan
from pylatent.refine.schedule import Annealing
from pylatent.refine.sga import Reading, Refined, SgaPlus

__all__ = ["Annealing", "Plan", "Reading", "Refined", "SgaPlus", "TrueLoss", "true_loss"]
