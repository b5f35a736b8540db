"""``huika bench equality``: the service and ``huika quote`` say the same, to the last digit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.commands import bench_http
from serving.commands.bench_asking import write_lines
from serving.commands.bench_processes import child
from serving.commands.bench_rows import newest_trades, submission_of
from serving.commands.bench_serving import Home
from serving.commands.bench_workspace import trained_home
from serving.refusals import Refusal

MOST_SECONDS = 3_600.0
SHOWN = 5
COMPARED = {
    "rate": "rate",
    "payout_cny": "payout",
    "decision": "decision",
    "fraud_probability": "fraud_probability",
    "acceptance_probability": "acceptance_probability",
    "resale_rate_p10": "p10",
    "resale_rate_p50": "p50",
    "resale_rate_p90": "p90",
    "offer_density": "offer_density",
    "offer_centre": "offer_centre",
    "no_offer": "no_offer",
    "let_through": "let_through",
    "reasons": "reasons",
}
"""Column of ``huika quote``'s answer -> the service's."""


def bench_equality(
    quotes: Annotated[int, typer.Option(help="Quotes to ask for and to compare.", min=1)] = 10_000,
    trades: Annotated[int, typer.Option(help="Trades of the synthetic market.", min=2_000)] = 40_000,
    concurrency: Annotated[int, typer.Option(help="Requests under way at any moment.", min=1, max=256)] = 8,
    workers: Annotated[int, typer.Option(help="Worker processes of the service.", min=1)] = 1,
    home: Home = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write what was found here.")] = None,
) -> None:
    """Ask the service for quotes over HTTP, then answer a file with the same submissions by `huika quote`, each as of
    the moment that its quote names, and compare every figure bit by bit. Exit code 0 only when all are equal."""
    with trained_home(home=home, trades=trades) as workspace:
        told = ask_service(workspace, quotes=quotes, connections=concurrency, workers=workers)
        answered = answer_file(workspace, told)
    found = compared(told, answered)
    print_found(found)
    if out is not None:
        out.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    if found["equal"] < quotes:
        raise typer.Exit(1)


def ask_service(home: Path, *, quotes: int, connections: int, workers: int) -> list[dict[str, Any]]:
    """The service's quotes with the submissions they answer, by name ``quote`` and ``submission``."""
    asked = child(write_submissions, what="writing the submissions", home=str(home), quotes=quotes)
    answers = home / "answers.tsv"
    with bench_http.huika(home, workers=workers) as running:
        found = running.asked(
            "/v1/quotes",
            asked["file"],
            connections=connections,
            seconds=MOST_SECONDS,
            requests=quotes,
            keep=str(answers),
        )
    print(
        f"{found['requests']:,} quotes over HTTP in {found['seconds']:.0f} s, {connections} at a time: statuses "
        f"{found['statuses']}",
        flush=True,
    )
    submissions = [json.loads(line) for line in Path(asked["file"]).read_text(encoding="utf-8").splitlines()]
    return [{"quote": quote, "submission": submissions[place]} for place, quote in _quotes_in(answers)]


def write_submissions(*, home: str, quotes: int) -> dict[str, Any]:
    """A file with as many submissions, each with a trade id of its own, from the newest trades in turn."""
    from pipelines.workspace import Workspace

    trades = newest_trades(Workspace.open(Path(home)), quotes).to_pylist()
    # extras reach a file by a mapping only; the models of a market without them read none
    bodies = [
        submission_of(trades[number % len(trades)] | {"extras": None}) | {"trade_id": f"same-{number:07d}"}
        for number in range(quotes)
    ]
    return {"file": write_lines(Path(home) / "equality.jsonl", bodies)}


def _quotes_in(answers: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The quotes in a file of :func:`serving.commands.bench_asking.ask`, with the place of their submission."""
    for line in answers.read_bytes().splitlines():
        place, status, body = line.split(b"\t", 2)
        if status == b"200":
            yield int(place), json.loads(body)


def answer_file(home: Path, told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows of ``huika quote`` by trade id, which first collects what the service recorded. Raises Refusal."""
    source, target = home / "equality.parquet", home / "equality_answers.parquet"
    write_input(told, source)
    command = ["quote", str(source), str(target), "--home", str(home)]
    code = "from serving.cli import main; main()"
    if subprocess.run([sys.executable, "-c", code, *command], check=False).returncode:
        raise Refusal("huika quote did not answer the file")
    import pyarrow.parquet as pq

    return {row["trade_id"]: row for row in pq.read_table(target).to_pylist()}


def write_input(told: list[dict[str, Any]], path: Path) -> None:
    """The quoted submissions as a file of trades, each as of its quote's ``submitted_at``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([input_row(item["submission"], item["quote"]) for item in told])
    known = [column.name for column in table.schema if not pa.types.is_null(column.type)]
    pq.write_table(table.select(known), path)


def input_row(submission: Mapping[str, Any], quote: Mapping[str, Any]) -> dict[str, Any]:
    """A submission in the columns of trades."""
    card, seller = submission["card"], submission["seller"]
    names = ("card_type", "card_form", "expires_on", "card_prefix", "card_fingerprint")
    balance = card.get("balance")
    people = ("seller_id", "device_id", "ip", "payout_account", "payee_is_seller", "region", "channel")
    return {
        "trade_id": quote["trade_id"],
        "submitted_at": datetime.fromisoformat(quote["submitted_at"]),
        **{name: card.get(name) for name in names},
        "face_value_cny": card["face_value"]["amount_fen"] / 100,
        "balance_cny": None if balance is None else balance["amount_fen"] / 100,
        **{name: seller.get(name) for name in people},
        "asked_rate": submission.get("asked_rate"),
    }


def compared(told: list[dict[str, Any]], answered: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How many quotes are equal in every column, which columns differ how often, and the first that differ."""
    different: Counter[str] = Counter()
    examples, equal, missing = [], 0, 0
    for item in told:
        said = service_row(item["quote"])
        row = answered.get(item["quote"]["trade_id"])
        if row is None:
            missing += 1
            continue
        apart = {
            column: [said[name], row[column]]
            for column, name in COMPARED.items()
            if said[name] != row[column]
        }
        equal += not apart
        different.update(apart.keys())
        if apart and len(examples) < SHOWN:
            examples.append({"trade_id": item["quote"]["trade_id"], **apart})
    return {
        "quotes": len(told),
        "equal": equal,
        "different": dict(different),
        "missing": missing,
        "examples": examples,
        "degraded": sum(bool(item["quote"]["degraded"]) for item in told),
    }


def service_row(quote: Mapping[str, Any]) -> dict[str, Any]:
    """A quote's figures by the names of :data:`COMPARED`; money in yuan and the reasons' codes, as in a file."""
    reasons = "|".join(reason["code"] for reason in quote["reasons"])
    return {
        **quote,
        **quote["resale_rate"],
        "payout": quote["payout"]["amount_fen"] / 100,
        "reasons": reasons,
    }


def print_found(found: Mapping[str, Any]) -> None:
    print(
        f"{found['equal']:,} of {found['quotes']:,} quotes are equal to the last digit in {len(COMPARED)} columns each"
        f" ({found['degraded']:,} degraded, {found['missing']:,} without an answer)"
    )
    for column, count in found["different"].items():
        print(f"  {column}: {count:,} differ")
    for example in found["examples"]:
        print(f"  {json.dumps(example, ensure_ascii=False)}")
