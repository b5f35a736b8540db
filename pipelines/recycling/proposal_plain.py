"""Proposals as plain values: how they cross a pipe between processes, and, without codes, how they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.recycling.card_names import TypeCandidate
from pipelines.recycling.proposals import Proposal, ReadField
from pipelines.recycling.secret import Secret

CODES = ("number", "secret")
LONGEST_CODE = 80
"""What is longer is no code of a card; it is left out, and its doubts stay."""


def plain(proposal: Proposal) -> dict[str, Any]:
    """All of a proposal, its codes open: for a pipe, never for a file or log."""
    fen, until = proposal.face_value_fen, proposal.expires_on
    values = {
        "number": proposal.number.value.open()[:LONGEST_CODE],
        "secret": proposal.secret.value.open()[:LONGEST_CODE],
        "face_value": "" if fen is None else f"{fen // 100}.{fen % 100:02d}",
        "expiry": "" if until is None else until.isoformat(),
    }
    fields = {name: _field(getattr(proposal, name), value) for name, value in values.items()}
    return {
        "candidates": [[one.card_type, one.because, one.likeness] for one in proposal.candidates],
        "type_doubts": list(proposal.type_doubts),
        "photo_sha256": proposal.photo_sha256,
        **fields,
    }


def codes_of(said: Mapping[str, Any]) -> dict[str, str]:
    """The codes of plain values: what belongs into the vault."""
    return {name: said[name]["value"] for name in CODES}


def without_codes(said: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that may be kept: what was doubted of the codes, not the codes."""
    return {**said, **{name: said[name] | {"value": ""} for name in CODES}}


def with_codes(said: Mapping[str, Any], codes: Mapping[str, str]) -> dict[str, Any]:
    """Kept values with the codes from the vault."""
    return {**said, **{name: said[name] | {"value": codes[name]} for name in CODES}}


def proposal_of(said: Mapping[str, Any]) -> Proposal:
    """The proposal of plain values."""
    return Proposal(
        candidates=tuple(TypeCandidate(*one) for one in said["candidates"]),
        type_doubts=tuple(said["type_doubts"]),
        number=_read_field(said["number"]),
        secret=_read_field(said["secret"]),
        face_value=_read_field(said["face_value"]),
        expiry=_read_field(said["expiry"]),
        photo_sha256=said["photo_sha256"],
    )


def _field(read: ReadField, value: str) -> dict[str, Any]:
    return {
        "value": value,
        "confidence": round(read.confidence, 4),
        "source": read.source,
        "checked": list(read.checked),
        "doubts": list(read.doubts),
    }


def _read_field(said: Mapping[str, Any]) -> ReadField:
    value = Secret(said["value"])
    return ReadField(
        value, value, said["confidence"], said["source"], tuple(said["checked"]), tuple(said["doubts"])
    )
