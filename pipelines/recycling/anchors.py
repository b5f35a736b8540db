"""Where checkpoints are left outside the platform, so that not even its owner can change what they cover.

A time stamp of RFC 3161 says when a checkpoint existed at the latest; a witness file on somebody else's storage says
what the tree was, and refuses one that does not continue it. Anything else that keeps 32 bytes may be an ``Anchor``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipelines.recycling.checkpoints import CheckpointRefused, from_base64, to_base64
from pipelines.recycling.merkle import ProofRefused, check_consistency

if TYPE_CHECKING:
    import httpx
    from cryptography.x509 import Certificate

TIME_STAMP, FILE_WITNESS = "rfc3161", "file_witness"
MOST_REPLY_BYTES = 100_000
STAMP_SECONDS = 10.0

Continuation = Callable[[int], Sequence[bytes]]
"""The proof that the first so many leaves are the beginning of the tree that is to be anchored."""


class AnchorFailed(RuntimeError):
    """A checkpoint could not be left outside; the message says why. It is tried again with the next checkpoint."""


class StampRefused(ValueError):
    """A time stamp does not show what it should; the message says why."""


@dataclass(frozen=True)
class Anchoring:
    """What came back. ``at``: the time that the other side says. ``proof``: what it can be checked by later."""

    at: datetime
    proof: str


class Anchor(Protocol):
    """Somebody outside who keeps checkpoints."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    def leave(
        self, note: str, *, size: int, root: bytes, continuation: Continuation, now: datetime
    ) -> Anchoring:
        """Leave a signed checkpoint there. Raises AnchorFailed."""
        ...


# --- a file on somebody else's storage ---------------------------------------------------------------------------


@dataclass(frozen=True)
class FileWitness:
    """A file that only grows: time, size, root and hash of each checkpoint, one a line. It is worth as much as the
    storage it lies on: another company's, or one that cannot be overwritten."""

    path: Path
    kind: str = FILE_WITNESS

    @property
    def name(self) -> str:
        return f"file:{self.path.name}"

    def leave(
        self, note: str, *, size: int, root: bytes, continuation: Continuation, now: datetime
    ) -> Anchoring:
        line = witness_line(note, size=size, root=root, at=now)
        try:
            with self.path.open("a+", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                _check_continues(file.readlines(), size=size, root=root, continuation=continuation)
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no witness file"
            raise AnchorFailed(f"{self.name}: {reason}") from error
        return Anchoring(at=now, proof=line)


def witness_line(note: str, *, size: int, root: bytes, at: datetime) -> str:
    digest = hashlib.sha256(note.encode()).digest()
    moment = at.astimezone(UTC).isoformat(timespec="seconds")
    return f"{moment} {size} {to_base64(root)} {to_base64(digest)}"


def _check_continues(lines: Sequence[str], *, size: int, root: bytes, continuation: Continuation) -> None:
    if not lines:
        return
    try:
        _, last_size, last_root, _ = lines[-1].split()
        older, older_root = int(last_size), from_base64(last_root)
        proof = continuation(older)
        check_consistency(older=older, newer=size, proof=proof, older_root=older_root, newer_root=root)
    except (ValueError, CheckpointRefused, ProofRefused) as error:
        raise AnchorFailed("the witness has seen a tree that this one does not continue") from error


# --- time stamps of RFC 3161 -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimeStamps:
    """A time stamping authority. roots: certificates whom it must lead to."""

    url: str
    roots: tuple[Certificate, ...]
    kind: str = TIME_STAMP
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.url.partition("://")[2].partition("/")[0].rpartition("@")[2]

    def leave(
        self, note: str, *, size: int, root: bytes, continuation: Continuation, now: datetime
    ) -> Anchoring:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

        request = TimestampRequestBuilder().data(note.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
        reply = self._asked(request.as_bytes())
        try:
            at = stamped_at(reply, note, roots=self.roots, nonce=request.nonce)
        except StampRefused as error:
            raise AnchorFailed(f"{self.name}: {error}") from error
        return Anchoring(at=at, proof=to_base64(reply))

    def _asked(self, request: bytes) -> bytes:
        import httpx

        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            with httpx.Client(transport=self.transport, timeout=STAMP_SECONDS) as client:
                answer = client.post(self.url, content=request, headers=headers)
        except httpx.HTTPError as error:
            raise AnchorFailed(f"{self.name} does not answer: {type(error).__name__}") from None
        if answer.status_code != 200 or len(answer.content) > MOST_REPLY_BYTES:
            raise AnchorFailed(f"{self.name} answers with {answer.status_code}")
        return answer.content


def stamped_at(
    reply: bytes, note: str, *, roots: Sequence[Certificate], nonce: int | None = None
) -> datetime:
    """When a time stamp says that the checkpoint existed; offline. Raises StampRefused."""
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    if not roots:
        raise StampRefused("there is no root certificate to check the time stamp with")
    try:
        response = decode_timestamp_response(reply)
        builder = VerifierBuilder(roots=list(roots), nonce=nonce)
        builder.build().verify_message(response, note.encode())
        return response.tst_info.gen_time.astimezone(UTC)
    except VerificationError as error:
        raise StampRefused(f"the time stamp does not hold: {error}") from error
    except ValueError as error:
        raise StampRefused("the time stamp cannot be read") from error


def certificates_of(pem: bytes, where: str) -> tuple[Certificate, ...]:
    """The certificates in PEM text. Raises StampRefused."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return tuple(load_pem_x509_certificates(pem))
    except ValueError as error:
        raise StampRefused(f"{where}: no certificates in PEM") from error
