"""The process in which photos are read: ``python -m pipelines.recycling.photo_child HOME``.

A photo comes from strangers and is opened by libraries written in C, so it is opened here: what crashes or hangs is
this process. It is handed messages on its standard input and answers on its standard output, and ends with the former.
A message: its length in 4 bytes, then as many bytes. To each pair of messages (a JSON object, a photo) comes one
answer, a JSON object. Nothing else is written anywhere.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

MEMORY_BYTES = 6 * 1024**3
"""Address space: a damaged photo can ask for any amount."""


def write_message(stream: BinaryIO, content: bytes) -> None:
    """Send one message."""
    stream.write(struct.pack(">I", len(content)) + content)
    stream.flush()


def read_message(stream: BinaryIO) -> bytes | None:
    """The next message; None where the other side has ended."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    content = stream.read(struct.unpack(">I", head)[0])
    return content or None


def main(home: str) -> None:
    """Read photos until there are no more."""
    os.nice(10)  # whoever answers quotes meanwhile goes first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a card's picture must not end in a file
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would print into the answers
    from features.catalogue import workspace_catalogue
    from features.table_store import TableStore
    from pipelines.recycling.reading import CardReader

    catalogue = workspace_catalogue(TableStore(Path(home) / "tables"))
    reader = CardReader()
    while (asked := read_message(sys.stdin.buffer)) is not None:
        content = read_message(sys.stdin.buffer) or b""
        today = date.fromisoformat(json.loads(asked)["today"])
        answer = _answer(reader, content, catalogue=catalogue, today=today)
        write_message(answers, json.dumps(answer, ensure_ascii=False).encode())


def _answer(reader: Any, content: bytes, *, catalogue: Any, today: date) -> dict[str, Any]:
    from pipelines.recycling.card_photo import PhotoRefused
    from pipelines.recycling.proposal_plain import plain

    try:
        return {"read": plain(reader.read(content, catalogue=catalogue, today=today))}
    except PhotoRefused as refusal:
        return {"refused": refusal.code}


if __name__ == "__main__":
    main(*sys.argv[1:])
