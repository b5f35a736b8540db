"""What may be meant by card types that an import does not know."""

from __future__ import annotations

import json
from collections.abc import Sequence

from features.catalogue import Catalogue
from pipelines.training.import_problems import shown

MOST_NAMED, MOST_CLOSE, MOST_READ = 10, 5, 200
"""So many card types are told by their names, or as close to others; of so many it is looked up."""


def card_type_advice(kinds: Sequence[str], *, catalogue: Catalogue, column: str) -> tuple[str, str]:
    """In Chinese and in English: how a mapping of ``column`` turns names of the catalogue into its card types, and
    which card types are close to the others; empty where nothing is."""
    words: dict[str, str] = {}
    close: dict[str, str] = {}
    for kind in kinds[:MOST_READ]:
        named = catalogue.named(kind)
        if len(named) == 1 and len(words) < MOST_NAMED:
            words[kind] = named[0]
        elif len(close) < MOST_CLOSE and (near := catalogue.close_to(kind)):
            close[shown(column, kind)] = ", ".join(near)
    zh, en = [], []
    if words:
        rule = _mapping(column, words)
        zh.append(f"目录中已有同名卡种，映射文件里写 {rule}")
        en.append(f"the catalogue has card types of these names: in the mapping file write {rule}")
    if close:
        zh.append("相近的卡种：" + "，".join(f"{kind} → {near}" for kind, near in close.items()))
        en.append("close to it: " + "; ".join(f"{kind} → {near}" for kind, near in close.items()))
    return "；".join(zh), "; ".join(en)


def _mapping(column: str, words: dict[str, str]) -> str:
    """A mapping's line; on its left the file's words, on its right ours."""
    pairs = ", ".join(f"{_quoted(theirs)} = {_quoted(ours)}" for theirs, ours in words.items())
    return f"card_type = {{ column = {_quoted(column)}, words = {{ {pairs} }} }}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
