"""``huika evidence`` and ``huika vault``: what people do with the log and the vault on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.recycling.safekeeping import leaf_of_reveal, open_evidence, open_vault
from pipelines.recycling.vault import CardRef
from pipelines.workspace import Workspace
from serving.cli import main
from tests.canaries import Canaries, new_marker

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with a witness outside and two leaves of one trade."""
    folder = tmp_path / "home"
    Workspace.open(folder)
    (folder / "huika.toml").write_text(f'[evidence]\nwitness_file = "{tmp_path / "witness"}"\n')
    log = open_evidence(Workspace.open(folder))
    for kind, payload in (("quoted", {"payout_fen": 46_400, "card_type": "京东E卡"}), ("accepted", None)):
        log.record(kind=kind, subject="t-1", payload=payload, actor="engine", source="api", at=NOW)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code of ``huika`` and all that it printed."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def exported(capsys: pytest.CaptureFixture[str], home: Path) -> Path:
    out = home.parent / "bundle.json"
    assert run(capsys, "evidence", "export", "t-1", out, "--home", home)[0] == 0
    return out


def test_a_bundle_is_exported_and_verified_with_words_in_two_languages(home, capsys):
    """It says what was kept, what is proven and what is not; exit code 0."""
    out = exported(capsys, home)
    code, told = run(capsys, "evidence", "verify", out)
    assert code == 0
    for part in ("VALID 有效", "t-1", "京东E卡", "46400", "已证明", "未证明", "--key", "--witness", "engine"):
        assert part in told
    assert "尚未锚定" in told  # a witness that was not compared counts for nothing


def test_a_changed_key_leaves_old_files_valid(home, capsys):
    """A file from before verifies with the former key alone, one from after with both and not with the former alone;
    the log proves that the former key announced the new one, and its private half is gone."""
    old = exported(capsys, home).rename(home.parent / "old.json")
    former = run(capsys, "evidence", "key", "--home", home)[1].strip()
    code, told = run(capsys, "evidence", "rotate-key", "--by", "anna", "--home", home)
    new, *rest = run(capsys, "evidence", "key", "--home", home)[1].split()
    assert (code, rest) == (0, [former])
    assert f"{new} signs from now on" in told
    assert run(capsys, "evidence", "verify", old, "--key", former)[0] == 0
    assert run(capsys, "evidence", "verify", old, "--key", new)[0] == 1
    fresh = exported(capsys, home)
    assert run(capsys, "evidence", "verify", fresh, "--key", former, "--key", new)[0] == 0
    assert run(capsys, "evidence", "verify", fresh, "--key", former)[0] == 1
    assert run(capsys, "evidence", "audit", "--home", home)[0] == 0
    chain = home.parent / "chain.json"
    assert run(capsys, "evidence", "export", "evidence-log", chain, "--home", home)[0] == 0
    said = [leaf["said"] for leaf in json.loads(chain.read_text())["leaves"]]
    assert said == [{"former": former, "new": new}] * 2
    assert len(list((home / "keys" / "evidence").glob("*.pem"))) == 1


def test_with_key_and_witness_of_ones_own_more_is_proven(home, capsys):
    """What the reader brought along is no longer among what is not proven."""
    out = exported(capsys, home)
    key = run(capsys, "evidence", "key", "--home", home)[1].strip()
    mine = ["--key", key, "--witness", home.parent / "witness"]
    code, told = run(capsys, "evidence", "verify", out, *mine)
    assert code == 0
    assert "--key" not in told
    assert "--witness" not in told
    assert "尚未锚定" not in told
    data = json.loads(run(capsys, "evidence", "verify", out, *mine, "--json")[1])
    assert (data["valid"], data["key_compared"], data["size"]) == (True, True, 2)
    assert [set(leaf["outside_since"]) for leaf in data["leaves"]] == [{"file:witness"}] * 2


@pytest.mark.parametrize(
    "change", [(b"46400", b"46500"), (b"engine", b"nobody"), (b"\n", b"\r\n"), (b"{", b"[")]
)
def test_a_changed_bundle_is_not_valid(change, home, capsys):
    """Exit code 1, the reason in one line, and nothing of what it claims is repeated."""
    out = exported(capsys, home)
    out.write_bytes(out.read_bytes().replace(*change, 1))
    code, told = run(capsys, "evidence", "verify", out)
    assert code == 1
    assert told.startswith("NOT VALID 无效")
    assert "464" not in told
    code, told = run(capsys, "evidence", "verify", out, "--json")
    assert (code, json.loads(told)["valid"]) == (1, False)


def test_what_is_no_bundle_key_or_witness_is_refused(home, capsys):
    """One line and exit code 1, whatever a file holds; no traceback."""
    out = exported(capsys, home)
    for content in (b"", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"format": "huika-evidence-bundle/1"}'):
        path = home.parent / "wrong"
        path.write_bytes(content)
        code, told = run(capsys, "evidence", "verify", path)
        assert (code, "Traceback" in told) == (1, False)
    for options in (["--key", "x"], ["--tsa-roots", out], ["--witness", home / "none"], ["--witness", out]):
        assert run(capsys, "evidence", "verify", out, *options)[0] == 1


def test_a_foreign_file_cannot_write_on_the_terminal(home, capsys):
    """Control characters of what a leaf says are taken out."""
    log = open_evidence(Workspace.open(home))
    log.record(kind="note", subject="t-1", payload="\x1b[2J\nVALID", actor="x", source="y", at=NOW)
    told = run(capsys, "evidence", "verify", exported(capsys, home))[1]
    assert "\x1b" not in told


def test_verifying_needs_no_workspace_and_loads_nothing_heavy(home, capsys):
    """A court's expert starts it anywhere: no database, table, model or service library is loaded, no network used."""
    out = exported(capsys, home)
    code = (
        "import socket, sys\nfrom serving.cli import main\n"
        "def refuse(*a, **k): raise AssertionError('network')\nsocket.socket.connect = refuse\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: print(end.code)\n"
        "heavy = ('numpy', 'pandas', 'pyarrow', 'fastapi', 'mlflow', 'sqlalchemy', 'httpx')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "evidence", "verify", str(out)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=home.parent, env=environment
    )
    assert result.stdout.splitlines()[-2:] == ["0", "[]"]
    assert not (home.parent / ".huika").exists()


def test_checkpoints_are_made_and_left_outside_by_command(home, capsys):
    """Exit code 1 where the outside is away, and the log goes on; the audit agrees."""
    code, told = run(capsys, "evidence", "checkpoint", "--home", home)
    assert code == 0
    assert "2 leaves" in told
    assert "left with file:witness" in told
    assert run(capsys, "evidence", "audit", "--home", home)[0] == 0
    (home / "huika.toml").write_text('[evidence]\nwitness_file = "/nowhere/at/all"\n')
    code, told = run(capsys, "evidence", "checkpoint", "--home", home)
    assert code == 1
    assert "NOT LEFT OUTSIDE" in told
    (home / "huika.toml").write_text('[evidence]\norigin = "example.org/other"\n')
    code, told = run(capsys, "evidence", "checkpoint", "--home", home)
    assert (code, "keeps its name" in told) == (1, True)
    (home / "huika.toml").write_text("")
    code, told = run(capsys, "evidence", "checkpoint", "--home", home)
    assert code == 0
    assert "nowhere outside" in told


def test_leaves_are_shown_and_unknown_trades_refused(home, capsys):
    """As JSON, with what they say."""
    code, told = run(capsys, "evidence", "show", "t-1", "--home", home)
    assert code == 0
    assert [leaf["kind"] for leaf in json.loads(told)] == ["quoted", "accepted"]
    for command in (["show", "t-2"], ["export", "t-2", home / "x.json"]):
        assert run(capsys, "evidence", *command, "--home", home)[0] == 1
        assert run(capsys, "evidence", *command, "--home", home / "none")[0] == 1
    assert not (home / "x.json").exists()


def test_a_damaged_log_exports_nothing(home, capsys):
    """What would not verify is not handed out."""
    log = open_evidence(Workspace.open(home))
    log.checkpoint(now=NOW)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER evidence_leaves_no_update")
        connection.exec_driver_sql("UPDATE evidence_leaves SET actor = 'nobody'")
    code, told = run(capsys, "evidence", "export", "t-1", home / "x.json", "--home", home)
    assert code == 1
    assert "damaged" in told
    assert not (home / "x.json").exists()
    assert run(capsys, "evidence", "audit", "--home", home)[0] == 1


# --- vault -------------------------------------------------------------------------------------------------------


@pytest.fixture
def canaries() -> Canaries:
    return Canaries((new_marker("JDV"), new_marker("PIN")))


def stored(home: Path, canaries: Canaries, **changed: Any) -> CardRef:
    workspace = Workspace.open(home)
    vault = open_vault(workspace, on_reveal=leaf_of_reveal(open_evidence(workspace)))
    card = {"number": canaries.markers[0], "secret": canaries.markers[1], "face_value_fen": 50_000}
    return vault.store(trade_id="t-1", brand="jd_ecard", actor="seller", now=NOW, **(card | changed))


def test_a_card_is_revealed_once_with_a_reason_and_leaves_evidence(home, canaries, capsys):
    """The terminal alone shows it; files, database, log of evidence and its export hold who, when and why."""
    ref = stored(home, canaries)
    code, told = run(
        capsys, "vault", "reveal", ref.card_id, "--reason", "the buyer disputes it", "--home", home
    )
    assert code == 0
    assert all(marker in told for marker in canaries.markers)
    out = exported(capsys, home)
    assert "the buyer disputes it" in out.read_text()
    assert canaries.in_folder(home.parent) == []
    assert canaries.in_texts({"verify": run(capsys, "evidence", "verify", out)[1]}) == []


def test_a_reveal_without_a_reason_or_a_second_person_is_refused(home, canaries, capsys):
    """One line that shows nothing; a card from the limit on needs somebody else's name."""
    ref = stored(home, canaries, face_value_fen=100_000)
    command = ["vault", "reveal", ref.card_id, "--home", home]
    for options in (
        ["--reason", "x"],
        ["--reason", "the buyer disputes it"],
        ["--reason", f"it is {canaries.markers[1]}", "--second", "li"],
    ):
        code, told = run(capsys, *command, *options)
        assert code == 1
        assert canaries.in_texts({"told": told}) == []
    assert run(capsys, *command, "--reason", "the buyer disputes it", "--second", "li")[0] == 0


def test_rotation_and_shredding_by_command(home, canaries, capsys):
    """Status shows how many cards each key wraps; after shredding nothing is left to reveal."""
    ref = stored(home, canaries)
    (former,) = (home / "keys" / "vault").iterdir()
    assert f"{former.name}  1 cards  wraps new cards" in run(capsys, "vault", "status", "--home", home)[1]
    code, told = run(capsys, "vault", "rotate", "--destroy-former", "--home", home)
    assert code == 0
    assert "1 data keys are wrapped with kek-000002" in told
    assert [path.name[:10] for path in (home / "keys" / "vault").iterdir()] == ["kek-000002"]
    assert not former.exists()
    assert run(capsys, "vault", "shred", ref.card_id, "--home", home)[0] == 0
    code, told = run(capsys, "vault", "reveal", ref.card_id, "--reason", "to look at it", "--home", home)
    assert code == 1
    assert "destroyed" in told
    assert "shredded  1 cards" in run(capsys, "vault", "status", "--home", home)[1]
    assert run(capsys, "vault", "shred", "card-none", "--home", home)[0] == 1
    assert run(capsys, "vault", "status", "--home", home / "none")[0] == 1
