"""The model's decision put together with rules, limits and lists: the strictest wins, unless a seller is allowed.

An allowed trade is paid where the model or a rule would hold it, and reviewed where they would refuse it. Allowing
never helps against a block, a legal limit, a binding rule or a card that was offered before; nor where no model
scored the trade.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.fraud.conditions import Condition
from models.fraud.decision import ACTIONS, PAY, REFUSE, REVIEW
from models.fraud.lists import Listed
from models.fraud.profiles import PERSON_CONFIRMS, PERSON_DECIDES, PERSON_REFUSES
from models.fraud.reason_dictionary import NO_RISK_SIGNALS
from models.fraud.rules import Rule
from models.matrix import Columns
from models.reasons import Reason

STRICTNESS = {action: strictness for strictness, action in enumerate(ACTIONS)}

EASED = np.array([PAY, PAY, REVIEW, REVIEW])
"""Strictness -> that of an allowed trade."""

OFFERED_BEFORE = Condition("fingerprint_count_all", "at_least", 1.0)

LISTED_BLOCK = Reason(
    "LISTED_BLOCK",
    "本次交易中的账户或卡券目前不在本平台受理范围内",
    "An account or card in this trade is currently not accepted here",
)
LISTED_WATCH = Reason(
    "LISTED_WATCH", "本次交易的信息需要人工核实", "The details of this trade need a check by a person"
)
LISTED_ALLOW = Reason(
    "LISTED_ALLOW", "平台已核实过该交易方，按核实结果办理", "The platform has verified this party before"
)

NOT_REFUSED = frozenset({PERSON_DECIDES, PERSON_CONFIRMS, PERSON_REFUSES})
"""Reasons that promise a person's decision: not said where a rule refuses."""

Hits = list[tuple[Rule, np.ndarray]]


@dataclass(frozen=True)
class Screened:
    """What becomes of n trades. action: (n,) object. reasons: those of hits first, the strictest before the others.
    shadow_rules: names of the rules in shadow that hit, and of lists with an entry in shadow that does
    (:func:`list_name`)."""

    action: np.ndarray
    reasons: list[tuple[Reason, ...]]
    shadow_rules: list[tuple[str, ...]]


def screen(
    *,
    action: np.ndarray,
    reasons: list[tuple[Reason, ...]],
    scored: np.ndarray,
    columns: Columns,
    hits: Hits,
    listed: Listed,
) -> Screened:
    """Screen n trades. action (n,) object and reasons are the model's; scored (n,) bool: a model gave them.

    columns: features as of each trade. hits: from :meth:`models.fraud.rules.RuleBook.hits`.
    """
    live = [(rule, hit) for rule, hit in hits if rule.mode == "live"]
    asked = np.array([STRICTNESS[one] for one in action], dtype=np.int64)
    bound = np.where(listed.block, REFUSE, PAY)
    for rule, hit in live:
        strictness = np.where(hit, STRICTNESS[rule.action], PAY)
        if rule.binding:
            bound = np.maximum(bound, strictness)
        else:
            asked = np.maximum(asked, strictness)
    may_help = listed.allow & scored & ~OFFERED_BEFORE.holds(columns, len(action))
    final = settled(asked, bound=bound, watch=listed.watch, allow=may_help)
    allowed = final < settled(asked, bound=bound, watch=listed.watch, allow=np.zeros_like(may_help))
    told = [(STRICTNESS[rule.action], rule.reason, hit) for rule, hit in live]
    told += [(REFUSE, LISTED_BLOCK, listed.block), (REVIEW, LISTED_WATCH, listed.watch)]
    return Screened(
        action=np.array(ACTIONS, dtype=object)[final],
        reasons=_with_hits(reasons, told, refused=final == REFUSE, allowed=allowed),
        shadow_rules=_names(
            [(rule.name, hit) for rule, hit in hits if rule.mode == "shadow"]
            + [(list_name(name), hit) for name, hit in listed.shadow.items()],
            len(action),
        ),
    )


def list_name(name: str, kind: str = "") -> str:
    """How a list is called among rules, whose names have no colon: ``list:block`` or ``list:block:seller``."""
    return f"list:{name}:{kind}" if kind else f"list:{name}"


def settled(asked: np.ndarray, *, bound: np.ndarray, watch: np.ndarray, allow: np.ndarray) -> np.ndarray:
    """What becomes of trades, as strictness (n,). asked: what the model and rules want. bound: what nobody eases.
    watch, allow: (n,) bool, on these lists; allowing does nothing where anything is bound."""
    eased = np.where(allow & (bound == PAY), EASED[asked], asked)
    return np.maximum(eased, np.maximum(bound, np.where(watch, REVIEW, PAY)))


def _with_hits(
    reasons: list[tuple[Reason, ...]],
    told: list[tuple[int, Reason, np.ndarray]],
    *,
    refused: np.ndarray,
    allowed: np.ndarray,
) -> list[tuple[Reason, ...]]:
    """The model's reasons behind those of the hits, without what no longer is true beside them."""
    found: dict[int, list[Reason]] = {}
    for _, reason, hit in sorted(told, key=lambda one: -one[0]):
        for row in np.flatnonzero(hit):
            found.setdefault(int(row), []).append(reason)
    said = list(reasons)
    for row, hits in found.items():
        untrue = {NO_RISK_SIGNALS} | (NOT_REFUSED if refused[row] else frozenset())
        others = [reason for reason in reasons[row] if reason not in untrue]
        said[row] = tuple(dict.fromkeys([*hits, *others]))
    for row in np.flatnonzero(allowed):
        said[row] = (LISTED_ALLOW, *said[row])
    return said


def _names(hits: list[tuple[str, np.ndarray]], rows: int) -> list[tuple[str, ...]]:
    names: list[tuple[str, ...]] = [()] * rows
    for name, hit in hits:
        for row in np.flatnonzero(hit):
            names[row] = (*names[row], name)
    return names
