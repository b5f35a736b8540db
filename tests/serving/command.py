"""A command as a user runs it, in the test's own process."""

from __future__ import annotations

from serving.cli import main


def run(*arguments: object) -> int:
    """Run the command; returns the exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0
