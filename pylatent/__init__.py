"""pylatent: learned image compression that is fast enough to use."""

from pylatent.errors import FormatError, ImageError, MismatchError, ModelError, PylatentError, PylatentWarning

__version__ = "0.1.0"

__all__ = [
    "FormatError",
    "ImageError",
    "MismatchError",
    "ModelError",
    "PylatentError",
    "PylatentWarning",
    "__version__",
]
