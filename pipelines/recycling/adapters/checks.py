"""Who vouches for a seller: real name, device, risk bureau, credit registry. All are asked by reference: a pseudonym
that the partner resolves; no name, document or telephone number passes through here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from pipelines.recycling.adapters import answers
from pipelines.recycling.adapters.http_adapter import HttpAdapter, Misread, Question
from pipelines.recycling.adapters.outcomes import Outcome

Verified = Literal["yes", "no", "unknown"]
Grade = Literal["A", "B", "C", "D", "E", "none"]
Signal = Literal["emulator", "rooted", "proxy", "many_accounts", "app_tampered", "location_mismatch"]

REFUSALS = ("unauthorised", "unknown_reference", "no_consent")
MAX_SIGNALS = 20


@dataclass(frozen=True)
class DeviceRisk:
    """``risk`` from 0 to 1 as the vendor estimates it, and the signs it names."""

    risk: float
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class RiskGrade:
    """``grade`` from A (good) to E, or none where nothing is known; ``listed``: on the bureau's list of defaulters or
    fraudsters."""

    grade: Grade
    listed: bool


class Identity(Protocol):
    def verified(self, reference: str) -> Outcome[Verified]:
        """Whether the real name behind the reference was verified."""
        ...


class Devices(Protocol):
    def risk(self, device_id: str) -> Outcome[DeviceRisk]:
        """What is known of the device."""
        ...


class Grades(Protocol):
    def grade(self, reference: str) -> Outcome[RiskGrade]:
        """The grade of the person behind the reference: of a risk bureau, or of a credit registry."""
        ...


class HttpIdentity:
    """``POST /identities/check``."""

    def __init__(self, http: HttpAdapter) -> None:
        self._http = http

    def verified(self, reference: str) -> Outcome[Verified]:
        question = _question("/identities/check", reference=reference)
        return self._http.ask(
            question, read=lambda answer: answers.one_of(answer, "verified", get_args(Verified))
        )


class HttpDevices:
    """``POST /devices/check``."""

    def __init__(self, http: HttpAdapter) -> None:
        self._http = http

    def risk(self, device_id: str) -> Outcome[DeviceRisk]:
        return self._http.ask(_question("/devices/check", device_id=device_id), read=_device_risk)


class HttpGrades:
    """``POST /grades/check``; the bureau and the credit registry speak alike, each at its own address."""

    def __init__(self, http: HttpAdapter) -> None:
        self._http = http

    def grade(self, reference: str) -> Outcome[RiskGrade]:
        return self._http.ask(_question("/grades/check", reference=reference), read=_risk_grade)


def _question(path: str, **body: str) -> Question:
    return Question("POST", path, body=body, changes_nothing=True)


def _device_risk(answer: Any) -> DeviceRisk:
    named = answer.get("signals", [])
    if not isinstance(named, list) or len(named) > MAX_SIGNALS:
        raise Misread("signals")
    known = tuple(signal for signal in get_args(Signal) if signal in named)
    return DeviceRisk(risk=answers.share(answer, "risk"), signals=known)


def _risk_grade(answer: Any) -> RiskGrade:
    grade = answers.one_of(answer, "grade", get_args(Grade))
    return RiskGrade(grade=grade, listed=answers.flag(answer, "listed") or False)
