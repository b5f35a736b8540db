"""One leaf of the evidence log: what its hash is made of. Reading one needs no database.

The leaf's bytes are the canonical JSON (RFC 8785) of the fields of :class:`Leaf`; what was said is in it only as
SHA-256 of 32 random bytes and its own canonical JSON. So a leaf gives nothing away, and whoever has both can check it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from features.extras import SECRET_WORDS
from pipelines.recycling.merkle import leaf_hash
from pipelines.signing import NotCanonical, canonical_json

SALT_BYTES = 32
MOST_PAYLOAD_BYTES = 100_000
LENGTHS = {"leaf_id": 64, "kind": 48, "subject": 128, "actor": 128, "source": 128}
"""Most characters of each text of a leaf."""


class PayloadRefused(ValueError):
    """What should go into the evidence log cannot: it is no JSON, too large, or looks like a card secret."""


@dataclass(frozen=True)
class Leaf:
    """What was captured. ``at``: ISO time in UTC; ``commitment``: the salted hash of what was said, in hex."""

    leaf_id: str
    kind: str
    subject: str
    actor: str
    source: str
    at: str
    commitment: str

    @property
    def hash(self) -> bytes:
        """The leaf's hash in the tree."""
        return leaf_hash(canonical_json(asdict(self) | {"v": 1}))


def checked_leaf(
    *, leaf_id: str, kind: str, subject: str, actor: str, source: str, at: datetime, commitment: str
) -> Leaf:
    """A leaf whose texts are there and not too long. Raises PayloadRefused."""
    texts = {"leaf_id": leaf_id, "kind": kind, "subject": subject, "actor": actor, "source": source}
    for name, text in texts.items():
        if not 0 < len(text) <= LENGTHS[name] or not text.isprintable():
            raise PayloadRefused(f"{name} has 1 to {LENGTHS[name]} printable characters")
    if at.tzinfo is None:
        raise PayloadRefused("a time needs its zone")
    return Leaf(**texts, at=time_text(at), commitment=commitment)


def commitment_to(payload: bytes, *, salt: bytes) -> str:
    """The salted hash of a payload's canonical JSON, in hex."""
    return hashlib.sha256(salt + payload).hexdigest()


def written_payload(payload: Any) -> bytes:
    """The one form of what is said. Raises PayloadRefused."""
    try:
        written = canonical_json(payload)
    except NotCanonical as error:
        raise PayloadRefused(f"it holds {error}") from error
    for name in _names(payload):
        if any(word in name.lower() for word in SECRET_WORDS):
            raise PayloadRefused(f"{name} looks like a card secret; those exist only in the vault")
    if len(written) > MOST_PAYLOAD_BYTES:
        raise PayloadRefused(f"more than {MOST_PAYLOAD_BYTES} bytes: log its hash instead")
    return written


def _names(value: Any) -> Iterator[str]:
    """The names in it, at any depth."""
    open_values = [value]
    while open_values:
        item = open_values.pop()
        if isinstance(item, dict):
            yield from (name for name in item if isinstance(name, str))
            open_values.extend(item.values())
        elif isinstance(item, list):
            open_values.extend(item)


def time_text(at: datetime) -> str:
    """A time as leaves hold it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
