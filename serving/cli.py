"""One command: ``huika``. Only this module knows which commands exist; each imports what it needs when it runs."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": (
        "serving.commands.demo",
        "demo",
        "The whole path on a synthetic market, in a workspace of its own.",
    ),
    "simulate": (
        "serving.commands.simulate",
        "simulation",
        "Make a synthetic market with a known truth; without a folder, drive whole days through the flow.",
    ),
    "import": (
        "serving.commands.import_tables",
        "import_tables_command",
        "Bring trades and market rates in.",
    ),
    "cards": ("serving.commands.cards", "cards", "Search the catalogue of card types."),
    "features": ("serving.commands.features", "features", "Print the data dictionary of all features."),
    "train": (
        "serving.commands.train",
        "train",
        "Train, judge and register the discount and the fraud model.",
    ),
    "evaluate": (
        "serving.commands.models",
        "evaluate",
        "Judge champion and challenger on the newest trades.",
    ),
    "backtest": (
        "serving.commands.backtest",
        "backtest",
        "Answer a past period again as if live, and report what would have come of it.",
    ),
    "report": (
        "serving.commands.report",
        "app",
        "Write a page about a period: what was caught, missed and wrongly stopped.",
    ),
    "models": ("serving.commands.models", "models", "List registered models, aliases and figures."),
    "promote": ("serving.commands.models", "promote", "Make the challenger the champion, if it is no worse."),
    "recalibrate": (
        "serving.commands.models",
        "recalibrate",
        "Roll the champion's resale ranges forward over the newest resales.",
    ),
    "rollback": ("serving.commands.models", "rollback", "Bring the previous champion back."),
    "canary": (
        "serving.commands.canary",
        "canary",
        "Let the challenger answer a share of the sellers: start, stop, status.",
    ),
    "quote": ("serving.commands.batch", "quote", "Price a file of cards, each as of its own moment."),
    "score": ("serving.commands.batch", "score", "Score a file of trades for fraud."),
    "explain": (
        "serving.commands.explain",
        "explain",
        "Why one trade was answered as it was, for risk analysts.",
    ),
    "rules": (
        "serving.commands.rules",
        "rules",
        "Rules and legal limits beside the fraud model: show, check, test on history.",
    ),
    "lists": ("serving.commands.lists", "lists", "Block, watch and allow sellers, devices, accounts, cards."),
    "serve": ("serving.commands.serve", "serve", "Run the HTTP service."),
    "keys": ("serving.commands.access", "keys", "API keys of machines: add, list, revoke."),
    "token": ("serving.commands.access", "token", "A short-lived token of a person, for development."),
    "audit": ("serving.commands.access", "audit", "Who was shown what, turned away, given a key."),
    "verify": ("serving.commands.verify", "verify", "Verify signed quotes offline, without a workspace."),
    "books": (
        "serving.commands.books",
        "books",
        "The ledger: show, audit, reconcile with payout providers, export for the tax office.",
    ),
    "recycling": (
        "serving.commands.recycling",
        "recycling",
        "The recycling flow: its worker, its trades, what people decide, its numbers.",
    ),
    "callbacks": (
        "serving.commands.callbacks",
        "callbacks",
        "Tell partners when their trades move: addresses, what waits, what is dead, sending again.",
    ),
    "signing": ("serving.commands.signing", "signing", "The keys that sign quotes: show, rotate."),
    "vault": (
        "serving.commands.vault",
        "vault",
        "Card numbers and secrets: status, rotate, shred, reveal.",
    ),
    "evidence": (
        "serving.commands.evidence",
        "evidence",
        "The evidence log of trades: show, export, checkpoint, verify.",
    ),
    "read-card": (
        "serving.commands.read_card",
        "read_card",
        "Read a card from a photo, for its seller to confirm.",
    ),
    "sandbox": (
        "serving.commands.sandbox",
        "sandbox",
        "Run stand-ins for issuers, checks, carriers and payout providers.",
    ),
    "status": ("serving.commands.status", "status", "Show what is in the workspace."),
    "prune": (
        "serving.commands.prune",
        "prune_command",
        "Delete what is kept for a while only: answers to repeated requests, old hours of the price board.",
    ),
    "bench": ("serving.commands.bench", "bench", "Measure speed and memory of this installation."),
}
"""Command -> module, function, one-line help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. An expected refusal prints its reason and exits with 1; anything else is a defect."""
    from pipelines.process import prepare_process

    prepare_process()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of libraries, about each other
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        _print_help()
    elif words[0] == "--version":
        _print_version()
    elif words[0] in COMMANDS:
        _run(words[0], words[1:])
    else:
        _refuse_unknown(words[0])


def _run(name: str, arguments: list[str]) -> None:
    import typer

    from serving.refusals import Refusal

    module, function, text = COMMANDS[name]
    target = getattr(importlib.import_module(module), function)
    app = (
        target
        if isinstance(target, typer.Typer)
        else typer.Typer(add_completion=False, rich_markup_mode=None)
    )
    if app is not target:
        app.command(name=name, help=target.__doc__ or text)(target)
    try:
        app(args=arguments, prog_name=f"huika {name}")
    except SystemExit:  # how typer ends: what else could be refused need not be loaded then
        raise
    except Refusal as refusal:
        _end(name, refusal)
    except expected_refusals() as refusal:
        _end(name, refusal)


def _end(name: str, refusal: Exception) -> NoReturn:
    print(f"huika {name}: {refusal}", file=sys.stderr)
    raise SystemExit(1) from None


def expected_refusals() -> tuple[type[Exception], ...]:
    """Errors that say what the user can do about them; they are printed without a traceback."""
    from features.registry import FeatureFailed
    from features.store import OnlineStoreUnavailable, OnlineUrlError
    from models.registry import ModelNotFound
    from pipelines.databases import DatabaseAway
    from pipelines.recycling.taxes import TaxFileError
    from pipelines.recycling.vault_keys import VaultKeyError
    from pipelines.settings import SettingsError
    from pipelines.signing_keys import SigningKeyError
    from pipelines.training.import_problems import ImportProblem

    storage = (OnlineStoreUnavailable, OnlineUrlError, DatabaseAway)
    settings = (SettingsError, SigningKeyError, VaultKeyError, TaxFileError)
    return (*settings, ImportProblem, ModelNotFound, FeatureFailed, *storage)


def _print_help() -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print("[bold]huika[/] 回卡: what a gift card is worth now, and whether to pay for it.\n")
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, (_, _, text) in COMMANDS.items():
        table.add_row(f"[bold]{name}[/]", text)
    console.print(table)
    console.print("\nEvery command has --help and --home (default .huika, or HUIKA_HOME).")


def _print_version() -> None:
    from importlib.metadata import version

    print(f"huika {version('huika')}")


def _refuse_unknown(word: str) -> None:
    import difflib

    close = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    print(f"huika: no command {word!r}{hint} See `huika --help`.", file=sys.stderr)
    raise SystemExit(2)
