"""What a verified bundle proves and what it does not, in words for people who decide on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipelines.recycling.anchors import FILE_WITNESS, TIME_STAMP
from pipelines.recycling.evidence_bundle import Outside, Proven, ProvenLeaf

MOST_SHOWN = 2_000


def told(proven: Proven) -> list[str]:
    """The lines that people read."""
    return [
        f"VALID 有效  trade 交易 {_clean(proven.subject)}, {len(proven.leaves)} leaves 条记录, "
        f"exported 导出于 {_clean(proven.exported_at)}",
        *(line for leaf in proven.leaves for line in _leaf_lines(leaf)),
        "",
        "Proven 已证明:",
        *_lines(_proven(proven)),
        "",
        "Not proven 未证明:",
        *_lines(_not_proven(proven)),
    ]


def as_data(proven: Proven) -> dict[str, Any]:
    """The same for programs."""
    return {
        "valid": True,
        "subject": proven.subject,
        "key": proven.key,
        "key_compared": proven.pinned,
        "size": proven.checkpoint.size,
        "leaves": [
            asdict(leaf.leaf)
            | {
                "index": leaf.index,
                "said": leaf.said,
                "shown": leaf.told,
                "outside_since": {one.name: one.at.isoformat() for one in leaf.outside},
            }
            for leaf in proven.leaves
        ],
        "proven": [english for _, english in _proven(proven)],
        "not_proven": [english for _, english in _not_proven(proven)],
    }


def _leaf_lines(leaf: ProvenLeaf) -> Iterator[str]:
    head = leaf.leaf
    yield (
        f"  #{leaf.index}  {_clean(head.kind)}  at 时间 {_clean(head.at)}  by 操作者 {_clean(head.actor)}  "
        f"from 来源 {_clean(head.source)}"
    )
    if leaf.told:
        yield f"      {_clean(json.dumps(leaf.said, ensure_ascii=False), MOST_SHOWN)}"
    else:
        yield "      what it said was deleted 内容已按期删除"
    since = _first(leaf.outside)
    if since is not None:
        yield f"      unchanged since at the latest 最迟自此未改 {_moment(since.at)} ({_clean(since.name)})"
    else:
        yield "      not yet left outside 尚未锚定"


def _proven(proven: Proven) -> Iterator[tuple[str, str]]:
    size = proven.checkpoint.size
    yield (
        f"每条记录都在存证日志(共 {size} 条)之中,内容、操作者、来源和时间与写入时一致",
        f"every leaf stands in the log of {size} leaves and says what it said when it was written",
    )
    yield (
        f"本文件整体由日志密钥 {proven.key} 签名,未被改动",
        f"this file is as the key {proven.key} signed it",
    )
    for one in proven.outside:
        if one.kind == TIME_STAMP:
            yield (
                f"前 {one.covers} 条记录在 {_moment(one.at)} 已存在,由可信时间戳机构 {_clean(one.name)} 证明",
                f"the first {one.covers} leaves existed at {_moment(one.at)}, says the time stamp of "
                f"{_clean(one.name)}",
            )
        elif one.checked:
            yield (
                f"前 {one.covers} 条记录的根值登记在见证文件 {_clean(one.name)} 中({_moment(one.at)})",
                f"the witness file {_clean(one.name)} has the root of the first {one.covers} leaves, "
                f"dated {_moment(one.at)}",
            )


def _not_proven(proven: Proven) -> Iterator[tuple[str, str]]:
    if not proven.pinned:
        yield (
            "密钥属于该平台:请与平台公开的公钥核对(--key)",
            "that the key is the platform's: compare it with the published one (--key)",
        )
    yield from _weak_anchors(proven)
    open_leaves = sum(_first(leaf.outside) is None for leaf in proven.leaves)
    if open_leaves:
        yield (
            f"{open_leaves} 条记录尚未在外部锚定:其未改动只凭平台自己的签名",
            f"{open_leaves} leaves are covered by nothing outside: only the platform's own signature speaks for them",
        )
    yield (
        "记录写入前的内容是否真实;记录自报的时间早于外部锚定的部分只凭平台陈述",
        "that what was written was true, and any time before the first outside anchor: the platform says so",
    )
    yield (
        "没有其他记录:平台可以不写入或不导出某条记录",
        "that there is nothing else: a platform may leave a leaf unwritten or not export it",
    )


def _weak_anchors(proven: Proven) -> Iterator[tuple[str, str]]:
    stamps = [one for one in proven.outside if one.kind == TIME_STAMP]
    if any(not one.checked for one in stamps):
        yield (
            "时间戳机构的可信度:根证书来自本文件,请用自有根证书核对(--tsa-roots)",
            "that the time stamping authority is one to trust: its root came with the file (--tsa-roots)",
        )
    for kind in sorted({one.kind for one in proven.outside} - {TIME_STAMP, FILE_WITNESS}):
        yield (
            f"外部锚定 {_clean(kind)} 的内容:本程序无法核对",
            f"what anchors of the kind {_clean(kind)} hold: this program cannot check them",
        )
    if any(not one.checked for one in proven.outside if one.kind == FILE_WITNESS):
        yield (
            "见证文件确有此行:请向保管方取得见证文件核对(--witness)",
            "that the witness file has these lines: get it from its keeper (--witness)",
        )


def _first(outside: tuple[Outside, ...]) -> Outside | None:
    """The earliest anchor that counts by itself: a time stamp, or a witness file that was compared."""
    counting = [one for one in outside if one.kind == TIME_STAMP or one.checked]
    return min(counting, key=lambda one: one.at, default=None)


def _lines(told_twice: Iterator[tuple[str, str]]) -> Iterator[str]:
    for chinese, english in told_twice:
        yield f"  - {chinese}"
        yield f"    {english}"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _clean(value: Any, most: int = 200) -> str:
    """A text of a foreign file for the terminal: one printable line."""
    text = str(value)[:most]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
