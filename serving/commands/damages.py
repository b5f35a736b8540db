"""Ways in which a model's files get damaged, for the bench of swaps and the tests. Each damages some of ``files``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

Damage = Callable[[Sequence[Path], np.random.Generator], None]


def files_of(folder: Path) -> list[Path]:
    """A model's files, those of its parts' folders too."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _one(files: Sequence[Path], rng: np.random.Generator) -> Path:
    return files[int(rng.integers(len(files)))]


def truncate(files: Sequence[Path], rng: np.random.Generator) -> None:
    """A copy that broke off."""
    path = _one(files, rng)
    whole = path.read_bytes()
    path.write_bytes(whole[: rng.integers(len(whole))])


def zero(files: Sequence[Path], rng: np.random.Generator) -> None:
    """A block that the disk gave back empty."""
    path = _one(files, rng)
    whole = bytearray(path.read_bytes())
    start = int(rng.integers(len(whole)))
    end = min(len(whole), start + 4096)
    if not any(whole[start:end]):  # a block that was empty before is no damage
        start, end = 0, len(whole)
    whole[start:end] = bytes(end - start)
    path.write_bytes(bytes(whole))


def flip_bit(files: Sequence[Path], rng: np.random.Generator) -> None:
    """One bit."""
    path = _one(files, rng)
    whole = bytearray(path.read_bytes())
    whole[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(whole))


def swap(files: Sequence[Path], rng: np.random.Generator) -> None:
    """Two files under each other's names."""
    one, other = (files[place] for place in rng.choice(len(files), 2, replace=False))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def remove(files: Sequence[Path], rng: np.random.Generator) -> None:
    """A file that is gone."""
    _one(files, rng).unlink()


def lengthen(files: Sequence[Path], rng: np.random.Generator) -> None:
    """A file written twice."""
    path = _one(files, rng)
    path.write_bytes(path.read_bytes() * 2)


DAMAGES: dict[str, Damage] = {
    "truncated": truncate,
    "zeroed": zero,
    "one bit flipped": flip_bit,
    "files swapped": swap,
    "file missing": remove,
    "written twice": lengthen,
}
"""By what one would call them."""


@contextmanager
def damaged(folder: Path, kind: str, rng: np.random.Generator) -> Iterator[None]:
    """The folder's files damaged, and whole again afterwards."""
    whole = {path: path.read_bytes() for path in files_of(folder)}
    DAMAGES[kind](list(whole), rng)
    try:
        yield
    finally:
        for path, content in whole.items():
            path.write_bytes(content)
