"""How `pylatent.patch` changes a module: its class becomes a subclass of what it was. Weights, hooks, name and
`isinstance` stay, and changing the class back undoes it."""

from __future__ import annotations

from typing import Any

from torch import nn


class Patched:
    """Mixed into a class to make its modules ours; subclasses override methods. A copy or unpickled module is ours too.

    now: what it makes of them, for the report. theirs: the class that it was mixed into.
    """

    now: str
    theirs: type

    @classmethod
    def over(cls, theirs: type) -> type:
        """The one class that mixes this into `theirs`."""
        return _mixed(cls, theirs)

    @classmethod
    def bases(cls, theirs: type) -> tuple[type, ...]:
        """Classes that come after `theirs`, for what it calls by `super()`."""
        return ()

    def __reduce_ex__(self, protocol: Any) -> tuple:
        ours, theirs = type(self).__mro__[1], self.theirs
        reduced = super().__reduce_ex__(max(int(protocol), 2))
        assert isinstance(reduced, tuple)  # as of protocol 2
        return (_empty, (ours, theirs), *reduced[2:])


def names_called(cls: type) -> set[str]:
    """Global names and attributes that the methods which `cls` itself defines refer to."""
    codes = (getattr(method, "__code__", None) for method in vars(cls).values())
    return {name for code in codes if code is not None for name in code.co_names}


_classes: dict[tuple[type, type], type] = {}


def _mixed(ours: type[Patched], theirs: type) -> type:
    if (ours, theirs) not in _classes:
        names = {"theirs": theirs, "__module__": theirs.__module__, "__doc__": theirs.__doc__}
        _classes[ours, theirs] = type(theirs.__name__, (ours, theirs, *ours.bases(theirs)), names)
    return _classes[ours, theirs]


def _empty(ours: type[Patched], theirs: type[nn.Module]) -> nn.Module:
    cls: Any = ours.over(theirs)
    return cls.__new__(cls)
