"""A seller's photo, opened with care: format by content, limits before decoding, upright, and without what the
telephone wrote beside the picture (place, time, device)."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps

MAX_BYTES = 12 * 1024 * 1024
MAX_PIXELS = 40_000_000
MIN_SIDE, MAX_SIDE = 200, 12_000
READ_SIDE = 2_000
"""Longest side in pixels that is read; larger photos are reduced to it."""
FORMATS = ("JPEG", "PNG", "WEBP")

Trouble = Literal["empty", "too_large", "not_a_photo", "too_many_pixels", "too_small", "animated", "damaged"]

WORDS: dict[Trouble, tuple[str, str]] = {
    "empty": ("照片为空", "the photo is empty"),
    "too_large": ("照片超过 12 MB", "the photo is larger than 12 MB"),
    "not_a_photo": ("只接受 JPEG、PNG、WebP 照片", "only JPEG, PNG and WebP photos are read"),
    "too_many_pixels": ("照片像素过多", "the photo has too many pixels"),
    "too_small": ("照片太小，短边至少 200 像素", "the photo is too small: 200 pixels at least"),
    "animated": ("不接受动图", "moving pictures are not read"),
    "damaged": ("照片已损坏或不完整", "the photo is damaged or incomplete"),
}

# What Pillow raises at data that is not what its header says.
_DAMAGES = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)


class PhotoRefused(ValueError):
    """A photo that cannot be read; ``code`` names the reason, the message says it in Chinese and English."""

    def __init__(self, code: Trouble) -> None:
        super().__init__(" ".join(WORDS[code]))
        self.code = code


@dataclass(frozen=True)
class UprightPhoto:
    """A photo as it is read: RGB, turned as it was held, at most READ_SIDE pixels long, nothing of EXIF left.

    ``sha256`` is of the bytes that were sent, for the evidence.
    """

    image: Image.Image
    sha256: str


def open_photo(content: bytes) -> UprightPhoto:
    """The photo in ``content``. Raises PhotoRefused; sizes are checked before any pixel is decoded."""
    if not content:
        raise PhotoRefused("empty")
    if len(content) > MAX_BYTES:
        raise PhotoRefused("too_large")
    image = _header(content)
    _check_size(image)
    try:
        image.draft("RGB", (READ_SIDE, READ_SIDE))  # a JPEG is decoded at a fraction where that is enough
        image.load()
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((READ_SIDE, READ_SIDE), Image.Resampling.LANCZOS)
        bare = Image.new("RGB", upright.size, "white")
        bare.paste(upright.convert("RGBA"), mask=upright.convert("RGBA").getchannel("A"))
    except _DAMAGES:
        raise PhotoRefused("damaged") from None
    return UprightPhoto(image=bare, sha256=hashlib.sha256(content).hexdigest())


def stripped(photo: UprightPhoto) -> bytes:
    """The photo as a JPEG that holds the picture and nothing else: what may be kept or shown."""
    out = io.BytesIO()
    photo.image.save(out, "JPEG", quality=90)
    return out.getvalue()


def _header(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise PhotoRefused("too_many_pixels") from None
    except _DAMAGES:
        raise PhotoRefused("not_a_photo") from None


def _check_size(image: Image.Image) -> None:
    wide, high = image.size
    if wide * high > MAX_PIXELS or max(wide, high) > MAX_SIDE:
        raise PhotoRefused("too_many_pixels")
    if min(wide, high) < MIN_SIDE:
        raise PhotoRefused("too_small")
    if getattr(image, "n_frames", 1) > 1:
        raise PhotoRefused("animated")
