"""Measuring in processes of their own: each times itself, so imports and the reading of its input do not count."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from serving.refusals import Refusal


def child(work: Callable[..., dict[str, Any]], *, what: str, **arguments: object) -> dict[str, Any]:
    """Run a function of a module in a process of its own and answer with what it returned.

    Raises Refusal, which says what failed and why.
    """
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        answer = Path(folder) / "answer.json"
        code = f"import sys; from {__name__} import run_child; run_child(*sys.argv[1:])"
        name = f"{work.__module__}:{work.__name__}"
        command = [sys.executable, "-c", code, name, str(answer), json.dumps(arguments)]
        status = subprocess.run(command, check=False).returncode
        if not answer.exists():
            hint = " (out of memory?)" if status == -9 else ""
            raise Refusal(f"{what} failed: its process ended with status {status}{hint}")
        found = json.loads(answer.read_text())
    if "error" in found:
        raise Refusal(f"{what} failed: {found['error']}")
    return found


def run_child(function: str, answer: str, arguments: str) -> None:
    """Entry point of the child: write what the function returns, or why it could not, to ``answer``."""
    from pipelines.process import prepare_process

    prepare_process()
    try:
        module, _, name = function.partition(":")
        found = getattr(import_module(module), name)(**json.loads(arguments))
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    Path(answer).write_text(json.dumps(found))


def measured(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Wall and processor seconds of all threads, the process's peak memory so far in MB, and what came out."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb()}, result


def peak_mb() -> float:
    """Peak memory of this process so far, in MB.

    Linux hands the parent's peak down to a child in ``ru_maxrss``; VmHWM is the process's own.
    """
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(found[0]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
