"""How partners sign what they call us about: HMAC-SHA256 with a secret that both have.

Signed are three lines joined by newlines: ``huika-provider-1``, the header ``Provider-Timestamp`` (seconds since 1970)
and the body byte for byte; ``Provider-Signature`` is base64url without padding.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from pipelines.signing import SignatureRefused, base64url, from_base64url

DOMAIN = b"huika-provider-1"
"""First line of what is signed: the secret may serve for nothing else."""
TIMESTAMP, SIGNATURE = "Provider-Timestamp", "Provider-Signature"
FRESH_SECONDS = 300
_MOMENT = re.compile("[0-9]{1,12}")
"""Seconds as a stranger may write them: longer numbers are no time, and some are too large to count with."""


def signed_headers(secret: str, body: bytes, *, now: datetime) -> dict[str, str]:
    """The headers that go with a body."""
    moment = str(int(now.timestamp()))
    return {TIMESTAMP: moment, SIGNATURE: base64url(_digest(secret, moment, body))}


def check_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now: datetime) -> None:
    """Whether somebody who has one of the secrets sent exactly this a moment ago.

    Raises SignatureRefused: unsigned, malformed, changed, stale.
    """
    found = {name.lower(): value for name, value in headers.items()}
    moment, value = (found.get(name.lower(), "") for name in (TIMESTAMP, SIGNATURE))
    if not (moment and value):
        raise SignatureRefused("unsigned", "it lacks a header of its signature")
    try:
        signature = from_base64url(value)
    except ValueError:
        signature = b""
    if not signature or not _MOMENT.fullmatch(moment):
        raise SignatureRefused("malformed", "its time or signature cannot be read")
    if not any(hmac.compare_digest(signature, _digest(secret, moment, body)) for secret in secrets):
        raise SignatureRefused("changed", "it is not what was signed, or it was signed with another secret")
    if abs(now.timestamp() - int(moment)) > FRESH_SECONDS:
        raise SignatureRefused("stale", "it was signed too long ago, or one of the clocks is wrong")


def _digest(secret: str, moment: str, body: bytes) -> bytes:
    signed = b"\n".join((DOMAIN, moment.encode(), body))
    return hmac.new(secret.encode(), signed, hashlib.sha256).digest()
