"""A training step as one CUDA graph: thousands of launches become one, where Python would hold the device up."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pylatent.errors import PylatentWarning

_WARM_UP = 3  # steps as they are: libraries choose their kernels, optimisers make their states


class GraphStep:
    """Calls `step`, which reads and writes tensors that stay where they are: a few times as it is, then, on CUDA, as a
    graph captured of it.

    A step that waits for the device cannot be captured: the last one before is looked at for that. Where a step is not
    captured, a PylatentWarning says why, and steps go on as they are. reason: not to capture, if one is known already.
    """

    def __init__(self, step: Callable[[], None], reason: str | None = None) -> None:
        self._step, self._calls, self._reason = step, 0, reason
        self._graph: torch.cuda.CUDAGraph | None = None
        if reason is not None:
            self._calls = _WARM_UP + 1
            self._tell()

    def __call__(self) -> None:
        self._calls += 1
        if self._calls < _WARM_UP:
            _beside(self._step)
        elif self._calls == _WARM_UP:
            watch = Watch()
            with watch:
                _beside(self._step)
            self._reason = watch.found
        elif self._calls == _WARM_UP + 1:
            self._capture()
        if self._calls > _WARM_UP:
            self._step() if self._graph is None else self._graph.replay()

    def _capture(self) -> None:
        if self._reason is None:
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph):
                    self._step()  # recorded, not run
                self._graph = graph
            except RuntimeError as error:
                self._reason = str(error)
        if self._graph is None:
            self._tell()

    def _tell(self) -> None:
        warnings.warn(
            f"training steps are not captured in a CUDA graph, which would make them faster: {self._reason}",
            PylatentWarning,
            stacklevel=3,
        )


def _beside(step: Callable[[], None]) -> None:
    """On a stream of its own, as what is captured later must have run before."""
    stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        step()
    current.wait_stream(stream)


class Watch(TorchDispatchMode):
    """Looks for what cannot be captured; `found` says what, or is None."""

    found: str | None = None

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in _READ:
            self.found = f"a step waits for the device to read a number ({function})"
        elif function in _COPY:
            source = args[1] if function is torch.ops.aten.copy_.default else args[0]
            target = args[0] if function is torch.ops.aten.copy_.default else result
            if isinstance(source, Tensor) and source.device.type != target.device.type:
                self.found = f"a step copies from {source.device.type} to {target.device.type} ({function})"
        return result


_READ = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}
_COPY = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
