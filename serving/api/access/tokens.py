"""Bearer tokens of people (JWT): signed by the issuer's published keys, for this service, with roles in a claim."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt
from starlette.concurrency import run_in_threadpool

from serving.api.access.roles import PERSON_PREFIX, Client, Role

log = logging.getLogger("huika")

ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""By the type of the issuer's key, so that a public key can never be taken for a shared secret."""

MOST_REMEMBERED = 4_096
LEEWAY_SECONDS = 10
FETCH_AGAIN_SECONDS = 15
"""How soon the issuer may be asked again because of a key id that nobody knows: anybody can invent one."""


@dataclass(frozen=True)
class Trust:
    """Whose tokens are believed. ``role_claim``: where the roles stand, with dots between nested names."""

    issuer: str
    audience: str
    role_claim: str


class TokenRefused(Exception):
    """The token proves nothing; the message is for the developer who sent it and repeats nothing of it."""


class _IssuerKey(NamedTuple):
    material: Any
    algorithms: Sequence[str]


class TokenBook:
    """Tells whose a token is. A token that was verified is remembered until it expires or the issuer's keys change.

    ``fetch`` gives the issuer's JWK set. ``clock``: Unix time in seconds. ``seen`` is told of every client whose token
    is verified.
    """

    def __init__(
        self,
        *,
        trust: Trust,
        fetch: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float],
        seen: Callable[[Client], None],
    ) -> None:
        self._trust = trust
        self._fetch = fetch
        self._clock = clock
        self._seen = seen
        self._published: Mapping[str, Any] = {}
        self._keys: dict[str, _IssuerKey] = {}
        self._fetched_at = 0.0
        self._fetching = asyncio.Lock()
        self._remembered: OrderedDict[bytes, tuple[Client, float]] = OrderedDict()

    def refresh(self) -> None:
        """Read the issuer's keys anew. Raises what ``fetch`` raises; the keys known before stay."""
        self._fetched_at = self._clock()
        published = self._fetch()
        if published != self._published:
            self._published, self._keys = published, _keys(published)
            self._remembered.clear()

    async def client(self, token: str) -> Client:
        """Whose token this is. Raises TokenRefused."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None:
            client, until = known
            if self._clock() < until:
                return client
            self._remembered.pop(digest, None)
        key = await self._key_of(token)
        client, until = self._verified(token, key)
        self._remembered[digest] = (client, until)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        self._seen(client)
        return client

    async def _key_of(self, token: str) -> _IssuerKey:
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
        except jwt.PyJWTError:
            raise TokenRefused("this is neither an API key nor a token") from None
        if kid not in self._keys and self._clock() - self._fetched_at >= FETCH_AGAIN_SECONDS:
            async with self._fetching:
                if self._clock() - self._fetched_at >= FETCH_AGAIN_SECONDS:
                    await run_in_threadpool(self.try_to_refresh)
        if kid not in self._keys:
            raise TokenRefused("the token is not signed by a key of the issuer")
        return self._keys[kid]

    def try_to_refresh(self) -> None:
        """Read the issuer's keys anew, or say in the log why not."""
        try:
            self.refresh()
        except Exception:
            log.exception("the issuer's keys could not be read")

    def _verified(self, token: str, key: _IssuerKey) -> tuple[Client, float]:
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=key.algorithms,
                audience=self._trust.audience,
                issuer=self._trust.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("the token has expired") from None
        except jwt.PyJWTError:
            raise TokenRefused("the token is not valid here") from None
        subject = str(claims["sub"])
        told = f"{self._trust.issuer}\n{subject}".encode()
        roles = _roles(claims, self._trust.role_claim)
        person = f"{PERSON_PREFIX}{hashlib.sha256(told).hexdigest()[:12]}"
        client = Client(id=person, credential=person, name=subject, roles=roles)
        return client, float(claims["exp"]) + LEEWAY_SECONDS


def _keys(published: Mapping[str, Any]) -> dict[str, _IssuerKey]:
    """The keys that may sign a token, by their id; shared secrets and keys to encrypt with are left out."""
    found = {}
    for entry in published.get("keys", ()):
        allowed = ALGORITHMS.get(entry.get("kty"), ())
        if "alg" in entry:
            allowed = tuple(name for name in allowed if name == entry["alg"])
        if not allowed or entry.get("use", "sig") != "sig":
            continue
        try:
            found[entry.get("kid", "")] = _IssuerKey(jwt.PyJWK(entry).key, allowed)
        except jwt.PyJWTError:  # a curve that the library does not know
            log.warning("a key of the issuer cannot be used")
    return found


def _roles(claims: Mapping[str, Any], path: str) -> frozenset[Role]:
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    known = {role.value: role for role in Role}
    return frozenset(known[name] for name in names if isinstance(name, str) and name in known)
