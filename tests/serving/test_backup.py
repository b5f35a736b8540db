"""A workspace that was sold and paid in is restored from exactly what the list of a backup names."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.backup import BACKUP, MADE_ANEW, backup_table, losses
from pipelines.recycling.payouts import PayoutDesk
from pipelines.recycling.people import People
from pipelines.recycling.safekeeping import leaf_of_reveal, open_evidence, open_vault
from pipelines.recycling.vault_keys import VaultKeyError
from pipelines.signing_keys import SigningKeyError, signing_keys
from pipelines.workspace import Workspace
from serving.api import submission_examples as examples
from serving.cli import main
from serving.client import HuikaClient
from serving.commands.bench_servers import postgres_program
from serving.commands.status import workspace_status
from serving.pricing_port import HttpPricing
from tests.pipelines.recycling_world import FakeIdentity
from tests.serving.clients import code
from tests.serving.conftest import client_of, desk_of
from tests.serving.test_receipt_route import quoted
from tests.serving.test_submissions import issuer, provider, seller, work

__all__ = ["issuer", "provider", "seller"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def saved(workspace: Workspace, folder: Path) -> Path:
    """A copy of a workspace that is still in use, by the list."""
    folder.mkdir()
    for part in BACKUP:
        for path in part.paths:
            source, target = workspace.home / path, folder / path
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.exists() and part.kind == "database":
                with closing(sqlite3.connect(source)) as held, closing(sqlite3.connect(target)) as copy:
                    held.backup(copy)
            elif source.exists():
                shutil.copy(source, target)
    return folder


def moved_database(workspace: Workspace, home: Path, server) -> None:
    """Dump the PostgreSQL database of a workspace and restore it into an empty one, which ``home`` uses then."""
    dump, own = home.parent / "application.dump", workspace.settings.storage.application_url
    own = own.replace("postgresql+psycopg", "postgresql")
    server.run("CREATE DATABASE restored")
    subprocess.run([postgres_program("pg_dump"), "--format=custom", "--file", dump, own], check=True)
    subprocess.run([postgres_program("pg_restore"), "--dbname", server.url("restored"), dump], check=True)
    settings = home / "huika.toml"
    settings.write_text(settings.read_text().replace(own, server.url("restored")))


@pytest.mark.both_storages
def test_a_copy_by_the_list_is_whole(
    seller, live_workspace, clock, champions, issuer, provider, storage, tmp_path, request
):
    """A card that was quoted before is accepted, opened and paid in the restored workspace, offered once more it is
    recognised; quotes are signed with the same key, the evidence goes on, and `huika status` finds nothing missing."""
    found = quoted(seller, clock)
    one, flow = found["submission_id"], seller.app.state.recycling.flow
    kid, log = signing_keys(live_workspace).signer().kid, flow.book.evidence
    log.checkpoint(now=clock.now)
    home = saved(live_workspace, tmp_path / "restored")
    if storage == "servers":
        moved_database(live_workspace, home, request.getfixturevalue("postgres_server"))
    restored = Workspace.open(home)
    assert workspace_status(restored)["problems"] == []
    clock.forward(seconds=5)
    with client_of(desk_of(restored, clock, models=champions), home) as client:
        state = client.app.state  # pyright: ignore[reportFunctionMemberAccess]
        pricing = HttpPricing(HuikaClient("http://testserver", http=client))
        payouts = PayoutDesk(provider=provider, clock=clock)
        flow = replace(
            state.recycling.flow, pricing=pricing, issuer=issuer, identity=FakeIdentity(), payouts=payouts
        )
        state.recycling = replace(state.recycling, flow=flow, people=People(flow, state.recycling.engine))
        again = client.post("/v1/submissions", json=examples.NEW["a JD e-card"])
        assert code(again) == (409, "card_known")
        body = {"quote_id": found["quote_id"]}
        assert client.post(f"/v1/submissions/{one}/acceptance", json=body).status_code == 200
        for _ in range(2):
            work(client, clock)
            clock.forward(days=2)
        assert client.get(f"/v1/submissions/{one}").json()["state"] == "paid"
        fresh = client.get(f"/v1/quotes/{found['quote_id']}").json()
        assert fresh["signature"]["kid"] == kid == signing_keys(restored).signer().kid
        assert flow.book.evidence.checkpoint(now=clock.now).checkpoint.size > 0
    assert losses(restored) == []


def test_everything_in_a_workspace_is_saved_or_made_anew(seller, live_workspace, clock):
    """Nothing lies in a workspace in which a card was sold that neither list names."""
    quoted(seller, clock)
    named = {path for part in BACKUP for path in part.paths} | set(MADE_ANEW)
    there = {path.name.removesuffix("-wal").removesuffix("-shm") for path in live_workspace.home.iterdir()}
    assert there - named == set()


def test_the_document_shows_the_list():
    """docs/operations.md has the table that the program makes of its list, and names what is made anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert backup_table() in text
    assert all(f"`{name}`" in text for name in MADE_ANEW if not name.endswith(".lock"))


LOST = {
    "keys/quotes": ["quotes were given", "quotes are signed with keys"],
    "keys/quotes/public": ["quotes are signed with keys"],
    "keys/evidence": ["checkpoints of the evidence log"],
    "keys/vault": ["cards are sealed with keys"],
    "keys/blind_index": ["the key of the blind index"],
    "vault.db": ["1 of 1 trades' cards are not in the vault"],
}


def test_what_is_missing_is_told_and_never_made_anew(seller, live_workspace, clock, tmp_path, capsys):
    """Without a folder of keys, or without the vault, `huika status` fails with a line that names it, twice the same:
    no other key was made meanwhile, and who asks for one is refused."""
    quoted(seller, clock)
    seller.app.state.recycling.flow.book.evidence.checkpoint(now=clock.now)
    for number, (path, lines) in enumerate(LOST.items()):
        home = saved(live_workspace, tmp_path / str(number))
        shutil.rmtree(home / path) if (home / path).is_dir() else (home / path).unlink()
        for _ in range(2):
            told = losses(Workspace.open(home))
            assert [line for line in lines if any(line in one for one in told)] == lines, (path, told)
            assert len(told) == len(lines), (path, told)
            if path == "keys/quotes":
                with pytest.raises(SigningKeyError, match="bring the folder back"):
                    signing_keys(Workspace.open(home)).signer()
            if path in ("keys/vault", "keys/blind_index"):
                with pytest.raises(VaultKeyError):
                    current_key(Workspace.open(home))
            if path == "keys/evidence":
                with pytest.raises(SigningKeyError):
                    open_evidence(Workspace.open(home)).keys.signer()
    with pytest.raises(SystemExit) as end:
        main(["status", "--home", str(tmp_path / "0")])
    assert end.value.code == 1
    assert "quotes were given" in capsys.readouterr().out


def current_key(workspace: Workspace) -> str:
    vault = open_vault(workspace, on_reveal=leaf_of_reveal(open_evidence(workspace)))
    return vault.keys.current()


def test_a_workspace_that_lost_everything_but_its_database_makes_no_vault_keys(seller, live_workspace, clock):
    """Trades tell that there were cards, also where vault and keys are both gone."""
    quoted(seller, clock)
    shutil.rmtree(live_workspace.home / "keys" / "vault")
    for path in live_workspace.home.glob("vault.db*"):
        path.unlink()
    with pytest.raises(VaultKeyError, match="cards were sealed"):
        current_key(live_workspace)
