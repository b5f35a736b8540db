"""What the sandbox does to a request: chosen by the last two digits of what was asked about, by a header, or by a
scenario that holds until it is changed. The same seed and the same requests give the same answers."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

FAILURES = ("busy", "maintenance", "error", "garbled", "refused", "gateway_timeout")
DEFAULT_HANG_SECONDS = 30.0
MAINTENANCE_SECONDS = 1_800
MAX_SECONDS = 120.0

COMMON = {
    "90": "slow",
    "91": "busy_once",
    "92": "busy",
    "93": "maintenance",
    "94": "hang",
    "95": "garbled",
    "96": "error",
}
"""Last two digits of a number, reference or id -> trouble, alike for every partner; ``hang`` works first and then lets
the caller wait."""


class BadScenario(ValueError):
    """A scenario or header that names something the sandbox does not do."""


@dataclass(frozen=True)
class Scenario:
    """What happens to every request.

    ``slow``: seconds of waiting before the work. ``hang``: seconds of waiting after it. ``fail``: one of FAILURES, for
    ``share`` of the requests. ``maintenance``: the whole sandbox is closed. ``callback_url``: where the payout provider
    tells what came of a payout, ``callback_copies`` times; ``wallet_callback_url``: where the wallet provider tells of
    a transfer. ``callback_secret``: what both sign with; ``callback_late``: seconds after which they call;
    ``callback_forged``: they sign with something else.
    """

    slow: float = 0.0
    hang: float = 0.0
    fail: str = ""
    share: float = 1.0
    maintenance: bool = False
    callback_url: str = ""
    callback_copies: int = 1
    wallet_callback_url: str = ""
    callback_secret: str = ""
    callback_late: float = 0.0
    callback_forged: bool = False

    def changed(self, values: Mapping[str, Any]) -> Scenario:
        """This scenario with some of its values replaced. Raises BadScenario."""
        kinds = {field.name: type(field.default) for field in fields(self)}
        taken = {}
        for name, value in values.items():
            kind = kinds.get(name)
            if kind is None:
                raise BadScenario(f"no setting {name!r}; there are {', '.join(kinds)}")
            taken[name] = _as(kind, name, value)
        found = replace(self, **taken)
        if found.fail and found.fail not in FAILURES:
            raise BadScenario(f"fail is one of {', '.join(FAILURES)}")
        waits = (found.slow, found.hang, found.callback_late)
        if not (all(0 <= seconds <= MAX_SECONDS for seconds in waits) and 0 <= found.share <= 1):
            raise BadScenario("slow, hang and callback_late are 0 to 120 seconds, share is 0 to 1")
        for url in filter(None, (found.callback_url, found.wallet_callback_url)):
            if not re.match(r"http://(127\.0\.0\.1|localhost|testserver)[:/]", url):
                raise BadScenario("callbacks stay on this machine")
        if not 1 <= found.callback_copies <= 10:
            raise BadScenario("callback_copies is 1 to 10")
        return found


def _as(kind: type, name: str, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise BadScenario(f"{name} must be {kind.__name__}")
    return value


def from_header(text: str, *, base: Scenario) -> Scenario:
    """``X-Sandbox: slow=2,fail=busy`` over the standing scenario. Raises BadScenario."""
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in ("slow", "hang", "fail", "share"):
            raise BadScenario("the header takes slow, hang, fail and share")
        values[name] = value if name == "fail" else _number(value)
    return base.changed(values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadScenario("slow, hang and share are numbers") from None


def last_two(text: str) -> str:
    """The last two digits, other marks skipped; empty where there are fewer."""
    found = re.sub(r"\D", "", text)[-2:]
    return found if len(found) == 2 else ""


def strikes(share: float, *, rng: random.Random) -> bool:
    """Whether a failure of this share of the requests meets this one."""
    return share >= 1 or rng.random() < share
