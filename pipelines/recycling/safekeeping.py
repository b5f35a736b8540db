"""The vault and the evidence log of a workspace, put together from its settings."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from pipelines.databases import has_rows, immediate_engine
from pipelines.recycling.anchors import Anchor, FileWitness, StampRefused, TimeStamps, certificates_of
from pipelines.recycling.blind_index import KEY_BYTES, BlindIndex
from pipelines.recycling.checkpoints import checked_name
from pipelines.recycling.evidence import EvidenceLog
from pipelines.recycling.evidence_tables import checkpoints
from pipelines.recycling.trade_tables import submissions
from pipelines.recycling.vault import OnReveal, Reveal, Vault
from pipelines.recycling.vault_keys import KeyProvider, LocalKeys, TransitKeys, keep_key, read_key
from pipelines.recycling.vault_tables import is_empty, open_vault_database
from pipelines.settings import EvidenceSettings, SettingsError, VaultSettings
from pipelines.signing_keys import SigningKeys

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

REVEALED = "card_revealed"
"""Kind of the leaf that a reveal leaves."""


def open_evidence(workspace: Workspace, *, engine: sa.Engine | None = None) -> EvidenceLog:
    """The evidence log, in the application database. engine: connections to it that are there already."""
    opened = engine if engine is not None else immediate_engine(workspace.application_url)
    origin = checked_name(workspace.settings.evidence.origin)
    return EvidenceLog.open(opened, keys=evidence_keys(workspace), origin=origin)


def evidence_keys(workspace: Workspace) -> SigningKeys:
    """The keys that sign the evidence log."""
    return SigningKeys(
        folder=workspace.home / "keys" / "evidence",
        given=workspace.settings.evidence.key_file,
        has_signed=partial(has_rows, workspace.application_url, checkpoints),
    )


def open_vault(workspace: Workspace, *, on_reveal: OnReveal) -> Vault:
    """The vault. on_reveal: called before a secret is handed out, :func:`leaf_of_reveal` of the evidence log. Raises
    VaultKeyError."""
    settings = workspace.settings.vault
    engine = open_vault_database(vault_url(workspace))
    has_sealed = partial(_has_sealed, engine, workspace.application_url)
    return Vault(
        engine=engine,
        keys=key_provider(settings, home=workspace.home, has_sealed=has_sealed),
        index=BlindIndex(_index_key(settings, workspace.home, has_sealed=has_sealed)),
        two_person_fen=settings.two_person_fen,
        on_reveal=on_reveal,
    )


def vault_url(workspace: Workspace) -> str:
    """Address of the vault's database."""
    return workspace.settings.vault.url or f"sqlite:///{workspace.home / 'vault.db'}"


def _has_sealed(engine: sa.Engine, application_url: str) -> bool:
    """Whether there were cards: in the vault, or in trades whose vault is gone."""
    return not is_empty(engine) or has_rows(application_url, submissions)


def index_key_file(settings: VaultSettings, home: Path) -> Path:
    """Where the key of the blind index lies."""
    given = settings.index_key_file
    return Path(given).expanduser() if given else home / "keys" / "blind_index" / "key"


def _index_key(settings: VaultSettings, home: Path, *, has_sealed: Callable[[], bool]) -> bytes:
    """The key of the blind index. Where there were no cards yet it is made; with another key none would be known
    again."""
    path = index_key_file(settings, home)
    if not settings.index_key_file and not path.exists() and not has_sealed():
        keep_key(path, secrets.token_bytes(KEY_BYTES))
    return read_key(path)


def key_provider(settings: VaultSettings, *, home: Path, has_sealed: Callable[[], bool]) -> KeyProvider:
    """Whoever holds the keys that wrap data keys. has_sealed: whether there were cards that another key wrapped."""
    if settings.keys == "file":
        return LocalKeys(home / "keys" / "vault", has_sealed)
    return TransitKeys(
        url=settings.transit_url,
        key_name=settings.transit_key,
        token_file=Path(settings.transit_token_file).expanduser(),
        mount=settings.transit_mount,
    )


def leaf_of_reveal(log: EvidenceLog) -> OnReveal:
    """Writes into the evidence log who is about to see which card, and why."""

    def keep(reveal: Reveal) -> None:
        log.record(
            kind=REVEALED,
            subject=reveal.trade_id,
            payload={
                "action": reveal.action,
                "card_id": reveal.card_id,
                "role": reveal.role,
                "second_actor": reveal.second_actor,
                "reason": reveal.reason,
            },
            actor=reveal.actor,
            source="vault",
            at=reveal.at,
        )

    return keep


def anchors_of(settings: EvidenceSettings) -> list[Anchor]:
    """Where the settings say that checkpoints are left. Raises SettingsError."""
    found: list[Anchor] = []
    if settings.tsa_url:
        pem = roots_pem_of(settings).encode()
        try:
            found.append(TimeStamps(url=settings.tsa_url, roots=certificates_of(pem, settings.tsa_roots)))
        except StampRefused as error:
            raise SettingsError(f"[evidence] tsa_roots: {error}") from error
    if settings.witness_file:
        found.append(FileWitness(Path(settings.witness_file).expanduser()))
    return found


def roots_pem_of(settings: EvidenceSettings) -> str:
    """The root certificates of time stamps, empty without any. Raises SettingsError."""
    if not settings.tsa_roots:
        return ""
    try:
        return Path(settings.tsa_roots).expanduser().read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"[evidence] tsa_roots cannot be read: {type(error).__name__}") from error


def checkpoint_and_anchor(
    log: EvidenceLog, settings: EvidenceSettings, *, now: datetime
) -> tuple[int, dict[str, str]]:
    """What a schedule does every few minutes: the size of the tree, and by anchor why it failed, or empty."""
    made = log.checkpoint(now=now)
    return made.checkpoint.size, log.anchor(anchors_of(settings), now=now)
