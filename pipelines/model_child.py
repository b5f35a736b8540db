"""The child in which a model is loaded first: ``python -m pipelines.model_child discount|fraud FOLDER SECONDS``.

It ends with MISMATCH where the golden rows are answered otherwise than at registration; a damaged file ends it anyhow.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

MISMATCH = 3
GOOD = "golden rows: "
MEMORY_BYTES = 8 * 1024**3
"""Address space of a child: a damaged file can ask for any number of trees."""

PROCESSOR_SECONDS = 20

UNUSED = ("sklearn", "pandas", "matplotlib", "dask", "graphviz", "cffi")
"""LightGBM imports these where it can; without them the child starts in a third of the time."""


def main(name: str, folder: str, seconds: str) -> None:
    """Load the model, ask it its golden rows, and say how many there were."""
    os.nice(10)  # who answers quotes meanwhile goes first
    limit = min(int(float(seconds)) + 1, PROCESSOR_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.modules.update(dict.fromkeys(UNUSED))  # pyright: ignore[reportArgumentType, reportCallIssue]
    from models.golden import GoldenMismatch, check_golden, load_model

    try:
        rows = check_golden(Path(folder), model=load_model(name, Path(folder)))
    except GoldenMismatch as error:
        print(error)
        raise SystemExit(MISMATCH) from None
    print(f"{GOOD}{rows}")


if __name__ == "__main__":
    main(*sys.argv[1:])
