"""A page of a report: sections of texts, pictures and tables, in one file that opens offline and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.reporting.tables import Table, Words, shown

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Prose:
    """A paragraph. alarm: to be read before believing what stands below."""

    words: Words
    alarm: bool = False


@dataclass(frozen=True)
class Picture:
    """An SVG with the words under it."""

    svg: str
    words: Words
    narrow: bool = False


@dataclass(frozen=True)
class Section:
    """One part of the page. anchor: where links within the page lead."""

    anchor: str
    words: Words
    blocks: tuple[Prose | Picture | Table, ...]


@dataclass(frozen=True)
class Tile:
    """One of the few figures to see first. bad: whether it calls for attention."""

    value: str
    words: Words
    bad: bool = False


def tables_of(sections: Sequence[Section]) -> list[Table]:
    """All tables, in the page's order."""
    return [block for section in sections for block in section.blocks if isinstance(block, Table)]


def render(template: Path, values: Mapping[str, Any]) -> str:
    """A template of any folder, which may include those beside this module."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["kind_of"] = lambda block: type(block).__name__
    environment.globals["shown"] = shown
    return environment.get_template(template.name).render(**values)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
