"""What `compress --refine` adds: the plan, a line of progress, and a Ctrl-C that keeps the best so far."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pylatent.cli._check import check_positive
from pylatent.cli._report import complain, misused

if TYPE_CHECKING:
    from pylatent.refine import Plan, Reading

_STEPS_OF_A_TIME_BUDGET = 10_000  # more than any budget on a CPU reaches
METHODS = ("ssl", "atanh", "linear", "cosine", "straight-through", "noise")


@dataclass
class Refinement:
    """The options of a command line, and whether Ctrl-C has been pressed."""

    steps: int
    method: str = METHODS[0]
    time_budget: float | None = None
    lam: float | None = None
    interrupted: bool = field(default=False, init=False)

    @classmethod
    def of_options(
        cls, steps: int, method: str | None, time_budget: float | None = None, lam: float | None = None
    ) -> Refinement | None:
        """What the options ask for, None where that is nothing. Ends the command where they make no sense."""
        check_positive(time_budget=time_budget, refine_lambda=lam)
        if method is not None and method not in METHODS:
            raise misused(f"--refine-method must be one of {', '.join(METHODS)}, got {method}")
        if steps == 0 and time_budget is None:
            for name, value in (("--refine-method", method), ("--refine-lambda", lam)):
                if value is not None:
                    raise misused(f"{name} is for refinement: give the steps with --refine, 500 for example")
            return None
        return cls(steps, method or METHODS[0], time_budget, lam)

    def plan(self, say: Callable[[str], None] | None = None) -> Plan:
        """What `api.compress` takes; progress goes to `say`."""
        from pylatent.refine import Plan

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
            if self.interrupted and callable(before):
                before(number, frame)
            self.interrupted = True
            complain("stopping: the best latents so far will be written (Ctrl-C again to give up)")

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
