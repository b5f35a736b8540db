"""Files of rules followed while the service runs: a change counts within seconds, a broken file changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipelines.screening.files import LIMITS_FILE, RULES_FILE
from pipelines.screening.rule_files import rule_book
from pipelines.workspace import Workspace
from serving.api.rule_life import stamps_of
from tests.serving.conftest import Clock
from tests.serving.living import Living, living, register
from tests.serving.test_api import submission

RULE = """
[[rule]]
name = "any"
mode = "{mode}"
action = "refuse"
when = [{{ feature = "card_face_cny", above = 0.0 }}]
zh = "核实"
en = "A check"
"""


@pytest.fixture
def files(live_workspace: Workspace) -> Path:
    """The workspace's folder."""
    return live_workspace.home


async def looks(service: Living) -> None:
    """As many looks as a changed file needs to count."""
    for _ in range(2):
        await service.rules.look()


async def told(service: Living) -> dict:
    return (await service.client.get("/v1/models")).json()["rules"]


def refused_metric(service: Living) -> bool:
    return b"huika_rules_refused 1.0" in service.app.state.metrics.text()


def test_a_changed_file_counts_while_the_service_runs(files: Path, live_workspace, clock: Clock):
    """A rule written live refuses the next quote, which names the new version; in shadow it changes nothing again. The
    file must be at rest for one look; one that did not change is not read."""

    async def run() -> None:
        async with living(live_workspace, clock) as service:
            first = await service.quote(submission())
            await looks(service)
            assert service.app.state.desk.engine.terms.rules.rules_version == first["rules_version"]
            (files / RULES_FILE).write_text(RULE.format(mode="live"))
            await service.rules.look()
            assert (await told(service))["rules_version"] == first["rules_version"]
            await service.rules.look()
            desk = service.app.state.desk
            quote = await service.quote(submission())
            assert quote["decision"] == "refuse"
            assert "RULE_ANY" in [reason["code"] for reason in quote["reasons"]]
            assert quote["rules_version"] == rule_book(files).rules_version != first["rules_version"]
            assert await told(service) == {
                "rules_version": quote["rules_version"],
                "law_version": first["law_version"],
                "problem": "",
            }
            await looks(service)
            assert service.app.state.desk is desk
            (files / RULES_FILE).write_text(RULE.format(mode="shadow"))
            await looks(service)
            assert (await service.quote(submission()))["decision"] == first["decision"]

    asyncio.run(run())


BROKEN = {
    "not TOML": "[[rule]",
    "a mistake": RULE.format(mode="lvie"),
    "no feature": RULE.format(mode="live").replace("card_face_cny", "card_fcae_cny"),
    "no text": b"\xff\xfe",
    "gone": None,
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_file_keeps_the_rules_and_says_so(files: Path, live_workspace, clock: Clock, caplog, name):
    """Log, metric and ``/v1/models`` name the file until it is whole again; answers are those of the rules before."""

    async def run() -> None:
        (files / RULES_FILE).write_text(RULE.format(mode="live"))
        async with living(live_workspace, clock) as service:
            await looks(service)
            content = BROKEN[name]
            if content is None:
                (files / RULES_FILE).unlink()
            else:
                (files / RULES_FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
            await looks(service)
            quote = await service.quote(submission())
            assert quote["decision"] == "refuse"
            said = await told(service)
            assert RULES_FILE in said["problem"]
            assert said["rules_version"] == quote["rules_version"]
            assert refused_metric(service)
            assert RULES_FILE in caplog.text
            (files / RULES_FILE).write_text(RULE.format(mode="live"))
            await looks(service)
            assert (await told(service))["problem"] == ""
            assert not refused_metric(service)

    asyncio.run(run())


def test_own_limits_count_as_rules_do_and_for_a_challenger_too(files: Path, live_workspace, clock: Clock):
    """A limit that a platform writes while the service runs changes ``law_version`` and is the challenger's too, and a
    model that comes later answers under it."""

    async def run() -> None:
        async with living(live_workspace, clock) as service:
            register(service.registry, "fraud", alias="challenger")
            await service.life.look()
            await looks(service)
            before = (await told(service))["law_version"]
            limit = RULE.format(mode="live").replace("[[rule]]", "[[limit]]")
            limit += 'from = 2020-01-01\nsource_zh = "规定"\nsource_en = "A rule"\n'
            (files / LIMITS_FILE).write_text(limit)
            await looks(service)
            quote = await service.quote(submission())
            assert quote["decision"] == "refuse"
            assert quote["law_version"] == rule_book(files).law_version != before
            desk = service.app.state.desk
            assert desk.candidate.engine.terms.rules == desk.engine.terms.rules == rule_book(files)

    asyncio.run(run())


def test_a_file_that_is_replaced_at_once_is_seen(files: Path):
    """An editor that writes aside and renames changes the stamp even where size and time are the same."""
    before = stamps_of(files)
    other = files / "aside.toml"
    other.write_bytes((files / RULES_FILE).read_bytes())
    other.replace(files / RULES_FILE)
    assert stamps_of(files) != before
