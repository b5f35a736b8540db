"""Marker secrets, and the search for them in everything that a test left behind.

A marker is looked for as it is, in base64 (at all three alignments, both alphabets), in hex, URL-encoded, as JSON
escapes it, in UTF-16, and inside gzip and zlib streams. Files are read as bytes, so SQLite pages, write-ahead logs,
Parquet and pickles are covered where they are not compressed.
"""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import sqlalchemy as sa

SHORTEST = 12
"""Characters below which a marker may turn up by chance."""
MOST_UNPACKED_BYTES = 50_000_000
_STREAM_STARTS = (b"\x1f\x8b\x08", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


@dataclass(frozen=True)
class Hit:
    """A marker that was found. where: a file, a table's column or a body; form: how it was written there."""

    marker: str
    where: str
    form: str


def new_marker(prefix: str = "CANARY") -> str:
    """A marker that is nowhere else: letters and digits, as a card number has them."""
    return f"{prefix}{secrets.token_hex(10).upper()}"


def forms_of(marker: str) -> dict[str, bytes]:
    """How a marker may be written, by the name of the form."""
    if len(marker) < SHORTEST:
        raise ValueError(f"a marker has at least {SHORTEST} characters")
    plain = marker.encode()
    forms = {
        "plain": plain,
        "lower": marker.lower().encode(),
        "upper": marker.upper().encode(),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "json": json.dumps(marker)[1:-1].encode(),
        "utf-16": marker.encode("utf-16-le"),
        "utf-16-be": marker.encode("utf-16-be"),
    }
    for shift in range(3):
        forms[f"base64+{shift}"] = base64_core(plain, shift)
        forms[f"base64url+{shift}"] = base64_core(plain, shift).translate(bytes.maketrans(b"+/", b"-_"))
    return forms


def base64_core(plain: bytes, shift: int) -> bytes:
    """The letters of base64 that do not depend on what stands around the marker, ``shift`` bytes into a group."""
    encoded = base64.b64encode(b"\x00" * shift + plain)
    first = (0, 2, 3)[shift]
    last = len(encoded) - (0 if (shift + len(plain)) % 3 == 0 else 4 - (shift + len(plain)) % 3 + 1)
    return encoded[first:last].rstrip(b"=")


@dataclass(frozen=True)
class Canaries:
    """Markers that must not be found."""

    markers: tuple[str, ...]

    def in_bytes(self, content: bytes, *, where: str) -> list[Hit]:
        """Hits in some bytes, and in the streams packed into them."""
        found = {
            Hit(marker, where, form)
            for text in _readings(content)
            for marker in self.markers
            for form, written in forms_of(marker).items()
            if written in text
        }
        return sorted(found, key=lambda hit: (hit.marker, hit.form))

    def in_folder(self, folder: Path, *, without: Iterable[Path] = ()) -> list[Hit]:
        """Hits in all files below a folder, their names included. without: files where markers may be."""
        skipped = {path.resolve() for path in without}
        hits: list[Hit] = []
        for path in sorted(folder.rglob("*")):
            hits += self.in_bytes(str(path.relative_to(folder)).encode(), where=f"{path} (name)")
            if path.is_file() and path.resolve() not in skipped:
                hits += self.in_bytes(path.read_bytes(), where=str(path))
        return hits

    def in_database(self, engine: sa.Engine) -> list[Hit]:
        """Hits in every column of every table, as they are read: also on a server whose files cannot be seen."""
        metadata = sa.MetaData()
        metadata.reflect(engine)
        hits: list[Hit] = []
        with engine.connect() as connection:
            for table in metadata.sorted_tables:
                for row in connection.execute(sa.select(table)).mappings():
                    for name, value in row.items():
                        hits += self.in_bytes(_bytes_of(value), where=f"{table.name}.{name}")
        return hits

    def in_texts(self, texts: Mapping[str, str | bytes]) -> list[Hit]:
        """Hits in logs, bodies and headers, by their names."""
        return [hit for name, text in texts.items() for hit in self.in_bytes(_bytes_of(text), where=name)]


def _readings(content: bytes) -> Iterator[bytes]:
    """The bytes as they are, what is packed in them, and both without URL encoding."""
    for text in (content, *unpacked(content)):
        yield text
        if b"%" in text:
            yield unquote_to_bytes(text)
            yield unquote_to_bytes(text.replace(b"+", b" "))


def unpacked(content: bytes) -> Iterator[bytes]:
    """What the gzip and zlib streams in it hold, and streams within them."""
    for start in _STREAM_STARTS:
        at = content.find(start)
        while at >= 0:
            plain = _inflated(content[at:])
            if plain:
                yield plain
                yield from unpacked(plain)
            at = content.find(start, at + 1)


def _inflated(stream: bytes) -> bytes:
    """As much of a stream as can be read; nothing where it is none."""
    try:
        return zlib.decompressobj(wbits=47).decompress(stream, MOST_UNPACKED_BYTES)
    except zlib.error:
        return b""


def _bytes_of(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False).encode()
    return str(value).encode()
