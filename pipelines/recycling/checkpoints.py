"""Signed checkpoints of the evidence log, in the formats of C2SP: tlog-checkpoint in a signed note, Ed25519.

A checkpoint is three lines (name of the log, number of leaves, root in base64); the signed note adds an empty line and
a signature line. Any reader of these formats verifies one with the log's verifier key, ``name+hash+key``.
https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipelines.recycling.merkle import HASH_BYTES

ED25519 = b"\x01"
"""How signed notes mark a plain Ed25519 key."""
MOST_NOTE_BYTES = 10_000
_NAME = re.compile(r"[^\s+]{1,200}")
_SIGNATURE_LINE = re.compile(r"\u2014 (\S+) (\S+)")


class CheckpointRefused(ValueError):
    """A checkpoint or a key is not what it should be; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The first ``size`` leaves of the log named ``origin`` have this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


@dataclass(frozen=True)
class VerifierKey:
    """The public key of a log, with the log's name."""

    name: str
    key: Ed25519PublicKey

    @property
    def hash(self) -> bytes:
        """Four bytes by which a signature line names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._marked).digest()[:4]

    @property
    def text(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{to_base64(self._marked)}"

    @property
    def _marked(self) -> bytes:
        return ED25519 + self.key.public_bytes_raw()


def checked_name(name: str) -> str:
    """A log's name as the formats allow it. Raises CheckpointRefused."""
    if not _NAME.fullmatch(name) or not name.isprintable():
        raise CheckpointRefused("a log's name has 1 to 200 printable characters, no space and no plus sign")
    return name


def signed_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The checkpoint as a signed note."""
    verifier = VerifierKey(checked_name(checkpoint.origin), key.public_key())
    signature = verifier.hash + key.sign(checkpoint.text.encode())
    return f"{checkpoint.text}\n\u2014 {verifier.name} {to_base64(signature)}\n"


def open_checkpoint(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """What a signed note says, if one of these keys of the log signed it and it is in its only form. Raises
    CheckpointRefused."""
    text, _, tail = note.partition("\n\n")
    found = _SIGNATURE_LINE.fullmatch(tail.removesuffix("\n"))
    if len(note.encode()) > MOST_NOTE_BYTES or found is None or not tail.endswith("\n"):
        raise CheckpointRefused("the checkpoint is no signed note with one signature")
    checkpoint = _parsed(text + "\n")
    signature = from_base64(found[2])
    for key in keys:
        if key.name == found[1] == checkpoint.origin and key.hash == signature[:4]:
            return _verified(checkpoint, signature[4:], key)
    raise CheckpointRefused("the key that signed the checkpoint is not among the keys of the log")


def _verified(checkpoint: Checkpoint, signature: bytes, key: VerifierKey) -> Checkpoint:
    try:
        key.key.verify(signature, checkpoint.text.encode())
    except InvalidSignature:
        raise CheckpointRefused("the checkpoint is not what the log signed") from None
    return checkpoint


def _parsed(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]):
        raise CheckpointRefused("the checkpoint does not have name, size and root")
    checkpoint = Checkpoint(checked_name(lines[0]), int(lines[1]), from_base64(lines[2]))
    if len(checkpoint.root) != HASH_BYTES:
        raise CheckpointRefused("the root of the checkpoint has not 32 bytes")
    return checkpoint


def parse_verifier_key(text: Any) -> VerifierKey:
    """A verifier key, in its only form. Raises CheckpointRefused."""
    parts = text.strip().split("+", 2) if isinstance(text, str) else []
    if len(parts) != 3:
        raise CheckpointRefused("a verifier key is name+hash+key")
    marked = from_base64(parts[2])
    if len(marked) != 33 or marked[:1] != ED25519:
        raise CheckpointRefused("the verifier key is not one of Ed25519")
    key = VerifierKey(checked_name(parts[0]), Ed25519PublicKey.from_public_bytes(marked[1:]))
    if key.text != text.strip():
        raise CheckpointRefused("the verifier key's hash does not belong to it")
    return key


def to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def from_base64(text: Any) -> bytes:
    """The bytes of base64 in its only form. Raises CheckpointRefused."""
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True) if isinstance(text, str) else None
    except (binascii.Error, UnicodeEncodeError):
        value = None
    if value is None or to_base64(value) != text:
        raise CheckpointRefused("something that should be base64 is not")
    return value


def keys_by_id(keys: Iterable[VerifierKey]) -> Mapping[str, Ed25519PublicKey]:
    """The keys by the ids that signatures of documents name."""
    from pipelines.signing import key_id

    return {key_id(key.key): key.key for key in keys}
