"""``huika verify``, ``huika signing`` and GET /v1/keys: a quote is verified by whoever holds it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.signing import jwks, keys_of_jwks
from pipelines.signing_keys import SigningKeys, signing_keys
from pipelines.workspace import Workspace
from serving.api.signatures import MEDIA_TYPE, router
from serving.cli import main
from serving.commands.verify import verdicts_of

ROOT = Path(__file__).parents[2]
BEFORE, AFTER = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
BODY: dict[str, Any] = {
    "quote_id": "q-1",
    "card_type": "jd_ecard",
    "card_name_zh": "京东E卡",
    "payout": {"amount_fen": 46_400, "currency": "CNY"},
    "rate": 0.928,
    "fraud_probability": 3.1e-07,
    "acceptance_probability": 1.0,
    "offer_density": 0.00002,
    "decision": "pay",
    "no_offer": False,
    "valid_until": "2099-03-01T00:10:00+00:00",
}


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return SigningKeys(tmp_path / "quotes")


@pytest.fixture
def quote(keys: SigningKeys) -> dict[str, Any]:
    return deepcopy(BODY) | {"signature": keys.signer().sign(BODY)}


@pytest.fixture
def key_set(tmp_path: Path, keys: SigningKeys) -> Path:
    keys.signer()
    return _written(tmp_path / "keys.json", jwks(keys.published()))


def _written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code of ``huika`` and all that it printed."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_a_genuine_quote_is_told_with_what_it_promises(quote, key_set, tmp_path, capsys):
    """Payout, rate, card type and until when; exit code 0."""
    code, told = _run(capsys, "verify", _written(tmp_path / "quote.json", quote), "--keys", key_set)
    assert code == 0
    for part in (
        "VALID",
        "q-1",
        "464.00 CNY",
        "0.928",
        "jd_ecard",
        "2099-03-01T00:10:00+00:00",
        "still open",
    ):
        assert part in told


def test_one_changed_fen_is_not_valid(quote, key_set, tmp_path, capsys):
    """The reason is named, and the exit code is 1."""
    quote["payout"]["amount_fen"] += 1
    code, told = _run(capsys, "verify", _written(tmp_path / "quote.json", quote), "--keys", key_set)
    assert code == 1
    assert "NOT VALID" in told
    assert "changed" in told
    assert "464" not in told  # an amount that nobody promised is not repeated


def test_one_bad_quote_among_good_ones_is_found(quote, key_set, tmp_path, capsys):
    """In an array and in a batch's answer; a batch's problems are no quotes."""
    forged = quote | {"rate": 0.95}
    batch = {"results": [{"quote": quote}, {"problem": {"code": "unknown_card_type"}}], "swaps": []}
    good = _written(tmp_path / "good.json", batch)
    bad = _written(tmp_path / "bad.json", [quote, forged])
    assert _run(capsys, "verify", good, "--keys", key_set)[0] == 0
    code, told = _run(capsys, "verify", bad, "--keys", key_set, "--json")
    assert code == 1
    assert [item["valid"] for item in json.loads(told)] == [True, False]


def test_an_expired_quote_is_genuine_and_told_to_be_expired(quote, keys):
    """Whether it was said and whether it still binds are two questions."""
    body = BODY | {"valid_until": "2026-03-01T12:00:00+00:00"}
    signed = body | {"signature": keys.signer().sign(body)}
    before, after = (verdicts_of(signed, keys.published(), now=now)[0] for now in (BEFORE, AFTER))
    assert (before.expired, after.expired) == (False, True)
    assert after.valid(unexpired=False)
    assert not after.valid(unexpired=True)


def test_what_is_signed_but_no_quote_is_not_valid(keys):
    """A signature over something else makes no promise of it."""
    for body in (
        {"hello": 1},
        {"valid_until": "soon"},
        {"valid_until": "2026-03-01T12:00:00"},
        {"valid_until": 5},
    ):
        signed = body | {"signature": keys.signer().sign(body)}
        (found,) = verdicts_of(signed, keys.published(), now=BEFORE)
        assert found.kid is None
        assert "no_quote" in str(found.problem)


def test_a_rotated_key_still_verifies_and_an_unknown_one_does_not(quote, keys, tmp_path, capsys):
    """Keys published after a rotation verify quotes from before it; keys fetched before know none of after."""
    source = _written(tmp_path / "quote.json", quote)
    old_set = _written(tmp_path / "old.json", jwks(keys.published()))
    _, new = keys.rotate()
    new_set = _written(tmp_path / "new.json", jwks(keys.published()))
    later = _written(tmp_path / "later.json", BODY | {"signature": new.sign(BODY)})
    assert _run(capsys, "verify", source, "--keys", new_set)[0] == 0
    assert _run(capsys, "verify", later, "--keys", new_set)[0] == 0
    code, told = _run(capsys, "verify", later, "--keys", old_set)
    assert code == 1
    assert "unknown_key" in told


def test_one_key_as_pem_is_enough(quote, keys, tmp_path, capsys):
    """--key takes the public half, and only that."""
    source = _written(tmp_path / "quote.json", quote)
    pem = tmp_path / "key.pem"
    public = keys.signer().key.public_key()
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert _run(capsys, "verify", source, "--key", pem)[0] == 0
    private = tmp_path / "quotes" / f"{keys.signer().kid}.pem"
    assert _run(capsys, "verify", source, "--key", private)[0] == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "7",
        '{"results": [{"problem": {}}]}',
        '{"rate": 1, "rate": 2}',
        '{"rate": NaN}',
        "[" * 100_000,
    ],
    ids=["empty", "cut", "none", "number", "problems", "twice", "nan", "deep"],
)
def test_what_is_no_quote_is_refused(content, key_set, tmp_path, capsys):
    """One line and exit code 1, whatever the file holds; two meanings of one document are no meaning."""
    (tmp_path / "quote.json").write_text(content)
    code, told = _run(capsys, "verify", tmp_path / "quote.json", "--keys", key_set)
    assert code == 1
    assert "Traceback" not in told


def test_keys_must_be_named_once_and_be_there(quote, key_set, tmp_path, capsys):
    """No option, two options, an absent file, an address that is none, and one that does not answer."""
    source = _written(tmp_path / "quote.json", quote)
    for options in (
        [],
        ["--keys", key_set, "--key", key_set],
        ["--keys", tmp_path / "absent"],
        ["--key", tmp_path / "absent"],
        ["--keys", source],
        ["--url", f"file://{key_set}"],
        ["--url", "http://127.0.0.1:9"],
    ):
        assert _run(capsys, "verify", source, *options)[0] == 1


def test_a_foreign_document_cannot_write_on_the_terminal(key_set, tmp_path, capsys):
    """Control characters in what is shown are taken out."""
    source = _written(tmp_path / "quote.json", {"quote_id": "\x1b[2Jq\nVALID"})
    assert "\x1b" not in _run(capsys, "verify", source, "--keys", key_set)[1]


def test_verifying_loads_nothing_heavy(quote, key_set, tmp_path):
    """A partner's check starts at once: no table, no model, no service is loaded, also where it says no."""
    source = _written(tmp_path / "quote.json", quote | {"rate": 0.5})
    code = (
        "import sys\nfrom serving.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: print(end.code)\n"
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'fastapi', 'mlflow') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "verify", str(source), "--keys", str(key_set)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-2:] == ["1", "[]"]


def test_the_service_publishes_every_key_that_ever_signed(keys):
    """GET /v1/keys gives a key set, and a rotation shows in it at once."""
    app = FastAPI()
    app.include_router(router)
    app.state.signing_keys = keys
    client = TestClient(app)
    first = keys.signer().kid
    assert set(keys_of_jwks(client.get("/v1/keys").json())) == {first}
    _, new = keys.rotate()
    answer = client.get("/v1/keys")
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert set(keys_of_jwks(answer.json())) == {first, new.kid}
    assert set(answer.json()["keys"][0]) == {"kty", "crv", "x", "kid", "alg", "use"}  # nothing private


def test_quotes_of_the_service_verify_after_any_round_trip(
    client: TestClient, live_workspace: Workspace, capsys, tmp_path
):
    """What a client got, alone and in a batch, stored and wrote again in its own way is verified with the published
    keys; the service repeats it exactly."""
    card = {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": 50_000}}
    asked = {"card": card, "seller": {"seller_id": "s-1"}}
    told = client.post("/v1/quotes", json=asked).json()
    batch = client.post("/v1/quotes/batch", json={"submissions": [asked, asked, {}]}).json()
    assert client.get(f"/v1/quotes/{told['quote_id']}").json() == told
    again = [dict(reversed(told.items())), batch]
    source = tmp_path / "quotes.json"
    source.write_text(json.dumps(again, indent=4))
    keys = _written(tmp_path / "keys.json", jwks(signing_keys(live_workspace).published()))
    code, printed = _run(capsys, "verify", source, "--keys", keys, "--json")
    assert code == 0, printed
    assert len(json.loads(printed)) == 3


def test_signing_keys_are_shown_and_rotated_by_command(tmp_path, capsys):
    """The new key signs, the former one is listed after it."""
    home = ["--home", tmp_path / "home"]
    assert _run(capsys, "signing", "show", *home)[0] == 1
    Workspace.open(tmp_path / "home")
    code, told = _run(capsys, "signing", "show", *home)
    assert code == 0
    first = told.split()[0]
    assert _run(capsys, "signing", "rotate", *home)[0] == 0
    lines = _run(capsys, "signing", "show", *home)[1].splitlines()
    assert "signs quotes" in lines[0]
    assert lines[1].startswith(first)
    listed = json.loads(_run(capsys, "signing", "show", "--json", *home)[1])
    assert {key["kid"] for key in listed["keys"]} == {line.split()[0] for line in lines}


@pytest.mark.parametrize(("language", "program"), [("python", sys.executable), ("js", "node")])
def test_the_programs_of_the_handbook_verify_quotes(language, program, quote, key_set, tmp_path):
    """docs/quotes.md: a few lines of Python or JavaScript, and no Huika, say yes to a quote and no to a changed one."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    text = (ROOT / "docs" / "quotes.md").read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    script = tmp_path / {"python": "verify_quote.py", "js": "verify_quote.mjs"}[language]
    script.write_text(found[1])
    good = _written(tmp_path / "good.json", quote)
    bad = _written(tmp_path / "bad.json", quote | {"acceptance_probability": 0.99})
    said = subprocess.run([program, script, good, key_set], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "genuine 46400 2099-03-01T00:10:00+00:00\n"), said.stderr
    assert subprocess.run([program, script, bad, key_set], capture_output=True, check=False).returncode != 0
