"""The project keeps its own rules: rooms, lock, reasons, telemetry, a light start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pathspec import PathSpec

from pipelines.process import PROCESS_ENVIRONMENT
from serving.commands.serve import SERVICE

ROOT = Path(__file__).parent.parent
HEAVY = ("feast", "mlflow", "great_expectations", "lightgbm", "sklearn", "pandas", "bentoml", "duckdb")


def test_rooms_import_one_way():
    """import-linter finds no import against the rule of the rooms."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_lock_pins_everything_by_hash_and_names_no_index():
    """Every locked package has a version and a hash, and no address of an index is in the lock."""
    text = (ROOT / "requirements.lock").read_text()
    packages = re.findall(r"^[a-z0-9][\w.\-\[\]]*==\S+", text, flags=re.MULTILINE)
    assert len(packages) > 100
    assert "://" not in text
    assert "--index" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in block for block in blocks)


def test_every_dependency_has_a_reason():
    """Each dependency line of pyproject.toml ends in a comment that says why."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    for requirement in wanted:
        line = next(
            line for line in text.splitlines() if f'"{requirement}"' in line and line.startswith("    ")
        )
        assert re.search(r"#\s+\S+ \S+", line), requirement


def test_locked_versions_meet_the_dependencies():
    """Every direct dependency is in the lock."""
    locked = {line.split("==")[0].lower() for line in (ROOT / "requirements.lock").read_text().splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in project["project"]["dependencies"] + project["dependency-groups"]["dev"]:
        assert re.split(r"[\[>=<]", requirement)[0].lower() in locked


def test_help_starts_without_heavy_libraries():
    """`huika --help` imports none of the libraries that take seconds."""
    code = (
        "import sys; from serving.cli import main; main(['--help']); "
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.rstrip().endswith("LOADED []")


@pytest.mark.parametrize("name", sorted(PROCESS_ENVIRONMENT))
def test_process_environment_is_set_before_a_command_runs(name):
    """Telemetry is off and threads sleep while waiting, unless the user decided otherwise."""
    code = f"from serving.cli import main; main(['--help']); import os; print('VALUE', os.environ[{name!r}])"
    clean = {key: value for key, value in os.environ.items() if key not in PROCESS_ENVIRONMENT}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean
    )
    assert result.stdout.rstrip().endswith(f"VALUE {PROCESS_ENVIRONMENT[name]}")


def test_no_file_grew_beyond_a_screenful_of_screens():
    """A module stays under 400 lines, so that it can be read."""
    for room in ("features", "models", "pipelines", "serving"):
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 400, path


def test_a_bento_holds_the_code_and_nothing_of_a_workspace():
    """`bentoml build` packs the service that `huika serve` starts, every file of the four rooms and what they need
    installed; no workspace beside them, whose folders have the rooms' names, no test and no key."""
    file = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert file["service"] == SERVICE
    assert (ROOT / file["python"]["requirements_txt"]).is_file()
    packed, left = (PathSpec.from_lines("gitwildmatch", file[key]) for key in ("include", "exclude"))
    for pattern in file["include"]:
        assert (ROOT / pattern.strip("/")).exists(), pattern

    def is_packed(path: str) -> bool:
        return packed.match_file(path) and not left.match_file(path)

    rooms = ("features", "models", "pipelines", "serving")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    wanted = [path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts]
    assert [path for path in wanted if not is_packed(path)] == []
    others = (
        "tests/models/test_x.py",
        ".huika/keys/quotes/k.pem",
        ".huika-demo/mlflow/fraud/models/m-1/model.txt",
    )
    assert [path for path in (*others, "mine/models/m", "huika.toml", "keys/k.pem") if is_packed(path)] == []
