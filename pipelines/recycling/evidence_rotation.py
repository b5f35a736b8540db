"""A new key for the evidence log, vouched for by the former one: the last checkpoint that the former key signs holds a
leaf that names the new key, and the first of the new key continues the same tree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.recycling.checkpoints import VerifierKey
from pipelines.recycling.evidence import EvidenceLog
from pipelines.recycling.safekeeping import checkpoint_and_anchor
from pipelines.settings import EvidenceSettings

SUBJECT = "evidence-log"
"""Subject of the leaves about the log itself: ``huika evidence export evidence-log`` proves every change of its key."""


@dataclass(frozen=True)
class KeyChange:
    """The public keys before and after, as verifiers take them; failed: anchors that could not be reached, by name."""

    former: str
    new: str
    failed: dict[str, str]


def rotate_key(log: EvidenceLog, settings: EvidenceSettings, *, by: str, now: datetime) -> KeyChange:
    """Let a new key sign from now on. The former private key is destroyed; what it signed is verified with its public
    half, which stays published. Raises SigningKeyError and OriginChanged, with nothing changed."""
    coming = log.keys.prepare()
    former = VerifierKey(log.origin, log.keys.signer().key.public_key()).text
    new = VerifierKey(log.origin, coming.key.public_key()).text
    _tell(log, "key_announced", {"former": former, "new": new}, by=by, now=now)
    _, failed = checkpoint_and_anchor(log, settings, now=now)
    log.keys.rotate(coming)
    _tell(log, "key_changed", {"former": former, "new": new}, by=by, now=now)
    _, after = checkpoint_and_anchor(log, settings, now=now)
    return KeyChange(former, new, {name: why for name, why in (failed | after).items() if why})


def _tell(log: EvidenceLog, kind: str, said: dict[str, str], *, by: str, now: datetime) -> None:
    log.record(kind=kind, subject=SUBJECT, payload=said, actor=by, source="huika evidence", at=now)
