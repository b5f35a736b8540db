"""The keys that wrap the data keys of cards: in a folder of this machine, or in HashiCorp Vault's transit engine.

A key management service of a cloud is a third ``KeyProvider``: four methods around its own wrap and unwrap.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    import httpx

KEY_BYTES = 32
NONCE_BYTES = 12
TRANSIT_SECONDS = 5.0
_LOCAL_NAME = re.compile(r"kek-([0-9]{6})-([0-9a-f]{8})")


class VaultKeyError(RuntimeError):
    """A key of the vault cannot be used; the message says why, and shows nothing of it."""


class CannotUnwrap(VaultKeyError):
    """The data key does not belong to this card, or was changed."""


@dataclass(frozen=True)
class Wrapped:
    """A data key that only the key named ``kek_id`` opens."""

    kek_id: str
    value: bytes = field(repr=False)


class KeyProvider(Protocol):
    """Whoever holds the key-encryption keys."""

    def current(self) -> str:
        """The id of the key that wraps now. Raises VaultKeyError."""
        ...

    def wrap(self, data_key: bytes, *, kek_id: str, bound: bytes) -> Wrapped:
        """Wrap a data key, bound to what it is for. Raises VaultKeyError."""
        ...

    def unwrap(self, wrapped: Wrapped, *, bound: bytes) -> bytes:
        """The data key. Raises CannotUnwrap where ``bound`` is not what it was wrapped for, VaultKeyError otherwise."""
        ...

    def renew(self) -> str:
        """Make a new key that wraps from now on; older ones still unwrap. Its id. Raises VaultKeyError."""
        ...

    def destroy(self, kek_id: str) -> None:
        """Destroy a key that wraps nothing any more: copies of data keys that it wrapped, in backups too, stay closed
        for ever. Raises VaultKeyError."""
        ...


# --- a folder of this machine ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalKeys:
    """Keys as files that only their owner may read; the one with the highest number wraps. A file's name ends in a
    digest of its key: a key that was lost is not mistaken for a new one, and may come back from its backup.
    has_sealed: whether there were cards; then no first key is made, for theirs is missing."""

    folder: Path
    has_sealed: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    def current(self) -> str:
        if names := self._names():
            return names[-1]
        if self.has_sealed():
            if names := self._names():  # whoever sealed the first card meanwhile had made a key before
                return names[-1]
            raise VaultKeyError(
                f"{self.folder} is empty, and cards were sealed with keys of it: bring them back from their backup"
            )
        return self.renew()

    def lost(self, kek_ids: Collection[str]) -> list[str]:
        """Those of some keys that cannot be used."""
        return sorted(kek_id for kek_id in kek_ids if not self._has(kek_id))

    def _has(self, kek_id: str) -> bool:
        try:
            self._key(kek_id)
        except VaultKeyError:
            return False
        return True

    def wrap(self, data_key: bytes, *, kek_id: str, bound: bytes) -> Wrapped:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return Wrapped(kek_id, nonce + AESGCM(self._key(kek_id)).encrypt(nonce, data_key, bound))

    def unwrap(self, wrapped: Wrapped, *, bound: bytes) -> bytes:
        nonce, value = wrapped.value[:NONCE_BYTES], wrapped.value[NONCE_BYTES:]
        try:
            return AESGCM(self._key(wrapped.kek_id)).decrypt(nonce, value, bound)
        except (InvalidTag, ValueError):
            raise CannotUnwrap("the data key does not belong to this card, or was changed") from None

    def renew(self) -> str:
        names, key = self._names(), secrets.token_bytes(KEY_BYTES)
        number = int(names[-1].split("-")[1]) + 1 if names else 1
        name = f"kek-{number:06d}-{_digest(key)}"
        keep_key(self.folder / name, key)
        return name

    def destroy(self, kek_id: str) -> None:
        if kek_id == self.current():
            raise VaultKeyError("the key that wraps now is not destroyed")
        with suppress(FileNotFoundError):
            self._path(kek_id).unlink()

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("kek-*") if _LOCAL_NAME.fullmatch(path.name))

    def _key(self, kek_id: str) -> bytes:
        key = read_key(self._path(kek_id))
        if not kek_id.endswith(_digest(key)):
            raise VaultKeyError(f"{self._path(kek_id)} holds another key than its name says")
        return key

    def _path(self, kek_id: str) -> Path:
        if not _LOCAL_NAME.fullmatch(kek_id):
            raise VaultKeyError("a card is wrapped with a key that is not of this folder")
        return self.folder / kek_id


def _digest(key: bytes) -> str:
    return hashlib.sha256(b"huika key\x00" + key).hexdigest()[:8]


def keep_key(path: Path, key: bytes) -> None:
    """Keep a key in a file of its own, whole or not at all; nothing happens where there is a file already."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, key)
        os.fsync(file)
        with suppress(FileExistsError):
            os.link(temporary, path)  # fails where there is one: what wraps cards is never overwritten
    finally:
        os.close(file)
        temporary.unlink()
    _sync(path.parent)


def read_key(path: Path) -> bytes:
    """The key in a file that nobody but its owner may read. Raises VaultKeyError."""
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise VaultKeyError(f"{path} can be read by others: it must have mode 600")
        key = path.read_bytes()
    except OSError as error:
        raise VaultKeyError(f"{path}: {error.strerror}") from None
    if len(key) != KEY_BYTES:
        raise VaultKeyError(f"{path} does not hold {KEY_BYTES} bytes")
    return key


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# --- HashiCorp Vault, transit engine -----------------------------------------------------------------------------


@dataclass(frozen=True)
class TransitKeys:
    """A key of type ``aes256-gcm96`` in a transit engine. url: of Vault; mount: of the engine; token_file: holds the
    token, and is read for each call, so that an agent may renew it."""

    url: str
    key_name: str
    token_file: Path
    mount: str = "transit"
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    def current(self) -> str:
        return self._id(self._call("GET", f"keys/{self.key_name}")["latest_version"])

    def wrap(self, data_key: bytes, *, kek_id: str, bound: bytes) -> Wrapped:
        body = {
            "plaintext": _base64(data_key),
            "associated_data": _base64(bound),
            "key_version": self._version(kek_id),
        }
        answer = self._call("POST", f"encrypt/{self.key_name}", body)
        return Wrapped(kek_id, str(answer["ciphertext"]).encode())

    def unwrap(self, wrapped: Wrapped, *, bound: bytes) -> bytes:
        self._version(wrapped.kek_id)
        body = {"ciphertext": wrapped.value.decode("ascii", "replace"), "associated_data": _base64(bound)}
        answer = self._call("POST", f"decrypt/{self.key_name}", body)
        try:
            return base64.b64decode(answer["plaintext"], validate=True)
        except (binascii.Error, TypeError):
            raise VaultKeyError("the transit engine's answer is not base64") from None

    def renew(self) -> str:
        self._call("POST", f"keys/{self.key_name}/rotate", {})
        return self.current()

    def destroy(self, kek_id: str) -> None:
        raise VaultKeyError(
            "versions of a transit key are destroyed in Vault itself: raise min_decryption_version, then trim"
        )

    def _id(self, version: Any) -> str:
        return f"transit:{self.key_name}:{version}"

    def _version(self, kek_id: str) -> int:
        start, _, version = kek_id.rpartition(":")
        if start != f"transit:{self.key_name}" or not version.isdecimal():
            raise VaultKeyError("a card is wrapped with a key that is not of this transit engine")
        return int(version)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data of an answer. Nothing of what was sent or came back is in an error's text."""
        import httpx

        try:
            headers = {"X-Vault-Token": self.token_file.read_text(encoding="ascii").strip()}
            address = f"{self.url.rstrip('/')}/v1/{self.mount}/{path}"
            with httpx.Client(transport=self.transport, timeout=TRANSIT_SECONDS) as client:
                answer = client.request(method, address, headers=headers, json=body)
        except OSError as error:
            raise VaultKeyError(f"the token of the transit engine: {error.strerror}") from None
        except httpx.HTTPError as error:
            raise VaultKeyError(f"the transit engine does not answer: {type(error).__name__}") from None
        return _data(answer, path)


def _data(answer: httpx.Response, path: str) -> dict[str, Any]:
    operation = path.partition("/")[0]
    if answer.status_code == 400 and operation == "decrypt":
        raise CannotUnwrap("the transit engine does not unwrap the data key for this card")
    if answer.status_code not in (200, 204):
        raise VaultKeyError(f"the transit engine answers {operation} with {answer.status_code}")
    try:
        data = answer.json().get("data") if answer.content else None
    except ValueError:
        raise VaultKeyError("the transit engine's answer is not JSON") from None
    return data or {}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
