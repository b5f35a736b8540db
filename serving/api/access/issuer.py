"""An issuer of the workspace's own, for development: whoever can read its folder can be anybody.

It counts only while the settings name no other issuer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import OKPAlgorithm

from serving.api.access.roles import Role

ISSUER_FOLDER = "issuer"
LOCAL_ISSUER = "urn:huika:local"
ALGORITHM = "EdDSA"


@dataclass(frozen=True)
class LocalIssuer:
    """Keeps one Ed25519 key in ``folder`` and signs tokens with it."""

    folder: Path

    @property
    def key_file(self) -> Path:
        return self.folder / "private_key.pem"

    @property
    def jwks_file(self) -> Path:
        return self.folder / "jwks.json"

    def jwks(self) -> dict[str, Any]:
        """The public key as the service reads it; an empty set before the first token."""
        return json.loads(self.jwks_file.read_text()) if self.jwks_file.exists() else {"keys": []}

    def token(
        self, *, subject: str, roles: Sequence[Role], audience: str, lasts: timedelta, now: datetime
    ) -> str:
        """A signed token; the key pair is made where there is none yet."""
        key = self._key()
        claims = {
            "iss": LOCAL_ISSUER,
            "aud": audience,
            "sub": subject,
            "roles": [role.value for role in roles],
            "iat": int(now.timestamp()),
            "exp": int((now + lasts).timestamp()),
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": _kid(key)})

    def _key(self) -> Ed25519PrivateKey:
        if not self.key_file.exists():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with open(os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
        key = load_pem_private_key(self.key_file.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        self._publish(key)
        return key

    def _publish(self, key: Ed25519PrivateKey) -> None:
        public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        entry = {**public, "kid": _kid(key), "use": "sig", "alg": ALGORITHM}
        partial = self.jwks_file.with_suffix(".partial")
        partial.write_text(json.dumps({"keys": [entry]}))
        partial.replace(self.jwks_file)


def _kid(key: Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(public).hexdigest()[:16]
