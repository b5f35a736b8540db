"""``huika evidence``: what is kept of each trade so that nobody changes it later, and its proof for others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.evidence import EvidenceLog
    from pipelines.recycling.evidence_bundle import Trusted
    from pipelines.workspace import Workspace

Trade = Annotated[str, typer.Argument(help="The trade's id.")]
Out = Annotated[Path, typer.Argument(help="File to write.")]
Bundle = Annotated[Path, typer.Argument(help="A file that `huika evidence export` wrote.")]
Key = Annotated[
    list[str] | None, typer.Option("--key", help="Public key of the log, as `huika evidence key` prints it.")
]
Roots = Annotated[
    Path | None, typer.Option("--tsa-roots", help="PEM file with root certificates of time stamps.")
]
Witness = Annotated[Path | None, typer.Option("--witness", help="A copy of the witness file.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

evidence = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What happened in each trade, kept so that nobody can change it unseen (区块链存证).",
)


@evidence.command("show")
def show(trade: Trade, home: Home = DEFAULT_HOME) -> None:
    """Print what the log holds of a trade, as JSON."""
    from pipelines.recycling.evidence_export import as_json, shown_leaf

    log, _ = _log(home)
    found = log.leaves_of(trade)
    if not found:
        raise Refusal(f"the evidence log has no leaf of {trade}")
    print(as_json([shown_leaf(leaf) for leaf in found]))


@evidence.command("export")
def export(trade: Trade, out: Out, home: Home = DEFAULT_HOME) -> None:
    """Write a trade's leaves with their proofs into a file that anybody verifies offline."""
    from pipelines.recycling.evidence_bundle import BundleRefused, Trusted, bundle_bytes, verify_bundle
    from pipelines.recycling.evidence_export import NoEvidence, bundle, write_bundle
    from pipelines.recycling.safekeeping import roots_pem_of

    log, workspace = _log(home)
    now, settings = datetime.now(UTC), workspace.settings.evidence
    _, failed = _checkpointed(log, workspace, now=now)
    try:
        document = bundle(log, trade, now=now, roots_pem=roots_pem_of(settings))
        verify_bundle(bundle_bytes(document), Trusted())
    except NoEvidence as error:
        raise Refusal(str(error)) from None
    except BundleRefused as error:
        raise Refusal(f"the log is damaged, nothing is written: {error}") from None
    write_bundle(document, out)
    print(f"{out}: {len(document['leaves'])} leaves of {trade}")
    _tell_failures(failed)


@evidence.command("checkpoint")
def checkpoint(home: Home = DEFAULT_HOME) -> None:
    """Take what waits into the tree, sign it and leave it outside; exit code 1 where that fails."""
    log, workspace = _log(home)
    size, failed = _checkpointed(log, workspace, now=datetime.now(UTC))
    print(f"the tree has {size} leaves")
    for name, problem in failed.items():
        if not problem:
            print(f"left with {name}")
    if not failed:
        print("nowhere outside: set tsa_url or witness_file under [evidence]")
    if _tell_failures(failed):
        raise typer.Exit(1)


@evidence.command("audit")
def audit(home: Home = DEFAULT_HOME) -> None:
    """Work out every hash of the log anew and compare it with all checkpoints."""
    log, _ = _log(home)
    problems = log.audit()
    for problem in problems:
        print(problem)
    if problems:
        raise Refusal("the log is not what its checkpoints say")
    print("every leaf and every checkpoint is as it was")


@evidence.command("key")
def key(home: Home = DEFAULT_HOME) -> None:
    """Print the public keys of the log: publish them where people find them without you."""
    for line in _log(home)[0].verifier_keys():
        print(line)


@evidence.command("rotate-key")
def rotate_key(
    by: Annotated[str, typer.Option("--by", help="Who changes it; it goes into the log.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Let a new key sign the log. The former key's last checkpoint names the new one; files exported before stay
    verifiable offline."""
    from pipelines.recycling.evidence import OriginChanged
    from pipelines.recycling.evidence_rotation import rotate_key
    from pipelines.signing_keys import SigningKeyError

    log, workspace = _log(home)
    try:
        done = rotate_key(log, workspace.settings.evidence, by=by, now=datetime.now(UTC))
    except (SigningKeyError, OriginChanged) as error:
        raise Refusal(str(error)) from None
    print(f"{done.new} signs from now on: publish it beside the former ones")
    print(f"{done.former} verifies what it signed; its private half is destroyed")
    _tell_failures(done.failed)


@evidence.command("verify")
def verify(
    file: Bundle,
    key: Key = None,
    tsa_roots: Roots = None,
    witness: Witness = None,
    as_json: Json = False,
) -> None:
    """Verify an exported file offline, without workspace or platform. Exit code 0 only when everything in it holds."""
    from pipelines.recycling.evidence_bundle import BundleRefused, verify_bundle
    from pipelines.recycling.evidence_words import as_data, told

    trusted = _trusted(key, tsa_roots, witness)
    try:
        proven = verify_bundle(_read(file), trusted)
    except BundleRefused as error:
        print(json.dumps({"valid": False, "problem": str(error)}) if as_json else f"NOT VALID 无效  {error}")
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(as_data(proven), ensure_ascii=False, indent=1))
    else:
        print("\n".join(told(proven)))


def _trusted(keys: list[str] | None, roots: Path | None, witness: Path | None) -> Trusted:
    from pipelines.recycling.anchors import StampRefused, certificates_of
    from pipelines.recycling.checkpoints import CheckpointRefused, parse_verifier_key
    from pipelines.recycling.evidence_bundle import Trusted

    try:
        return Trusted(
            keys=tuple(parse_verifier_key(text) for text in keys or ()),
            roots=() if roots is None else certificates_of(_read(roots), str(roots)),
            witness=frozenset(
                () if witness is None else _read(witness).decode("ascii", "replace").splitlines()
            ),
        )
    except (CheckpointRefused, StampRefused) as error:
        raise Refusal(str(error)) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None


def _tell_failures(failed: dict[str, str]) -> bool:
    problems = [problem for problem in failed.values() if problem]
    for problem in problems:
        print(f"NOT LEFT OUTSIDE 未锚定: {problem}")
    return bool(problems)


def _checkpointed(log: EvidenceLog, workspace: Workspace, *, now: datetime) -> tuple[int, dict[str, str]]:
    from pipelines.recycling.evidence import OriginChanged
    from pipelines.recycling.safekeeping import checkpoint_and_anchor

    try:
        return checkpoint_and_anchor(log, workspace.settings.evidence, now=now)
    except OriginChanged as error:
        raise Refusal(f"[evidence] origin: {error}") from None


def _log(home: Path) -> tuple[EvidenceLog, Workspace]:
    from pipelines.recycling.checkpoints import CheckpointRefused
    from pipelines.recycling.safekeeping import open_evidence
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    workspace = Workspace.open(home)
    try:
        return open_evidence(workspace), workspace
    except CheckpointRefused as error:
        raise Refusal(f"[evidence] origin: {error}") from None
