"""Where the workers of a service add up what they count: in memory that is named like a file.

Prometheus' counters are files that each worker has mapped. On a disk that is full, the next part of one that is touched
ends its worker at once (SIGBUS), and a step of a counter may wait for the disk.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
HELD = "held"
"""A file that whoever made a folder keeps locked as long as he lives."""


def counting_folder(*, otherwise: Path, memory: Path = MEMORY) -> Path:
    """A new folder for the service that this process starts or becomes; those of processes that have ended go.

    otherwise: what is taken where there is no such memory.
    """
    if not os.access(memory, os.W_OK):
        return otherwise
    prefix = f"huika-{os.geteuid()}-"
    for folder in memory.glob(f"{prefix}*"):
        _delete_if_left(folder)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=memory))
    _hold(made)
    return made


def _hold(folder: Path) -> None:
    """Lock the folder for the life of this process, also when it becomes another program. Nobody finds it unlocked."""
    unnamed = folder / "new"
    lock = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / HELD)
    os.set_inheritable(lock, True)


def _delete_if_left(folder: Path) -> None:
    """Delete a folder of ours whose maker has ended."""
    try:
        if folder.lstat().st_uid != os.geteuid():
            return
        lock = os.open(folder / HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # it went meanwhile, or is being made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
