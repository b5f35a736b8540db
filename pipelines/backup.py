"""What a backup of a workspace holds, and what a workspace refers to that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import sqlalchemy as sa

from pipelines.application_data import ApplicationData, quotes
from pipelines.databases import has_rows, open_engine
from pipelines.recycling import evidence_tables, vault_tables
from pipelines.recycling.safekeeping import evidence_keys, index_key_file, vault_url
from pipelines.recycling.taxes import TAXES_FILE
from pipelines.recycling.trade_tables import submissions
from pipelines.recycling.vault_keys import LocalKeys, VaultKeyError, read_key
from pipelines.screening.files import LIMITS_FILE, RULES_FILE
from pipelines.settings import FILE_NAME
from pipelines.signing_keys import signing_keys

if TYPE_CHECKING:
    from pipelines.signing_keys import SigningKeys
    from pipelines.workspace import Workspace

LOOKED_AT = 500
"""Quotes from either end of time whose signatures are compared with the keys: keys change rarely."""


class Part(NamedTuple):
    """Some paths below a workspace. elsewhere: the settings by which it lies somewhere else, and is saved there."""

    paths: tuple[str, ...]
    kind: Literal["keys", "files", "database"]
    elsewhere: str
    holds: str


BACKUP: tuple[Part, ...] = (
    Part(
        ("keys", "issuer"),
        "keys",
        '`key_file` of `[signing]` and `[evidence]`, `index_key_file` of `[vault]`, `keys = "transit"`',
        "keys that sign quotes and evidence, wrap cards, know cards again, sign development tokens",
    ),
    Part((FILE_NAME, RULES_FILE, LIMITS_FILE, TAXES_FILE), "files", "", "settings, rules, limits, tax rates"),
    Part(("tables",), "files", "", "what was imported and collected"),
    Part(("mlflow",), "files", "", "models"),
    Part(("mlflow.db",), "database", "`[storage] mlflow_url`", "their registry"),
    Part(
        ("huika.db",),
        "database",
        "`[storage] application_url`",
        "quotes, events, live log, trades, books, evidence, callbacks, lists, API keys, audit",
    ),
    Part(("vault.db",), "database", "`[vault] url`", "cards, and who saw them"),
)
"""In the order in which they are saved. Files that a workspace does not have are left out."""

MADE_ANEW = (
    "feast",
    "training_sets",
    "reports",
    "flow.db",
    "bento",
    "live_state.json",
    "live_state.lock",
    "live_state_rebuild.lock",
    "recycling.lock",
    "serve.lock",
)
"""What else lies in a workspace. Nothing is lost with it, and a restored workspace must not have it: live states may be
newer than the restored database, and so may the notes of batches that are under way (``flow.db``)."""


def backup_table() -> str:
    """The parts of a backup in their order, as docs/operations.md shows them."""
    lines = ["| | part | elsewhere by | holds |", "|---|---|---|---|"]
    for number, part in enumerate(BACKUP, start=1):
        paths = ", ".join(f"`{path}`" for path in part.paths)
        lines.append(f"| {number} | {paths} ({part.kind}) | {part.elsewhere or '–'} | {part.holds} |")
    return "\n".join(lines)


def losses(workspace: Workspace) -> list[str]:
    """What quotes, evidence and trades refer to and the workspace does not have, a line each. Makes no key."""
    return [*_lost_signatures(workspace), *_lost_evidence_key(workspace), *_lost_cards(workspace)]


def _lost_signatures(workspace: Workspace) -> Iterator[str]:
    data, keys = ApplicationData(workspace.application_url), signing_keys(workspace)
    order = quotes.c.submitted_at
    ends = (sa.select(quotes.c.answer).order_by(way).limit(LOOKED_AT) for way in (order, order.desc()))
    rows = [row for end in ends for row in data.rows(end)]
    if rows and not keys.can_sign:
        yield _no_key("quotes were given", keys)
    signed_with = {row["answer"].get("signature", {}).get("kid") for row in rows} - {None}
    known = set(keys.published()) | ({keys.signer().kid} if keys.given else set())
    if signed_with - known:
        yield (
            f"quotes are signed with keys that are not in {keys.folder / 'public'} "
            f"({', '.join(sorted(signed_with - known))}): nobody can verify them; bring the folder back from its backup"
        )


def _lost_evidence_key(workspace: Workspace) -> Iterator[str]:
    keys = evidence_keys(workspace)
    if not keys.can_sign and has_rows(workspace.application_url, evidence_tables.checkpoints):
        yield _no_key("checkpoints of the evidence log were signed", keys)


def _no_key(what: str, keys: SigningKeys) -> str:
    return f"{what}, and the key is not in {keys.folder}: bring the folder back from its backup"


def _lost_cards(workspace: Workspace) -> Iterator[str]:
    url, settings = vault_url(workspace), workspace.settings.vault
    sold = _cards_of_trades(workspace)
    held, wrapped_with = _cards_in_vault(url) if has_rows(url, vault_tables.cards) else (set(), set())
    gone = sold - held
    if gone:
        yield f"{len(gone):,} of {len(sold):,} trades' cards are not in the vault: bring it back from its backup"
    if settings.keys == "file":
        lost = LocalKeys(workspace.home / "keys" / "vault").lost(wrapped_with)
        if lost:
            yield (
                f"cards are sealed with keys that are not in keys/vault ({', '.join(lost)}): they do not open; bring "
                "the folder back from its backup"
            )
    if held or sold:
        try:
            read_key(index_key_file(settings, workspace.home))
        except VaultKeyError as error:
            yield f"the key of the blind index: {error}; bring it back from its backup"


def _cards_of_trades(workspace: Workspace) -> set[str]:
    if not has_rows(workspace.application_url, submissions):
        return set()
    rows = ApplicationData(workspace.application_url).rows(sa.select(submissions.c.card_id))
    return {row["card_id"] for row in rows}


def _cards_in_vault(url: str) -> tuple[set[str], set[str]]:
    """The ids of the cards, and of the keys that wrap them."""
    cards, engine = vault_tables.cards.c, open_engine(url)
    try:
        with engine.connect() as connection:
            ids = set(connection.execute(sa.select(cards.card_id)).scalars())
            wrapping = sa.select(cards.kek_id).where(cards.kek_id.is_not(None)).distinct()
            return ids, set(connection.execute(wrapping).scalars())
    finally:
        engine.dispose()
