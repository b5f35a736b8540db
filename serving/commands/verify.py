"""``huika verify``: whether quotes are what the service said, offline and without a workspace."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.signing import KeysUnreadable, PublicKeys, SignatureRefused, check_signature
from serving.refusals import Refusal

FETCH_SECONDS = 10.0
MOST_KEYS_BYTES = 1_000_000

Document = Annotated[
    Path, typer.Argument(help="A quote, an array of quotes or a batch answer, as JSON; - reads from a pipe.")
]
KeysFile = Annotated[Path | None, typer.Option("--keys", help="Public keys, as `GET /v1/keys` gives them.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="One public key as PEM.")]
Url = Annotated[str, typer.Option("--url", help="Address of the service, to fetch its public keys from.")]
Unexpired = Annotated[bool, typer.Option("--unexpired", help="An expired quote counts as not valid, too.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@dataclass(frozen=True)
class Verdict:
    """What is known of one quote. kid: the key that signed it, None where ``problem`` says why it does not count."""

    quote: Mapping[str, Any]
    kid: str | None
    problem: str | None
    expired: bool | None

    def valid(self, *, unexpired: bool) -> bool:
        return self.problem is None and not (unexpired and self.expired)


def verify(
    quote: Document,
    keys: KeysFile = None,
    key: KeyFile = None,
    url: Url = "",
    unexpired: Unexpired = False,
    as_json: Json = False,
) -> None:
    """Verify that quotes are exactly what the service said, by their signatures. Exit code 0 only when every one is."""
    try:
        public = public_keys(keys=keys, key=key, url=url)
    except KeysUnreadable as error:
        raise Refusal(str(error)) from error
    verdicts = verdicts_of(read_document(quote), public, now=datetime.now(UTC))
    if as_json:
        print(
            json.dumps([_as_json(verdict, unexpired) for verdict in verdicts], ensure_ascii=False, indent=1)
        )
    else:
        print("\n".join(line for verdict in verdicts for line in told(verdict, unexpired=unexpired)))
    if not all(verdict.valid(unexpired=unexpired) for verdict in verdicts):
        raise typer.Exit(1)


def verdicts_of(document: Any, keys: PublicKeys, *, now: datetime) -> list[Verdict]:
    """A verdict on each quote of the document. Raises Refusal where there is none in it."""
    found = list(_quotes(document))
    if not found:
        raise Refusal("there is no quote in it")
    return [_verdict(quote, keys, now=now) for quote in found]


def _quotes(document: Any) -> Iterator[Mapping[str, Any]]:
    """The quotes of a document. A batch's problems are no quotes and promise nothing."""
    if isinstance(document, list):
        for item in document:
            yield from _quotes(item)
    elif not isinstance(document, dict):
        raise Refusal("a quote is a JSON object")
    elif isinstance(document.get("results"), list):
        yield from _quotes(document["results"])
    elif isinstance(document.get("quote"), dict):
        yield document["quote"]
    elif not isinstance(document.get("problem"), dict):
        yield document


def _verdict(quote: Mapping[str, Any], keys: PublicKeys, *, now: datetime) -> Verdict:
    try:
        kid = check_signature(quote, keys)
        until = datetime.fromisoformat(quote["valid_until"])
        expired = now > until
    except SignatureRefused as refusal:
        return Verdict(quote, kid=None, problem=f"{refusal} ({refusal.code})", expired=None)
    except (KeyError, TypeError, ValueError):
        problem = "it is signed, but no quote: it does not say until when it is valid (no_quote)"
        return Verdict(quote, kid=None, problem=problem, expired=None)
    return Verdict(quote, kid=kid, problem=None, expired=expired)


def told(verdict: Verdict, *, unexpired: bool) -> list[str]:
    """The lines that people read."""
    quote = verdict.quote
    name = _clean(quote.get("quote_id"))
    if verdict.problem is not None:
        return [f"NOT VALID 无效  {name}: {verdict.problem}"]
    head = "VALID 有效" if verdict.valid(unexpired=unexpired) else "NOT VALID 无效"
    payout = quote.get("payout")
    amount = f"{payout['amount_fen'] / 100:,.2f} CNY" if isinstance(payout, dict) else "-"
    now = "expired 已过期" if verdict.expired else "still open 未过期"
    lines = [
        f"{head}  {name}, signed by key {verdict.kid}",
        f"  payout 打款 {amount}, rate 折扣率 {_clean(quote.get('rate'))}, card type 卡种 "
        f"{_clean(quote.get('card_type'))}, decision 决定 {_clean(quote.get('decision'))}",
        f"  valid until 有效期至 {_clean(quote.get('valid_until'))}: {now}",
    ]
    if quote.get("no_offer") or quote.get("decision") == "refuse":
        lines.append("  nothing is offered by it 不构成收购报价")
    return lines


def _clean(value: Any) -> str:
    """A value of a foreign document for the terminal: one printable line."""
    text = str(value)[:128]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _as_json(verdict: Verdict, unexpired: bool) -> dict[str, Any]:
    told = {
        name: verdict.quote.get(name) for name in ("quote_id", "payout", "rate", "card_type", "valid_until")
    }
    valid = verdict.valid(unexpired=unexpired)
    return told | {
        "valid": valid,
        "expired": verdict.expired,
        "kid": verdict.kid,
        "problem": verdict.problem,
    }


# --- reading -----------------------------------------------------------------------------------------------------


def read_document(path: Path) -> Any:
    """The JSON of a file or, for ``-``, of a pipe. Raises Refusal."""
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error
    return _parsed(content, str(path))


def _parsed(content: bytes, where: str) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # what was read is not repeated
        reason = str(error) if isinstance(error, _TwoMeanings) else "not JSON"
        raise Refusal(f"{where}: {reason}") from None


class _TwoMeanings(ValueError):
    """JSON that two readers may understand differently."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwoMeanings("a name stands twice in one object, so what it says depends on who reads it")
    return found


def _no_number(name: str) -> Any:
    raise _TwoMeanings(f"{name} is no number in JSON")


def public_keys(*, keys: Path | None, key: Path | None, url: str) -> PublicKeys:
    """The keys that one of the options names. Raises Refusal or KeysUnreadable."""
    if sum([keys is not None, key is not None, bool(url)]) != 1:
        raise Refusal("name the public keys with one of --keys FILE, --key PEM or --url ADDRESS")
    from pipelines.signing import key_id, keys_of_jwks

    if key is not None:
        from pipelines.signing_keys import public_key_of

        try:
            found = public_key_of(key.read_bytes(), str(key))
        except OSError as error:
            raise Refusal(f"{key}: {error.strerror}") from error
        return {key_id(found): found}
    return keys_of_jwks(read_document(keys) if keys is not None else _fetched(url))


def _fetched(url: str) -> Any:
    """The key set of a running service. Raises Refusal."""
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        raise Refusal("--url is an address that begins with http:// or https://")
    address = f"{url.rstrip('/')}/v1/keys"
    try:
        with urlopen(address, timeout=FETCH_SECONDS) as answer:
            return _parsed(answer.read(MOST_KEYS_BYTES), address)
    except OSError as error:
        raise Refusal(f"{address} does not answer: {getattr(error, 'reason', error)}") from error
