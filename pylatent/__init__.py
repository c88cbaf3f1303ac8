"""pylatent: learned image compression that is fast enough to use."""

from pylatent._version import __version__
from pylatent.config import show_config
from pylatent.errors import FormatError, ImageError, MismatchError, ModelError, PylatentError, PylatentWarning

__all__ = [
    "FormatError",
    "ImageError",
    "MismatchError",
    "ModelError",
    "PylatentError",
    "PylatentWarning",
    "__version__",
    "show_config",
]
