"""Signed quotes: the canonical form that is signed, the signer, public keys as others read them, and the check.

A quote without its ``signature`` is written in the canonical form of RFC 8785 and signed with Ed25519 (RFC 8032).
Values are signed, not bytes: whoever parses a quote and writes its values by the same rules gets the same form,
whatever spaces, order of names or way to write a number it came with.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"
SIGNATURE = "signature"
"""Name in a quote under which its signature stands."""

MOST_EXACT = 2**53 - 1
"""Up to here every integer is one double: JavaScript reads it as it was written."""
_PLAIN_FROM, _PLAIN_BELOW = 1e-4, 1e15
"""Sizes of the fractions that every writer of shortest digits writes alike, without an exponent."""

_AS_THEY_ARE = frozenset({str, bool, type(None)})

_write = msgspec.json.Encoder(order="sorted").encode

PublicKeys = Mapping[str, Ed25519PublicKey]
"""Public keys by their ids."""


class NotCanonical(ValueError):
    """A value has no canonical form: an integer that is no double, a name that is not ASCII, text that is not Unicode,
    or what is no JSON at all."""


class SignatureRefused(ValueError):
    """A quote or a call is not what was signed; ``code`` is stable, the message says what is wrong.

    unsigned, malformed, unknown_algorithm, unknown_key, changed; of a call, which says when it was signed, also stale.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class KeysUnreadable(ValueError):
    """What should hold public keys does not; the message says why."""


def canonical_json(value: Any) -> bytes:
    """The one form (RFC 8785) of a JSON value: names sorted, no spaces, UTF-8, and numbers as ECMAScript writes them:
    1.0 is ``1``, 1e-05 is ``0.00001``, 1e-07 is ``1e-7``. Raises NotCanonical."""
    try:
        return _write(_plain(value))
    except (UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical("text that is not Unicode, or nested too deeply") from error


def _has_plain_names(names: Iterable[Any]) -> bool:
    # ASCII names have one order; of others RFC 8785 sorts the UTF-16 units, which few writers do.
    try:
        return "".join(names).isascii()
    except TypeError:
        return False


def _plain(value: Any) -> Any:
    """The value, its numbers in the form in which they are to be written; what needs no care is not copied."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is dict:
        if not _has_plain_names(value):
            raise NotCanonical("a name that is not ASCII")
        changed = _changed(value.items())
        return value | changed if changed else value
    if kind is list:
        changed = _changed(enumerate(value))
        return [changed.get(place, item) for place, item in enumerate(value)] if changed else value
    if kind is float:
        if value.is_integer() and -_PLAIN_BELOW < value < _PLAIN_BELOW:
            return int(value)
        is_plain = _PLAIN_FROM <= value < _PLAIN_BELOW
        return value if is_plain else msgspec.Raw(ecmascript_number(value).encode())
    if kind is int:
        return value if -MOST_EXACT <= value <= MOST_EXACT else _large(value)
    raise NotCanonical(f"a {kind.__name__}, which is no JSON")


def _changed(items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Those of the items that are to be written in another form, in that form."""
    return {
        name: new
        for name, item in items
        if type(item) not in _AS_THEY_ARE and (new := _plain(item)) is not item
    }


def _large(value: int) -> int:
    """An integer that a reader of doubles would write with the same digits."""
    if value.bit_length() < 70 and ecmascript_number(float(value)) == str(
        value
    ):  # from 1e21 on exponents are written
        return value
    raise NotCanonical("an integer that is no double")


def ecmascript_number(value: float) -> str:
    """A double as ``Number::toString`` of ECMAScript writes it: its shortest digits, an exponent only below 1e-6 and
    from 1e21. Raises NotCanonical for what is not a number."""
    if value - value != 0.0:
        raise NotCanonical("infinity and NaN are no JSON")
    if value == 0.0:
        return "0"  # also for minus zero
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    digits, _, exponent = repr(value).partition("e")
    return f"{digits}e{int(exponent):+d}"


@dataclass(frozen=True)
class Signer:
    """Signs quotes with one key, named by ``kid``."""

    key: Ed25519PrivateKey = field(repr=False)
    kid: str

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> Signer:
        return cls(key=key, kid=key_id(key.public_key()))

    def sign(self, body: Mapping[str, Any]) -> dict[str, str]:
        """The ``signature`` of a quote's body, which must be what its client gets (a signature in it does not count).
        Raises NotCanonical."""
        value = self.key.sign(signed_form(body))
        return {"alg": ALGORITHM, "kid": self.kid, "value": base64url(value)}


def signed_form(body: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: the canonical form of all but the signature. Raises NotCanonical."""
    return canonical_json({name: item for name, item in body.items() if name != SIGNATURE})


def check_signature(body: Mapping[str, Any], keys: PublicKeys) -> str:
    """The id of the key that signed exactly this body. Raises SignatureRefused."""
    signature = body.get(SIGNATURE)
    if signature is None:
        raise SignatureRefused("unsigned", "it carries no signature")
    if not isinstance(signature, dict) or set(signature) != {"alg", "kid", "value"}:
        raise SignatureRefused("malformed", "its signature is not made of alg, kid and value")
    if signature["alg"] != ALGORITHM:
        raise SignatureRefused("unknown_algorithm", f"it is not signed with {ALGORITHM}")
    key = keys.get(signature["kid"]) if isinstance(signature["kid"], str) else None
    if key is None:
        detail = f"the key that it names, {signature['kid']!r:.60}, is not among the keys given"
        raise SignatureRefused("unknown_key", detail)
    try:
        key.verify(_signature_bytes(signature["value"]), signed_form(body))
    except NotCanonical as error:
        raise SignatureRefused("malformed", f"it holds {error}") from error
    except InvalidSignature:
        raise SignatureRefused("changed", "it is not what was signed: something in it was changed") from None
    return signature["kid"]


def _signature_bytes(text: Any) -> bytes:
    try:
        value = from_base64url(text)
    except ValueError:
        value = b""
    if len(value) != 64:
        raise SignatureRefused("malformed", "its signature's value is not 64 bytes in base64url")
    return value


# --- keys as others read them ------------------------------------------------------------------------------------


def key_id(key: Ed25519PublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638): anybody can work it out from the key."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": base64url(key.public_bytes_raw())}
    return base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def jwks(keys: PublicKeys) -> dict[str, Any]:
    """The keys as a JSON Web Key Set (RFC 7517, RFC 8037), by id."""
    return {"keys": [_jwk(kid, key) for kid, key in sorted(keys.items())]}


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    x = base64url(key.public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": ALGORITHM, "use": "sig"}


def keys_of_jwks(document: Any) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 keys of a JSON Web Key Set, by thumbprint. Raises KeysUnreadable where there is none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise KeysUnreadable("not a JSON Web Key Set: there is no list `keys`")
    found = [_key_of(item) for item in listed if isinstance(item, dict) and item.get("crv") == "Ed25519"]
    if not found:
        raise KeysUnreadable("there is no Ed25519 key in it")
    return {key_id(key): key for key in found}


def _key_of(item: Mapping[str, Any]) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(from_base64url(item.get("x")))
    except ValueError as error:
        raise KeysUnreadable("an Ed25519 key in it is not 32 bytes in base64url") from error


def base64url(value: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def from_base64url(text: Any) -> bytes:
    """The bytes of base64url without padding, in its only form. Raises ValueError."""
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("not base64url")
    try:
        value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64url(value) != text:
        raise ValueError("not base64url in its only form")
    return value
