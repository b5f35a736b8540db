"""Where a workspace keeps its rules and its own legal limits."""

from __future__ import annotations

import shutil
from pathlib import Path

RULES_FILE = "rules.toml"
LIMITS_FILE = "limits.toml"
"""In a workspace: limits that replace the shipped ones of the same name, or come beside them. May be absent."""

SHIPPED = Path(__file__).parent


def write_default_rules(path: Path) -> None:
    """A commented file with the rules that a platform starts with."""
    shutil.copyfile(SHIPPED / "default_rules.toml", path)
