"""pylatent: learned image compression that is fast enough to use."""

from pylatent import _lazy, pillow
from pylatent._version import __version__
from pylatent.errors import FormatError, ImageError, MismatchError, ModelError, PylatentError, PylatentWarning

TYPE_CHECKING = False  # of `typing`, which takes 15 ms to import
if TYPE_CHECKING:
    from pylatent.api import compress, decode_image, decompress, load
    from pylatent.compat.patch import patch, unpatch
    from pylatent.config import show_config

__all__ = [
    "FormatError",
    "ImageError",
    "MismatchError",
    "ModelError",
    "PylatentError",
    "PylatentWarning",
    "__version__",
    "compress",
    "decode_image",
    "decompress",
    "load",
    "patch",
    "pillow",
    "show_config",
    "unpatch",
]

# Pillow reads and writes .lat files from here on (`pillow`). The command line answers --help without torch.
__getattr__, __dir__ = _lazy.names(
    __name__,
    {
        "api": ("compress", "decode_image", "decompress", "load"),
        "compat.patch": ("patch", "unpatch"),
        "config": ("show_config",),
    },
    (
        "archive",
        "codecs",
        "coding",
        "compat",
        "entropy",
        "evaluation",
        "images",
        "layers",
        "ops",
        "refine",
        "tasks",
        "train",
        "zoo",
    ),
)
