"""Compressed image files into pixels."""

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_compress.core.errors import DataInvalid
from automl_compress.data.optional import require

# Pillow reads many more formats, each with a parser that hostile files could aim at.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")
_LARGEST_SIDE = 1024
# A few bytes can be an image of one colour, and thousands of those fit into one upload.
LARGEST_BYTES = 4 * 1024**3
_GREY_MODES = ("1", "L")


class ImageDecoder:
    """Decodes images that must all be of one size, and all grey or all in colour.

    The first image decides which; palettes and transparency become plain colour.
    """

    def __init__(self) -> None:
        self._pillow = require("PIL.Image", "Pillow", "reading image files")
        self._first: tuple[str, int, int] | None = None
        self._decoded_bytes = 0

    def decode(self, content: bytes, where: str) -> np.ndarray:
        """Decode one file.

        Args:
            content: the bytes of the file.
            where: names it in errors.

        Returns:
            uint8 (C, H, W), C is 1 or 3.

        Raises:
            DataInvalid: it can't be decoded, is too large, also with those before it, or differs
                from the first.
        """
        try:
            with self._pillow.open(BytesIO(content), formats=_FORMATS) as image:
                # The header is enough to refuse an image before its pixels take memory.
                mode = self._check(image, where)
                self._count(image, mode, where)
                pixels = np.asarray(image.convert(mode))
        except DataInvalid:
            raise
        # Pillow's parsers raise whatever they stumble over.
        except Exception as error:
            raise DataInvalid(
                f"the image at {where} cannot be decoded ({type(error).__name__}: {error}); it "
                f"must be one of: {', '.join(_FORMATS)}"
            ) from error
        return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _check(self, image: Any, where: str) -> str:
        width, height = image.size
        mode = "L" if image.mode in _GREY_MODES else "RGB"
        if max(width, height) > _LARGEST_SIDE:
            raise DataInvalid(
                f"the image at {where} is {width}x{height}; at most {_LARGEST_SIDE} pixels a side "
                "are taken, so scale the images down first"
            )
        self._first = self._first or (mode, width, height)
        if (mode, width, height) != self._first:
            first_mode, first_width, first_height = self._first
            raise DataInvalid(
                f"the image at {where} is {mode} {width}x{height}, the first one {first_mode} "
                f"{first_width}x{first_height}; all images must be of one size and kind"
            )
        return mode

    def _count(self, image: Any, mode: str, where: str) -> None:
        width, height = image.size
        self._decoded_bytes += width * height * len(mode)  # L or RGB
        if self._decoded_bytes > LARGEST_BYTES:
            raise DataInvalid(
                f"the images up to {where} take {self._decoded_bytes:,} bytes of memory; at most "
                f"{LARGEST_BYTES:,} are read, so give fewer or smaller ones"
            )


def stack(images: Iterable[np.ndarray], origin: str) -> Tensor:
    """Join images (C, H, W) to one tensor (N, C, H, W).

    Raises:
        DataInvalid: there are none.
    """
    found = list(images)
    if not found:
        raise DataInvalid(f"{origin} holds no images; give at least one for each split")
    return torch.from_numpy(np.stack(found))
