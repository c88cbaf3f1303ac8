"""Exceptions of pylatent. Every one derives from `PylatentError`."""


class PylatentError(Exception):
    """Base class of all errors that pylatent raises on purpose (argument errors stay ValueError and TypeError)."""


class FormatError(PylatentError):
    """The bytes are not a valid stream, record or file; the message says what is wrong and where."""


class MismatchError(PylatentError):
    """The stream is intact, but was written by another model, or by one that computes other table indexes."""


class ModelError(PylatentError):
    """A model is unknown, incomplete, or not prepared for coding."""


class ImageError(PylatentError):
    """A picture cannot be read, or is of a kind that is not supported."""


class PylatentWarning(UserWarning):
    """A slower path, or something else that works but that the caller will want to know."""


class TargetWarning(PylatentWarning):
    """The wanted size or quality is out of the model's reach: the nearest file was made."""


class DistortionWarning(PylatentWarning):
    """The decoded picture is far from the original: the model cannot show it."""
