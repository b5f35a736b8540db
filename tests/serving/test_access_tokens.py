"""People's tokens: believed only when the issuer signed them, for this service, and they still last."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi.testclient import TestClient
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from pipelines.access_data import AccessData
from pipelines.application_data import ApplicationData
from pipelines.workspace import Workspace
from serving.api.access.control import open_access
from serving.api.access.issuer import LocalIssuer
from serving.api.access.roles import Client, Role
from serving.api.access.tokens import FETCH_AGAIN_SECONDS, TokenBook, TokenRefused, Trust
from serving.commands import access as commands
from serving.refusals import Refusal
from tests.serving.clients import asking

TRUST = Trust(issuer="https://id.example.com", audience="huika", role_claim="realm_access.roles")
RSA = generate_rsa(public_exponent=65537, key_size=2048)
EC = generate_private_key(SECP256R1())


def entry(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = ECAlgorithm if key is EC else RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def claims(**changed: Any) -> dict[str, Any]:
    """A good token's claims; None leaves one out."""
    now = int(time.time())
    whole = {"iss": TRUST.issuer, "aud": "huika", "sub": "li.wei", "iat": now, "exp": now + 300}
    whole |= {"realm_access": {"roles": ["risk_analyst", "offline_access"]}, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str = "rsa", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers={"kid": kid})


@dataclass
class Issuer:
    """What an issuer publishes, and how often it was asked."""

    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [entry(RSA, "rsa"), entry(EC, "ec", alg="ES256")]
    )
    asked: int = 0

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return {"keys": list(self.keys)}


def book_of(issuer: Issuer, seen: list[Client], clock: Callable[[], float] = time.time) -> TokenBook:
    book = TokenBook(trust=TRUST, fetch=issuer, clock=clock, seen=seen.append)
    book.refresh()
    return book


def whose(book: TokenBook, token: str) -> Client:
    return asyncio.run(book.client(token))


def test_a_good_token_says_who_and_in_which_roles():
    """Roles come from the claim that the settings name, other words in it mean nothing; the subject is not the id that
    gets into logs; a token is verified once."""
    seen: list[Client] = []
    book = book_of(Issuer(), seen)
    for token in (signed(), signed(EC, "ES256", "ec"), signed(RSA, "PS256")):
        for _ in range(2):
            client = whose(book, token)
            assert (client.name, client.roles) == ("li.wei", {Role.RISK_ANALYST})
            assert client.id.startswith("u_")
            assert "li.wei" not in client.id
    assert len({client.id for client in seen}) == 1
    assert len(seen) == 3


def unsigned(header: dict[str, str]) -> str:
    parts = [json.dumps(part).encode() for part in (header, claims())]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def with_public_key_as_secret() -> str:
    """The classic forgery: the issuer's public key, which everybody knows, used as a shared secret."""
    import hashlib
    import hmac

    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed_part = unsigned({"alg": "HS256", "typ": "JWT", "kid": "rsa"})[:-1]
    mac = hmac.new(pem, signed_part.encode(), hashlib.sha256).digest()
    return f"{signed_part}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def tampered() -> str:
    """A good token with an administrator's claims put into it."""
    head, _, signature = signed().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(realm_access={"roles": ["admin"]})).encode())
    return f"{head}.{body.decode().rstrip('=')}.{signature}"


OLD = int(time.time()) - 3_600
BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: signed(exp=OLD),
    "not yet valid": lambda: signed(nbf=int(time.time()) + 3_600),
    "another's key under the issuer's name": lambda: signed(
        generate_rsa(public_exponent=65537, key_size=2048), "RS256", "rsa"
    ),
    "an unknown key": lambda: signed(kid="other"),
    "no key named": lambda: jwt.encode(claims(), RSA, algorithm="RS256"),
    "no signature": lambda: unsigned({"alg": "none", "typ": "JWT", "kid": "rsa"}),
    "no signature, in capitals": lambda: unsigned({"alg": "NONE", "typ": "JWT", "kid": "rsa"}),
    "the public key as a secret": with_public_key_as_secret,
    "tampered": tampered,
    "for another service": lambda: signed(aud="other"),
    "for nobody": lambda: signed(aud=None),
    "of another issuer": lambda: signed(iss="https://evil.example.com"),
    "of no issuer": lambda: signed(iss=None),
    "without an end": lambda: signed(exp=None),
    "of nobody": lambda: signed(sub=None),
    "no token at all": lambda: "abc",
    "empty parts": lambda: "..",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(kind):
    """Expired, forged, unsigned, for others or incomplete: nobody's. The refusal repeats nothing of it."""
    book = book_of(Issuer(), [])
    token = BAD[kind]()
    with pytest.raises(TokenRefused) as refusal:
        whose(book, token)
    assert token not in str(refusal.value)


def test_published_keys_that_must_not_sign_do_not():
    """Shared secrets, keys to encrypt with and other algorithms in the issuer's set are left out, and do not stop the
    others."""
    secret = {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}
    issuer = Issuer(
        [secret, entry(RSA, "enc", use="enc"), entry(RSA, "oaep", alg="RSA-OAEP"), entry(EC, "ec")]
    )
    issuer.keys.append({"kty": "EC", "crv": "strange", "kid": "x"})
    book = book_of(issuer, [])
    assert whose(book, signed(EC, "ES256", "ec")).name == "li.wei"
    shared = jwt.encode(claims(), b"x" * 32, algorithm="HS256", headers={"kid": "oct"})
    for token in (shared, signed(kid="enc"), signed(kid="oaep")):
        with pytest.raises(TokenRefused):
            whose(book, token)
    narrow = book_of(Issuer([entry(RSA, "rsa", alg="RS256")]), [])
    with pytest.raises(TokenRefused):
        whose(narrow, signed(RSA, "PS256"))


def test_a_new_key_of_the_issuer_is_fetched_and_an_old_one_ends():
    """An unknown key id makes the service look, but not more often than every few seconds; a token whose key was
    withdrawn ends with it, also one that was believed before."""
    now = time.time()
    moment = [now]
    issuer = Issuer([entry(RSA, "rsa")])
    book = book_of(issuer, [], clock=lambda: moment[0])
    token = signed()
    assert whose(book, token).name == "li.wei"
    issuer.keys[:] = [entry(EC, "ec")]
    for _ in range(3):
        with pytest.raises(TokenRefused):
            whose(book, signed(EC, "ES256", "ec"))
    assert issuer.asked == 1
    moment[0] = now + FETCH_AGAIN_SECONDS
    assert whose(book, signed(EC, "ES256", "ec")).name == "li.wei"
    assert issuer.asked == 2
    with pytest.raises(TokenRefused):
        whose(book, token)


def test_a_remembered_token_is_not_believed_longer_than_it_lasts():
    """A token that was verified is verified anew once its time, with the leeway for clocks that differ, is over."""
    moment, seen = [time.time()], []
    book = book_of(Issuer(), seen, clock=lambda: moment[0])
    token = signed(exp=int(moment[0]) + 300)
    for after, verified in ((0, 1), (309, 1), (311, 2)):
        moment[0] = time.time() + after
        whose(book, token)
        assert len(seen) == verified


def test_an_issuer_that_is_away_leaves_the_keys_that_are_known(caplog):
    """While the issuer does not answer, its last keys stand."""

    def away() -> dict[str, Any]:
        raise OSError("no route to host")

    book = book_of(Issuer(), [])
    book._fetch = away
    book.try_to_refresh()
    assert whose(book, signed()).name == "li.wei"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "home")


def status(client: TestClient, token: str, path: str = "/v1/quotes/q-0123456789/explanation") -> int:
    return client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code


def test_commands_let_people_and_machines_in_and_out(workspace, capsys):
    """`huika token` and `huika keys add` print what opens the service, `revoke` ends it, and `huika audit` tells all of
    it without any secret."""
    data = AccessData.open(ApplicationData(workspace.application_url))
    control = open_access(workspace, data)
    with asking(control) as client:
        commands.token("li.wei", [Role.RISK_ANALYST], minutes=5, home=workspace.home)
        token = capsys.readouterr().out.strip()
        assert status(client, token) not in (401, 403)
        assert status(client, token, "/metrics") == 403
        commands.add("ops", [Role.OPERATOR], home=workspace.home)
        key = capsys.readouterr().out.strip()
        assert status(client, key, "/metrics") == 401
        control._renew()
        assert status(client, key, "/metrics") not in (401, 403)
        commands.list_keys(as_json=True, home=workspace.home)
        listed = capsys.readouterr().out
        assert json.loads(listed)[0]["name"] == "ops"
        commands.revoke("ops", home=workspace.home)
        control._renew()
        assert status(client, key, "/metrics") == 401
        control._renew()
    with pytest.raises(Refusal, match="no key in use"):
        commands.revoke("ops", home=workspace.home)
    capsys.readouterr()
    commands.audit(since="", as_json=True, home=workspace.home)
    told = capsys.readouterr().out
    actions = {row["action"] for row in json.loads(told)}
    assert actions == {"token_seen", "explanation_revealed", "denied", "key_added", "key_revoked"}
    assert [row["object_id"] for row in json.loads(told) if row["action"] == "token_seen"] == ["li.wei"]
    secret = key.split("_", 2)[2]
    assert secret not in told + listed + (workspace.home / "huika.db").read_bytes().decode("latin-1")
    assert token.split(".")[2] not in told


def test_the_local_issuer_counts_only_while_no_other_is_named(workspace, tmp_path):
    """With an issuer in the settings, `huika token` refuses and its earlier tokens open nothing; the named one's do."""
    now = datetime.now(UTC)
    local = LocalIssuer(workspace.home / "issuer")
    lasts = timedelta(minutes=5)
    token = local.token(subject="x", roles=[Role.ADMIN], audience="huika", lasts=lasts, now=now)
    assert local.key_file.stat().st_mode & 0o777 == 0o600
    published = tmp_path / "jwks.json"
    published.write_text(json.dumps({"keys": [entry(RSA, "rsa")]}))
    section = (
        f'[access]\nissuer = "{TRUST.issuer}"\njwks_file = "{published}"\nrole_claim = "{TRUST.role_claim}"\n'
    )
    (workspace.home / "huika.toml").write_text(section)
    changed = Workspace.open(workspace.home)
    control = open_access(changed, AccessData.open(ApplicationData(changed.application_url)))
    with asking(control) as client:
        assert status(client, token) == 401
        assert status(client, signed()) not in (401, 403)
        assert status(client, signed(realm_access={"roles": ["nothing"]})) == 403
        assert status(client, signed(realm_access=None)) == 403
    with pytest.raises(Refusal, match="issuer"):
        commands.token("x", [Role.ADMIN], minutes=5, home=workspace.home)
