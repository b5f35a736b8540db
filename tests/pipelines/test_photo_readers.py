"""Photos are read in a process of their own: what crashes or hangs there is a refused photo, and the next is read."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipelines.recycling.card_photo import PhotoRefused
from pipelines.recycling.photo_readers import PhotoReaders, PhotosBusy

TODAY = date(2026, 6, 1)
READ = (
    "import sys; from pipelines.recycling.photo_child import *; i, o = sys.stdin.buffer, sys.stdout.buffer\n"
)
FIRST_BREAKS = """
while read_message(i):
    photo = read_message(i)
    if photo == b"crash": os.kill(os.getpid(), 11)
    if photo == b"hang": import time; time.sleep(60)
    write_message(o, b'{"read": {"photo": "%s"}}' % photo)
"""


@pytest.mark.parametrize("photo", [b"crash", b"hang"])
def test_a_photo_that_breaks_its_reader_is_refused_and_the_next_is_read(tmp_path: Path, photo):
    """A crash and a hang are a damaged photo; a new process reads the one after it."""
    readers = PhotoReaders(tmp_path, seconds=5, command=("-c", READ + FIRST_BREAKS))
    try:
        assert readers.read(b"good", today=TODAY) == {"photo": "good"}
        if photo == b"hang":
            readers.seconds = 0.3
        with pytest.raises(PhotoRefused) as refused:
            readers.read(photo, today=TODAY)
        assert refused.value.code == "damaged"
        readers.seconds = 5
        assert readers.read(b"next", today=TODAY) == {"photo": "next"}
    finally:
        readers.close()


def test_who_would_wait_too_long_is_told_so(tmp_path: Path):
    """With every place taken a photo is not queued."""
    readers = PhotoReaders(tmp_path, processes=1, most_waiting=0)
    readers._places.acquire()
    with pytest.raises(PhotosBusy):
        readers.read(b"photo", today=TODAY)
