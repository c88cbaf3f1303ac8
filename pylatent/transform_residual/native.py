"""What the native core has for transformed residuals (csrc/transform_residual)."""

from __future__ import annotations

from functools import cache
from typing import Any

from pylatent import _native
from pylatent.transform_residual.steps import LEVELS, PARENTS
from pylatent.transform_residual.weights import TABLES


def core() -> Any | None:
    """Its functions, or None where there are none."""
    return _made() if _native.why_not_native() is None else None


@cache
def _made() -> Any:
    return _native.core().TransformResidual(LEVELS, TABLES, PARENTS)
