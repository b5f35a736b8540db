"""What came of asking somebody outside: an answer, or one of a few named failures. Nothing here is an exception, and
nothing here holds what was sent or what came back unread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Value = TypeVar("Value")

Failure = Literal["busy", "maintenance", "timeout", "refused", "garbled", "unreachable"]
State = Literal["ok", "not_connected", "busy", "maintenance", "timeout", "refused", "garbled", "unreachable"]

WORDS: dict[State, tuple[str, str]] = {
    "ok": ("已答复", "answered"),
    "not_connected": ("未接入", "not connected"),
    "busy": ("对方繁忙", "the other side is busy"),
    "maintenance": ("对方维护中", "the other side is under maintenance"),
    "timeout": ("对方超时未答", "the other side did not answer in time"),
    "refused": ("对方拒绝了请求", "the other side refused the request"),
    "garbled": ("对方答复无法理解", "the answer could not be understood"),
    "unreachable": ("无法连接对方", "the other side could not be reached"),
}


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """The outcome of one question.

    ``value`` is there exactly when ``state`` is ``ok``. ``retry_after_seconds``: when it is worth asking again, where
    that is known. ``code``: the other side's own name of a refusal, of those its contract names. ``maybe_done``: the
    request may have taken effect although no answer says so; ask with the same idempotency key, or look it up, before
    anything else. ``attempts``: requests that were sent or tried.
    """

    state: State
    value: Value | None = None
    retry_after_seconds: float | None = None
    code: str = ""
    maybe_done: bool = False
    attempts: int = 0

    @property
    def ok(self) -> bool:
        return self.state == "ok"

    @property
    def worth_retrying(self) -> bool:
        """Whether the same question may be answered later."""
        return self.state in ("busy", "maintenance", "timeout", "unreachable", "garbled")
