"""The keys that sign a workspace's quotes: made on first use, changed by rotation, their public halves kept for ever.

``keys/quotes/<kid>.pem`` is the key that signs, ``current`` names it, ``public/<kid>.pem`` are all public keys so far.
A key named in the settings takes the place of the workspace's own; its public half is kept there as well.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pipelines.application_data import quotes
from pipelines.databases import has_rows
from pipelines.signing import KeysUnreadable, PublicKeys, Signer, key_id

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

CURRENT = "current"
_PEM = "-----BEGIN"


class SigningKeyError(RuntimeError):
    """The key that should sign quotes cannot be used, or not be changed here; the message says why."""


@dataclass(frozen=True)
class SigningKeys:
    """The keys in one folder. given: path or PEM text of a private key that signs instead of the folder's own; empty:
    the folder's own signs. has_signed: whether something is there that a key of this folder signed; then no other one
    is made where it is missing."""

    folder: Path
    given: str = field(default="", repr=False)
    has_signed: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    @property
    def can_sign(self) -> bool:
        """Whether there is a key; none is made."""
        return bool(self.given) or (self.folder / CURRENT).exists()

    def signer(self) -> Signer:
        """What signs now; a key is made where there is none yet. Raises SigningKeyError."""
        if self.given:
            signer = Signer.of(_private_key(self._given_pem(), "the key of [signing] key_file"))
            self._publish(signer)
            return signer
        if not (self.folder / CURRENT).exists():
            with self._changing():
                if not (self.folder / CURRENT).exists():  # another worker may have been first
                    self._check_is_first()
                    self._make()
        return self._own()

    def _check_is_first(self) -> None:
        if self.has_signed():
            raise SigningKeyError(
                f"{self.folder} has no key, and what is there was signed with one: bring the folder back from its "
                "backup, or name another key as key_file in the settings"
            )

    def prepare(self) -> Signer:
        """A new key for :meth:`rotate`, kept nowhere yet, so that the former one can announce it. Raises
        SigningKeyError where a rotation would be refused."""
        self._check_own()
        return Signer.of(Ed25519PrivateKey.generate())

    def rotate(self, new: Signer | None = None) -> tuple[Signer | None, Signer]:
        """Let a new key sign from now on: the former signer, None where there was none, and the new one. The former
        private key is destroyed; its public half stays published. new: what :meth:`prepare` made. Raises
        SigningKeyError."""
        self._check_own()
        with self._changing():
            former = self._own() if (self.folder / CURRENT).exists() else None
            made = self._make(new)
            if former is not None:
                self._private(former.kid).unlink(missing_ok=True)
        return former, made

    def _check_own(self) -> None:
        if self.given:
            raise SigningKeyError(
                "key_file in the settings names the key: give it another one and start the service again; the public "
                "half of the former key stays published"
            )

    def published(self) -> PublicKeys:
        """All public keys that have signed here, by id. Raises KeysUnreadable."""
        paths = sorted((self.folder / "public").glob("*.pem"))
        return dict(_named(public_key_of(path.read_bytes(), str(path))) for path in paths)

    def _own(self) -> Signer:
        with suppress(FileNotFoundError):
            return self._read_own()
        try:  # a rotation came between the name and the key that it names: the next name stands
            return self._read_own()
        except OSError as error:
            raise SigningKeyError(f"the key in {self.folder} cannot be read: {error.strerror}") from error

    def _read_own(self) -> Signer:
        path = self._private((self.folder / CURRENT).read_text(encoding="ascii").strip())
        return Signer.of(_private_key(path.read_bytes(), str(path)))

    def _make(self, new: Signer | None = None) -> Signer:
        """A new key, whole on the disk and published before it is named as the one that signs."""
        signer = new or Signer.of(Ed25519PrivateKey.generate())
        pem = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_new(self._private(signer.kid), pem, mode=0o600)
        self._publish(signer)
        temporary = self.folder / f".{CURRENT}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        _write_new(temporary, signer.kid.encode(), mode=0o600)
        temporary.replace(self.folder / CURRENT)
        return signer

    def _publish(self, signer: Signer) -> None:
        path = self.folder / "public" / f"{signer.kid}.pem"
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        temporary = path.with_name(f".{signer.kid}.{os.getpid()}")
        temporary.write_bytes(pem)
        temporary.replace(path)

    def _private(self, kid: str) -> Path:
        return self.folder / f"{kid}.pem"

    def _given_pem(self) -> bytes:
        if self.given.lstrip().startswith(_PEM):
            return self.given.encode()
        try:
            return Path(self.given).expanduser().read_bytes()
        except OSError as error:
            raise SigningKeyError(f"[signing] key_file cannot be read: {error.strerror}") from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Held by whoever makes a key: one process at a time."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def signing_keys(workspace: Workspace) -> SigningKeys:
    """The keys of a workspace."""
    return SigningKeys(
        folder=workspace.home / "keys" / "quotes",
        given=workspace.settings.signing.key_file,
        has_signed=partial(has_rows, workspace.application_url, quotes),
    )


def public_key_of(pem: bytes, where: str) -> Ed25519PublicKey:
    """The public key in PEM text. Raises KeysUnreadable, which never repeats what was read."""
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise KeysUnreadable(f"{where}: not a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeysUnreadable(f"{where}: not an Ed25519 key")
    return key


def _named(key: Ed25519PublicKey) -> tuple[str, Ed25519PublicKey]:
    return key_id(key), key


def _private_key(pem: bytes, where: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SigningKeyError(f"{where}: not a private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"{where}: not an Ed25519 key")
    return key


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    """A file that was not there before, on the disk when this returns."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
