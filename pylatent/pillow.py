"""The `.lat` format in Pillow: `Image.open` and `Image.save`, once `pylatent` or this module is imported.

Pillow finds the plugins of other packages in no way of its own: they register when they are imported, as those for AVIF
and JPEG XL do. Opening a file reads its header; its model is loaded, once, when the first pixels are asked for.
"""

from __future__ import annotations

from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

from pylatent.coding.container import HEAD_BYTES, MAGIC, LatFile, LatHead
from pylatent.errors import FormatError, PylatentError

FORMAT, EXTENSION, MIME = "LAT", ".lat", "image/x-lat"
_OPTIONS = ("quality", "target_bpp", "target_psnr", "refine", "max_error", "model", "device", "threads")


class LatImageFile(ImageFile.ImageFile):
    """A `.lat` file that is open; `info` holds its `model`, `model_hash` and `quality` (None for a fixed rate).

    Opening raises UnidentifiedImageError for a header that is damaged. `load` raises OSError for damaged data and for a
    model that is not installed, and `verify` for data whose checksum is wrong, without a model.
    """

    format = FORMAT
    format_description = "pylatent picture"
    _coded = False  # whether there are no pixels yet

    def _open(self) -> None:
        assert self.fp is not None
        try:
            head = LatHead.from_bytes(self.fp.read(HEAD_BYTES))
        except FormatError as error:
            raise UnidentifiedImageError(self._named(error)) from error
        self._size = head.size[::-1]
        self._mode = "RGB"
        self.info = {"model": head.model, "model_hash": head.model_hash.hex(), "quality": head.quality}
        self._coded = True

    def load(self) -> Any:
        if self._coded:
            from pylatent import api

            try:
                image = api.decompress(self._contents())
            except PylatentError as error:
                raise OSError(self._named(error)) from error
            self.im = image.im
            self._coded, self.readonly = False, 0
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        try:
            LatFile.from_bytes(self._contents())
        except FormatError as error:
            raise OSError(self._named(error)) from error
        super().verify()

    def _contents(self) -> bytes:
        if self.fp is None:
            raise ValueError("Operation on closed image")  # Pillow's own words
        self.fp.seek(0)
        return self.fp.read()

    def _named(self, error: Exception) -> str:
        name = self.filename.decode(errors="replace") if isinstance(self.filename, bytes) else self.filename
        return f"{name}: {error}" if name else str(error)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    """Takes the options of `pylatent.compress`, and leaves others alone, as Pillow's own formats do."""
    from pylatent import api

    given = getattr(image, "encoderinfo", {})
    try:
        data = api.compress(image, **{option: given[option] for option in _OPTIONS if option in given})
    except PylatentError as error:
        raise OSError(str(error)) from error
    file.write(data)


Image.register_open(FORMAT, LatImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, EXTENSION)
Image.register_mime(FORMAT, MIME)
