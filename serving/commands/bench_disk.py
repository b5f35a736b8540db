"""A small disk of a drill's own, which can be filled to its last block: a file that holds a file system, mounted where
a service keeps its files. It takes root and a loop device."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LARGEST_BYTES, SMALLEST_BYTES = 64 << 20, 4 << 10


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Take all of its space: whoever writes more than he had is told that the disk is full."""
        with self._ballast.open("ab") as file:
            part = LARGEST_BYTES
            while part >= SMALLEST_BYTES:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, part)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    part //= 2

    def free(self) -> None:
        """Give back what :meth:`fill` took."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[SmallDisk | None]:
    """A disk mounted at a new folder, its image beside it; None, and a plain folder, where this machine does not let us
    mount one."""
    image = folder.with_suffix(".image")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size_bytes)
    mounted = _ran("mkfs.ext4", "-q", "-m", "0", "-F", image) and _ran("mount", "-o", "loop", image, folder)
    try:
        if mounted:
            shutil.rmtree(folder / "lost+found")
        yield SmallDisk(folder) if mounted else None
    finally:
        if mounted:
            # Lazily: connections of this process may still hold its files.
            _ran("umount", "--lazy", folder)
        image.unlink()


def _ran(*command: str | Path) -> bool:
    program = shutil.which(str(command[0]), path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return program is not None and not subprocess.run([program, *command[1:]], capture_output=True).returncode
