"""Signed quotes: one form for everybody, signatures that nothing survives but the quote itself, keys that rotate."""

from __future__ import annotations

import json
import math
import shutil
import stat
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from pipelines.signing import (
    KeysUnreadable,
    NotCanonical,
    SignatureRefused,
    Signer,
    base64url,
    canonical_json,
    check_signature,
    ecmascript_number,
    from_base64url,
    jwks,
    key_id,
    keys_of_jwks,
)
from pipelines.signing_keys import SigningKeyError, SigningKeys, signing_keys
from pipelines.workspace import Workspace

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
"""The secret key of test 1 of RFC 8032, section 7.1, which RFC 8037 writes as a JWK."""
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
SIGNER = Signer.of(Ed25519PrivateKey.from_private_bytes(SEED))
KEYS = {SIGNER.kid: SIGNER.key.public_key()}

QUOTE: dict[str, Any] = {
    "quote_id": "q-1",
    "card_type": "jd_ecard",
    "card_name_zh": "京东E卡",
    "payout": {"amount_fen": 46_400, "currency": "CNY"},
    "balance": None,
    "rate": 0.928,
    "fraud_probability": 3.1e-07,
    "acceptance_probability": 1.0,
    "no_offer": False,
    "reasons": [{"code": "MARKET", "zh": "行情", "en": "the market"}],
    "valid_until": "2026-03-01T00:10:00+00:00",
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(st.characters(max_codepoint=127)), json_values)


def test_the_key_of_the_standard_has_its_public_half_its_thumbprint_and_its_signature():
    """RFC 8032, section 7.1, and RFC 8037, appendix A: an outside reference for keys, key ids and signatures."""
    assert SIGNER.key.public_key().public_bytes_raw().hex() == PUBLIC
    assert SIGNER.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b"
    )
    assert SIGNER.key.sign(b"").hex() == expected


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_numbers_are_written_as_the_standard_says(bits: str, text: str):
    """RFC 8785, appendix B."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert ecmascript_number(value) == text
    assert canonical_json([value]) == f"[{text}]".encode()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_numbers_are_written_as_javascript_writes_them(tmp_path: Path):
    """Of doubles of every size, JSON.stringify writes what the canonical form holds."""
    sizes = [
        10.0**power * factor for power in range(-12, 24) for factor in (1.0, 1.5, 9.99999999999999, -7.3)
    ]
    (tmp_path / "numbers.json").write_text(json.dumps(sizes))
    script = "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(process.argv[1], 'utf8'))))"
    told = subprocess.run(
        ["node", "-e", script, str(tmp_path / "numbers.json")], capture_output=True, check=True
    )
    assert canonical_json(sizes) == told.stdout


def test_plain_values_are_written_as_python_writes_them_sorted_and_without_spaces():
    """Without numbers that Python and ECMAScript write differently, the form is json.dumps with its known options."""
    body = QUOTE | {"fraud_probability": 0.0123, "acceptance_probability": 0.5, "text": '"\\\n\x1f\x7f\u2028'}
    expected = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(body) == expected.encode()


@given(json_values)
def test_what_was_parsed_and_written_again_has_the_same_form(value: Any):
    """The form survives any number of round trips, and parses to the value."""
    form = canonical_json(value)
    assert canonical_json(json.loads(form)) == form
    assert canonical_json(json.loads(json.dumps(value, indent=3))) == form
    assert json.loads(form, parse_int=float) == value  # a whole double is written without a point


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**53 + 1, 10**400, {"名": 1}, {1: 1}, "\ud800", b"x", {"a": {1, 2}}, (1,)],
    ids=repr,
)
def test_what_not_everybody_reads_alike_is_not_signed(value: Any):
    """There is no canonical form for it."""
    with pytest.raises(NotCanonical):
        SIGNER.sign({"value": value})


@given(bodies)
def test_a_signed_body_verifies_and_an_own_signature_does_not_count(body: dict[str, Any]):
    """Signing and checking agree about what is signed, also after a round trip."""
    signed = body | {"signature": SIGNER.sign(body)}
    assert check_signature(json.loads(json.dumps(signed)), KEYS) == SIGNER.kid
    assert SIGNER.sign(signed) == signed["signature"]


def test_integers_and_whole_floats_are_the_same_number():
    """1.0 and 1 are one JSON number, so a program that writes one for the other breaks nothing."""
    signature = SIGNER.sign({"rate": 1.0, "small": 1e-07})
    assert check_signature({"signature": signature, "small": 0.0000001, "rate": 1}, KEYS) == SIGNER.kid


def _changes(body: Any) -> list[Any]:
    """The body with one thing in it changed, in every way."""
    match body:
        case dict():
            changed = [
                body | {name: other} if other is not ... else {k: v for k, v in body.items() if k != name}
                for name in body
                for other in [*_changes(body[name]), ...]
            ]
            return [*changed, body | {"added": None}]
        case list():
            inside = [
                [*body[:i], other, *body[i + 1 :]] for i, item in enumerate(body) for other in _changes(item)
            ]
            return [*inside, body[:-1], [*body, None]]
        case bool():
            return [not body, None]
        case int() | float():
            return [math.nextafter(body, 2) if isinstance(body, float) else body + 1, str(body), None]
        case str():
            return [body + " ", body.upper() + "X", ""]
        case _:
            return [0, False, ""]


def test_every_single_change_breaks_it():
    """Changed, added or left out: nothing but the quote as it was said verifies."""
    signature = SIGNER.sign(QUOTE)
    changes = _changes(QUOTE)
    assert len(changes) > 40
    for changed in changes:
        with pytest.raises(SignatureRefused) as refused:
            check_signature(changed | {"signature": signature}, KEYS)
        assert refused.value.code == "changed", changed


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kid": "other"}, "unknown_key"),
        ({"kid": None}, "unknown_key"),
        ({"kid": ["x"]}, "unknown_key"),
        ({"alg": "none"}, "unknown_algorithm"),
        ({"alg": "EdDSA"}, "unknown_algorithm"),
        ({"value": ""}, "malformed"),
        ({"value": None}, "malformed"),
        ({"value": base64url(bytes(63))}, "malformed"),
        ({"value": base64url(bytes(64))}, "changed"),
        ({"more": 1}, "malformed"),
    ],
)
def test_every_change_of_the_signature_itself_is_told(change: dict[str, Any], code: str):
    """What is wrong with a signature has a stable code."""
    with pytest.raises(SignatureRefused) as refused:
        check_signature(QUOTE | {"signature": SIGNER.sign(QUOTE) | change}, KEYS)
    assert refused.value.code == code


@pytest.mark.parametrize("quote", [QUOTE, QUOTE | {"signature": None}, QUOTE | {"signature": "x"}])
def test_without_a_signature_nothing_is_proven(quote: dict[str, Any]):
    """A missing signature is no valid one."""
    with pytest.raises(SignatureRefused):
        check_signature(quote, KEYS)


def test_a_signature_has_one_written_form():
    """Spare bits and padding of base64 cannot make a second signature of one quote."""
    value = SIGNER.sign(QUOTE)["value"]
    for other in (value + "==", value[:-1] + chr(ord(value[-1]) + 1), value + "\n", "+" + value[1:]):
        with pytest.raises(ValueError, match="base64url"):
            from_base64url(other)


def test_public_keys_travel_as_a_key_set():
    """What is published reads back as the same keys; other keys in a set are passed over."""
    document = json.loads(json.dumps(jwks(KEYS)))
    document["keys"].append({"kty": "RSA", "n": "x", "e": "AQAB", "kid": "r"})
    found = keys_of_jwks(document)
    assert list(found) == [SIGNER.kid]
    assert found[SIGNER.kid].public_bytes_raw().hex() == PUBLIC
    assert document["keys"][0]["kid"] == key_id(found[SIGNER.kid])


def test_a_key_under_another_keys_name_is_not_taken_for_it():
    """The id is worked out from the key: a set cannot give a known id to a key of its own."""
    document = jwks({SIGNER.kid: Ed25519PrivateKey.generate().public_key()})
    assert SIGNER.kid not in keys_of_jwks(document)


@pytest.mark.parametrize(
    "document", [None, {}, {"keys": {}}, {"keys": []}, {"keys": [{"crv": "Ed25519", "x": "AA"}]}]
)
def test_a_set_without_keys_is_told(document: Any):
    """It is an error, not an empty set."""
    with pytest.raises(KeysUnreadable):
        keys_of_jwks(document)


# --- keys on the disk --------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    """A second look finds the same key; no one else may read the private half."""
    keys = SigningKeys(tmp_path / "quotes")
    signer = keys.signer()
    assert keys.signer().kid == signer.kid
    assert list(keys.published()) == [signer.kid]
    private = tmp_path / "quotes" / f"{signer.kid}.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "quotes").stat().st_mode) == 0o700
    assert b"PRIVATE" not in (tmp_path / "quotes" / "public" / f"{signer.kid}.pem").read_bytes()
    assert "key" not in repr(signer).replace("kid", "")


def test_workers_that_start_at_once_sign_with_one_key(tmp_path: Path):
    """Whoever comes first makes it."""
    with ThreadPoolExecutor(8) as workers:
        kids = list(workers.map(lambda _: SigningKeys(tmp_path).signer().kid, range(16)))
    assert len(set(kids)) == 1
    assert len(list(tmp_path.glob("*.pem"))) == 1


def test_after_a_rotation_both_old_and_new_quotes_verify(tmp_path: Path):
    """The new key signs, the old public key stays, the old private key is gone."""
    keys = SigningKeys(tmp_path)
    old = keys.signer()
    signed = QUOTE | {"signature": old.sign(QUOTE)}
    former, new = keys.rotate()
    assert former is not None
    assert (former.kid, keys.signer().kid) == (old.kid, new.kid)
    assert check_signature(signed, keys.published()) == old.kid
    assert check_signature(QUOTE | {"signature": new.sign(QUOTE)}, keys.published()) == new.kid
    assert [path.stem for path in tmp_path.glob("*.pem")] == [new.kid]


def test_a_rotation_may_come_before_the_first_quote(tmp_path: Path):
    """There is no former key then."""
    former, new = SigningKeys(tmp_path).rotate()
    assert former is None
    assert SigningKeys(tmp_path).signer().kid == new.kid


def _pem(*, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return SIGNER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_key_of_ones_own_signs_and_is_published(tmp_path: Path):
    """As a path or as text; it rotates with the setting, and older public keys stay published."""
    (tmp_path / "own.pem").write_bytes(_pem())
    own = SigningKeys(tmp_path / "quotes").signer()
    for own_key in (str(tmp_path / "own.pem"), _pem().decode()):
        keys = SigningKeys(tmp_path / "quotes", given=own_key)
        assert keys.signer().kid == SIGNER.kid
        assert set(keys.published()) == {SIGNER.kid, own.kid}
        assert own_key not in repr(keys)
        with pytest.raises(SigningKeyError, match="key_file"):
            keys.rotate()


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN nonsense", _pem(password=b"secret")], ids=["empty", "bad", "locked"]
)
def test_a_key_that_cannot_be_used_is_told_without_its_content(tmp_path: Path, content: bytes):
    """The message names the setting and not what stands in the file."""
    (tmp_path / "own.pem").write_bytes(content)
    with pytest.raises(SigningKeyError, match=r"\[signing\] key_file") as refused:
        SigningKeys(tmp_path / "quotes", given=str(tmp_path / "own.pem")).signer()
    assert "BEGIN" not in str(refused.value)


def test_a_key_file_that_is_not_there_and_a_lost_key_are_told(tmp_path: Path):
    """Quotes are never signed with a key made in the place of one that was lost."""
    with pytest.raises(SigningKeyError, match="key_file"):
        SigningKeys(tmp_path, given=str(tmp_path / "absent.pem")).signer()
    keys = SigningKeys(tmp_path)
    (tmp_path / f"{keys.signer().kid}.pem").unlink()
    with pytest.raises(SigningKeyError):
        keys.signer()


def test_the_settings_name_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """[signing] key_file reaches the workspace's keys, and is not shown."""
    monkeypatch.setenv("HUIKA_SIGNING__KEY_FILE", _pem().decode())
    workspace = Workspace.open(tmp_path)
    assert signing_keys(workspace).signer().kid == SIGNER.kid
    assert "PRIVATE" not in repr(workspace.settings)
