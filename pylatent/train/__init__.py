"""Training recipes; those of codecs and of classifiers need the extra `train`."""

from pylatent import _lazy

__getattr__, __dir__ = _lazy.names(
    __name__, {}, ("classifier", "clc", "context", "dictionary", "light", "light_start", "perceptual", "rd", "tables")
)
