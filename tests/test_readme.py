"""The README's examples run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
HUIKA = str(Path(sys.executable).parent / "huika")


def session_lines() -> list[list[str]]:
    """The commands of the console block, as argument lists."""
    block = re.search(r"```console\n(.*?)```", README, re.DOTALL)
    assert block is not None
    return [shlex.split(line.removeprefix("$ ")) for line in block.group(1).splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which all but the last command of the session were run, and no library told of its future."""
    folder = tmp_path_factory.mktemp("session")
    for words in session_lines()[:-1]:
        assert words[0] == "huika"
        result = subprocess.run([HUIKA, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{words}: {result.stdout[-2000:]} {result.stderr[-2000:]}"
        assert "DeprecationWarning" not in result.stderr, f"{words}: {result.stderr[-2000:]}"
    return folder


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[str]:
    """The last command of the session, on a free port; stopped by its process group."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [str(port) if word == "8700" else word for word in session_lines()[-1]]
    with (place / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [HUIKA, *words[1:]],
            cwd=place,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ.copy(),
        )
        try:
            _wait(f"http://127.0.0.1:{port}", process, place / "serve.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    with httpx.Client(trust_env=False) as client:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                if client.get(f"{address}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise AssertionError(f"not ready: {log.read_text()[-3000:]}")


def test_session_leaves_answers_for_every_row(place):
    """The session imports, trains and quotes every trade of the file."""
    lines = (place / "quotes.csv").read_text().splitlines()
    asked = len(pd.read_parquet(place / "market" / "trades.parquet", columns=["trade_id"]))
    assert len(lines) == asked + 1
    assert 9_800 < asked <= 10_000
    for column in ("rate", "payout_cny", "decision", "fraud_probability", "resale_rate_p10", "reasons"):
        assert column in lines[0]


@pytest.fixture(scope="module")
def headers(service: str, place: Path) -> dict[str, str]:
    """What an administrator sends whose key was made while the service runs, once the service knows it."""
    words = [HUIKA, "keys", "add", "reader", "--role", "admin"]
    made = subprocess.run(words, cwd=place, capture_output=True, text=True, check=True)
    sent = {"Authorization": f"Bearer {made.stdout.strip()}"}
    for _ in range(100):
        if httpx.get(f"{service}/metrics", headers=sent, trust_env=False).status_code == 200:
            return sent
        time.sleep(0.1)
    raise AssertionError("the service did not come to know a new key")


def test_curl_example_is_answered(service, headers):
    """The request of the README gets a quote from the running service, with a key and not without."""
    body = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert body is not None
    asked = {"url": f"{service}/v1/quotes", "json": json.loads(body.group(1)), "trust_env": False}
    assert '"Authorization: Bearer $HUIKA_KEY"' in README
    assert httpx.post(**asked).status_code == 401
    response = httpx.post(**asked, headers=headers)
    assert response.status_code == 200
    quote = response.json()
    assert quote["degraded"] == []
    assert quote["card_name_zh"] == "京东E卡"


def test_service_has_health_metrics_and_a_description(service, headers):
    """Bento's own end points are there, and the description lists our routes."""
    for path in ("/livez", "/readyz"):
        assert httpx.get(service + path, trust_env=False).status_code == 200, path
    assert httpx.get(f"{service}/metrics", trust_env=False).status_code == 401
    assert httpx.get(f"{service}/metrics", headers=headers, trust_env=False).status_code == 200
    paths = httpx.get(f"{service}/docs.json", trust_env=False).json()["paths"]
    wanted = (
        "/v1/quotes",
        "/v1/quotes/batch",
        "/v1/quotes/{quote_id}",
        "/v1/fraud-scores",
        "/v1/events",
        "/v1/prices",
    )
    assert set(wanted) <= set(paths)
    nothing = httpx.get(f"{service}/v1/nothing", headers=headers, trust_env=False)
    assert nothing.json()["code"] == "not_found"


def test_notebook_runs_on_the_workspace(place, monkeypatch):
    """Every code cell of the notebook runs."""
    monkeypatch.setenv("HUIKA_HOME", str(place / ".huika"))
    cells = json.loads((ROOT / "notebooks" / "first_look.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["versions"]


def test_every_command_has_help_and_is_refused_politely():
    """Each command answers --help; an unknown one names the closest."""
    from serving.cli import COMMANDS

    for name in COMMANDS:
        assert f"`huika {name}" in README, name
        result = subprocess.run([HUIKA, name, "--help"], capture_output=True, text=True, check=False)
        assert result.returncode == 0, name
        assert "Usage" in result.stdout, name
    wrong = subprocess.run([HUIKA, "trian"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "did you mean train" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--home", "nowhere"], "no workspace"),
        (["train", "--home", "new"], "no trades yet"),
        (["quote", "in.csv", "out.csv", "--home", "new"], "no model yet"),
        (["promote", "fraud", "--home", "new"], "no fraud model"),
    ],
)
def test_a_command_that_cannot_work_says_why(tmp_path, words, said):
    """A refusal is one line with the reason, exit code 1, no traceback."""
    (tmp_path / "in.csv").write_text("trade_id\n")
    result = subprocess.run([HUIKA, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
