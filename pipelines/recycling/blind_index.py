"""The blind index of a card: the same card has the same one, and without its key nobody works it out.

It is HMAC-SHA256 of the normalised brand and number, in hex, under a key that lies outside every database. It becomes
the ``card_fingerprint`` of a submission, so the models and the lists know a card again and never see its number.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass, field

KEY_BYTES = 32
_USE = b"huika blind index 1"
_DIGEST_USE = b"huika digest 1"


class NotACard(ValueError):
    """Without a brand, or without a letter or digit in its number; the message repeats neither."""


@dataclass(frozen=True)
class BlindIndex:
    """Works out blind indexes with one key."""

    key: bytes = field(repr=False)

    def of(self, brand: str, number: str) -> str:
        """The blind index of a card, in hex. Raises NotACard."""
        parts = (_USE, normalised_brand(brand).encode(), normalised_number(number).encode())
        return hmac.new(self.key, b"\x00".join(parts), hashlib.sha256).hexdigest()

    def digest(self, content: bytes) -> str:
        """A digest of anything, in hex: without the key nobody finds out by trying what it is of."""
        return hmac.new(self.key, _DIGEST_USE + b"\x00" + content, hashlib.sha256).hexdigest()


def normalised_brand(brand: str) -> str:
    """A card type however it is written. Raises NotACard."""
    plain = unicodedata.normalize("NFKC", brand).strip().casefold()
    if not plain:
        raise NotACard("a card has a brand")
    return plain


def normalised_number(number: str) -> str:
    """Letters and digits of a number in one form: full-width ones, spaces, hyphens and case make no other card. Raises
    NotACard."""
    plain = "".join(item for item in unicodedata.normalize("NFKC", number) if item.isalnum()).upper()
    if not plain:
        raise NotACard("a card number has letters or digits")
    return plain
