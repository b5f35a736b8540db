"""How callbacks are signed, and how a partner checks one: Ed25519 with the keys that sign quotes (``GET /v1/keys``).

Signed are three lines joined by newlines: ``huika-callback-1``, the header ``Huika-Timestamp`` (seconds since 1970) and
the body as it came, which is canonical JSON (RFC 8785).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature

from pipelines.signing import PublicKeys, SignatureRefused, Signer, base64url, from_base64url

DOMAIN = b"huika-callback-1"
"""First line of what is signed: a signature of a callback is none of a quote."""

ID, TIMESTAMP, KEY, SIGNATURE = "Huika-Callback-Id", "Huika-Timestamp", "Huika-Key-Id", "Huika-Signature"
FRESH_SECONDS = 300


def signed_headers(signer: Signer, *, callback_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers that go with a body."""
    moment = str(int(now.timestamp()))
    value = signer.key.sign(_signed(moment, body))
    return {ID: callback_id, TIMESTAMP: moment, KEY: signer.kid, SIGNATURE: base64url(value)}


def check_callback(
    headers: Mapping[str, str],
    body: bytes,
    keys: PublicKeys,
    *,
    now: datetime,
    fresh_seconds: float = FRESH_SECONDS,
) -> dict[str, Any]:
    """What a callback says, if the platform sent exactly this a moment ago. Keep its ``id``: it may come again.

    keys: :func:`pipelines.signing.keys_of_jwks` of ``GET /v1/keys``. Raises SignatureRefused: unsigned, malformed,
    unknown_key, stale, changed.
    """
    found = {name.lower(): value for name, value in headers.items()}
    moment, kid, value = (found.get(name.lower(), "") for name in (TIMESTAMP, KEY, SIGNATURE))
    if not (moment and kid and value):
        raise SignatureRefused("unsigned", "it lacks a header of its signature")
    if kid not in keys:
        raise SignatureRefused("unknown_key", "the key that it names is not among the keys given")
    try:
        signature, age = from_base64url(value), now.timestamp() - int(moment)
    except (ValueError, OverflowError):
        raise SignatureRefused("malformed", "its time or signature cannot be read") from None
    try:
        keys[kid].verify(signature, _signed(moment, body))
    except InvalidSignature:
        raise SignatureRefused("changed", "it is not what was signed: something in it was changed") from None
    if abs(age) > fresh_seconds:
        raise SignatureRefused("stale", "it was signed too long ago, or this clock is wrong")
    return json.loads(body)


def _signed(moment: str, body: bytes) -> bytes:
    return b"\n".join((DOMAIN, moment.encode(), body))
