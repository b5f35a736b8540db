"""What a command refuses to do, with the reason; printed as one line, exit code 1."""

from __future__ import annotations


class Refusal(Exception):
    """A command cannot do what was asked; the message says why and what would help."""
