"""What `compress --refine` adds: the plan, a line of progress, and a Ctrl-C that keeps the best so far."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pylatent.cli._report import complain, misused

if TYPE_CHECKING:
    from pylatent.refine import Plan, Reading

_STEPS_OF_A_TIME_BUDGET = 10_000  # more than any budget on a CPU reaches


@dataclass
class Refinement:
    """The options of a command line, and whether Ctrl-C has been pressed."""

    steps: int
    method: str
    time_budget: float | None
    lam: float | None = None
    interrupted: bool = field(default=False, init=False)

    @property
    def wanted(self) -> bool:
        return self.steps > 0 or self.time_budget is not None

    def plan(self, say: Callable[[str], None] | None = None) -> Plan:
        """What `api.compress` takes; progress goes to `say`. Ends the command if there is no such method."""
        from pylatent.refine import Plan
        from pylatent.refine.sga import METHODS

        if self.method not in METHODS:
            raise misused(f"--refine-method must be one of {', '.join(METHODS)}, got {self.method}")
        steps = self.steps or _STEPS_OF_A_TIME_BUDGET

        def report(reading: Reading) -> None:
            true, spent = reading.true, f", {reading.seconds:.0f} of {self.time_budget:g} s" if self.time_budget else ""
            text = f"step {reading.step} of {steps}, {float(true.bpp):.4f} bpp, {float(true.psnr):.2f} dB{spent}"
            if say is not None:
                say(text)

        return Plan(
            steps=steps,
            method=self.method,  # type: ignore[arg-type]  # checked above
            time_budget=self.time_budget,
            lam=self.lam,
            report=report,
            stop=lambda: self.interrupted,
        )

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """The first Ctrl-C in the block ends a refinement early, the second ends the command."""

        def on_interrupt(number: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            complain("stopping: the best latents so far will be written (Ctrl-C again to give up)")

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
