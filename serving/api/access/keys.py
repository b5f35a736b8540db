"""API keys of machines: ``hk_<id>_<secret>``."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from pipelines.access_data import StoredKey
from serving.api.access.roles import KEY_PREFIX, Client, Role

SECRET_BYTES = 32


def new_key(*, name: str, roles: Sequence[Role], now: datetime) -> tuple[str, StoredKey]:
    """A new key as its owner gets it, once, and as it is kept."""
    key_id, secret = f"{KEY_PREFIX}{secrets.token_hex(6)}", secrets.token_urlsafe(SECRET_BYTES)
    kept = StoredKey(
        key_id=key_id,
        name=name,
        roles=tuple(role.value for role in roles),
        secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
        created_at=now,
    )
    return f"{key_id}_{secret}", kept


class _Held(NamedTuple):
    digest: bytes
    client: Client


class KeyBook:
    """The keys that are valid now, in memory; :meth:`refresh` reads them anew.

    ``read`` gives all stored keys.
    """

    def __init__(self, read: Callable[[], Iterable[StoredKey]]) -> None:
        self._read = read
        self._held: dict[str, _Held] = {}

    def refresh(self) -> None:
        """Take in new and revoked keys, all at once. What was known stays where they cannot be read."""
        self._held = {key.key_id: _held(key) for key in self._read() if key.revoked_at is None}

    def client(self, presented: str) -> Client | None:
        """Whose key this is, None where it is nobody's."""
        key_id, _, secret = presented[len(KEY_PREFIX) :].partition("_")
        digest = hashlib.sha256(secret.encode()).digest()
        held = self._held.get(KEY_PREFIX + key_id)
        if held is None or not hmac.compare_digest(digest, held.digest):
            return None
        return held.client


def _held(key: StoredKey) -> _Held:
    known = {role.value for role in Role}
    roles = frozenset(Role(name) for name in key.roles if name in known)
    client = Client(id=key.name, credential=key.key_id, name=key.name, roles=roles)
    return _Held(bytes.fromhex(key.secret_sha256), client)
