"""``huika status``: what is in the workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Show tables and row counts, models and aliases, storage and health. Exit code 1 when something is broken."""
    if not home.exists():
        raise Refusal(f"no workspace at {home}; `huika import` or `huika demo` makes one")
    from pipelines.workspace import Workspace

    report = workspace_status(Workspace.open(home))
    print(json.dumps(report, ensure_ascii=False, indent=1)) if as_json else _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def workspace_status(workspace: Any) -> dict[str, Any]:
    """Plain facts about a workspace; ``problems`` lists what is broken or missing files."""
    from sqlalchemy.exc import SQLAlchemyError

    from pipelines.backup import losses
    from pipelines.signing import KeysUnreadable
    from pipelines.signing_keys import SigningKeyError

    problems: list[str] = []
    try:
        problems += losses(workspace)
    except (SQLAlchemyError, KeysUnreadable, SigningKeyError) as error:
        problems.append(f"what the workspace refers to: {error}")
    return {
        "home": str(workspace.home),
        "profile": workspace.settings.profile,
        "tables": [_table(workspace, name, problems) for name in ("trades", "market", "card_types")],
        "models": _models(workspace, problems),
        "screening": _screening(workspace, problems),
        "storage": [_storage(label, path) for label, path in _storages(workspace)],
        "problems": problems,
    }


def _table(workspace: Any, name: str, problems: list[str]) -> dict[str, Any]:
    path = workspace.tables.path(name)
    entry: dict[str, Any] = {"table": name, "rows": 0, "newest": "", "fingerprint": "", "bytes": 0}
    if path is None:
        return entry
    try:
        rows = workspace.tables.rows(name)
    except Exception as error:  # a damaged file is what this command is there to report
        problems.append(f"table {name}: {error}")
        return entry
    newest = _newest(workspace, name)
    return entry | {"rows": rows, "newest": newest, "fingerprint": path.stem, "bytes": path.stat().st_size}


def _newest(workspace: Any, name: str) -> str:
    """The newest trade or market row; a stale market makes careless prices."""
    import pyarrow.compute as pc

    column = {"trades": "submitted_at", "market": "observed_at"}.get(name)
    if column is None:
        return ""
    newest = pc.max(workspace.tables.read(name, [column])[column]).as_py()
    return "" if newest is None else f"{newest:%Y-%m-%d %H:%M} UTC"


def _models(workspace: Any, problems: list[str]) -> list[dict[str, Any]]:
    if not (workspace.home / "mlflow.db").exists() and not workspace.settings.storage.mlflow_url:
        return []
    from pipelines.wiring import model_registry

    registry = model_registry(workspace)
    return [
        _model(workspace, registry, name, version, problems)
        for name in ("discount", "fraud")
        for version in registry.versions(name)
        if version.aliases
    ]


def _model(workspace: Any, registry: Any, name: str, version: Any, problems: list[str]) -> dict[str, Any]:
    """One version that answers, or would: whether its files are those that were registered, and whether this program
    still says by them what was said then."""
    from models.fraud.model import FraudModel
    from models.registry import DamagedModel
    from pipelines.model_checks import ModelRefused, load_registered

    health, awaits = "ok", {}
    try:
        model = load_registered(registry, name, version.version).model
        if isinstance(model, FraudModel):
            awaits = model.thresholds.outdated(workspace.settings.decision)
    except (ModelRefused, OSError) as error:
        damaged = isinstance(error, OSError) or isinstance(error.__cause__, DamagedModel)
        health = "damaged" if damaged else "outdated"
        problems.append(f"{error}; it is not used, and `huika train {name}` makes another")
    return {
        "model": name,
        "version": version.version,
        "aliases": list(version.aliases),
        "health": health,
        "awaits_training": awaits,
    }


def _screening(workspace: Any, problems: list[str]) -> dict[str, Any]:
    """Rules and limits by mode with their versions, and how much is on each list."""
    from collections import Counter
    from datetime import UTC, datetime

    from sqlalchemy.exc import SQLAlchemyError

    from pipelines.application_data import ApplicationData
    from pipelines.screening.list_data import ListData
    from pipelines.screening.rule_files import RulesError, rule_book

    found: dict[str, Any] = {}
    try:
        data = ListData.open(ApplicationData(workspace.application_url))
        listed = data.active(now=datetime.now(UTC))
        in_shadow = {"shadow": " in shadow"}
        found["lists"] = dict(Counter(row["list"] + in_shadow.get(row["change"], "") for row in listed))
    except SQLAlchemyError as error:
        problems.append(f"application data: {error}")
    try:
        book = rule_book(workspace.home)
    except RulesError as error:
        problems.append(str(error))
        return found
    return found | {
        "rules": dict(Counter(rule.mode for rule in book.rules)),
        "rules_version": book.rules_version,
        "limits": dict(Counter(rule.mode for rule in book.limits)),
        "law_version": book.law_version,
    }


def _storages(workspace: Any) -> list[tuple[str, Path]]:
    return [
        ("tables", workspace.home / "tables"),
        ("training sets", workspace.home / "training_sets"),
        ("feature store", workspace.home / "feast"),
        ("models", workspace.home / "mlflow"),
        ("application data", workspace.home / "huika.db"),
        ("vault", workspace.home / "vault.db"),
        ("keys", workspace.home / "keys"),
    ]


def _storage(label: str, path: Path) -> dict[str, Any]:
    files = [path] if path.is_file() else list(path.rglob("*")) if path.is_dir() else []
    return {
        "what": label,
        "path": str(path),
        "bytes": sum(item.stat().st_size for item in files if item.is_file()),
    }


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table

    from serving.output import console as make_console

    console = make_console()
    console.print(f"[bold]{report['home']}[/]  profile {report['profile']}")
    tables = Table("table", "rows", "newest", "fingerprint", "MB", box=None, padding=(0, 2))
    for item in report["tables"]:
        tables.add_row(
            item["table"],
            f"{item['rows']:,}",
            item["newest"],
            item["fingerprint"],
            f"{item['bytes'] / 1e6:.1f}",
        )
    console.print(tables)
    models = Table("model", "version", "aliases", "files", box=None, padding=(0, 2))
    for item in report["models"]:
        models.add_row(item["model"], item["version"], ", ".join(item["aliases"]), item["health"])
    console.print(models if report["models"] else "no models yet: `huika train`")
    for item in report["models"]:
        for name, (learned, now) in item["awaits_training"].items():
            version = f"{item['model']} v{item['version']}"
            console.print(
                f"{version} decides with {name} = {learned:g}; {now:g} counts from the next training on"
            )
    screening = report["screening"]
    for name in ("rules", "limits", "lists"):
        counts = ", ".join(f"{key} {count:,}" for key, count in screening.get(name, {}).items())
        console.print(f"{name}: {counts or 'none'}")
    storage = Table("storage", "MB", "path", box=None, padding=(0, 2))
    for item in report["storage"]:
        storage.add_row(item["what"], f"{item['bytes'] / 1e6:.1f}", item["path"])
    console.print(storage)
    for problem in report["problems"]:
        console.print(f"[red]problem:[/] {problem}")
    if not report["problems"]:
        console.print("[green]healthy[/]")
