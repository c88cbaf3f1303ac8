"""For models that were written with CompressAI or torchvision: their functions and modules, faster.

`pylatent.patch(model)` replaces the modules of one model; `compressai.install()` and `torchvision.install()`, or
`installed()` in a `with` statement, replace the functions that models call by name.
"""

from pylatent import _lazy

__getattr__, __dir__ = _lazy.names(__name__, {}, ("compressai", "patch", "torchvision"))
