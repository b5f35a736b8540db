"""Where a service's workers add up what they count."""

from __future__ import annotations

import subprocess
import sys

from serving.commands.counting import counting_folder

MAKE = """
import os, sys
from pathlib import Path
from serving.commands.counting import counting_folder
print(counting_folder(otherwise=Path("/nowhere"), memory=Path(sys.argv[1])), flush=True)
os.execv(sys.executable, [sys.executable, "-c", "input()"])
"""


def test_a_folder_lasts_as_long_as_whoever_made_it(tmp_path):
    """It stays while its maker lives, also as another program; the first start after his end deletes it."""
    with subprocess.Popen(
        [sys.executable, "-c", MAKE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdout is not None
        folder = maker.stdout.readline().strip()
        first = counting_folder(otherwise=tmp_path, memory=tmp_path)
        assert {str(path) for path in tmp_path.iterdir()} == {folder, str(first)}
        maker.communicate("\n")
    second = counting_folder(otherwise=tmp_path, memory=tmp_path)
    assert set(tmp_path.iterdir()) == {first, second}


def test_where_no_memory_is_a_folder_the_workspace_is_taken(tmp_path):
    """As on a Mac."""
    assert counting_folder(otherwise=tmp_path, memory=tmp_path / "absent") == tmp_path
