"""Models change while the service runs: no request fails, no damaged file serves, and everybody follows."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from models import golden
from models.golden import Model
from models.registry import CHALLENGER, CHAMPION, PREVIOUS, DamagedModel, ModelNotFound, digest
from pipelines.model_checks import CheckedOnce, ModelRefused, check_in_child, load_verified
from pipelines.training.promoting import rollback
from pipelines.training.training import _has_champion
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.api.model_routes import EXAMPLE, ModelStates
from serving.cli import main
from serving.commands.bench_versions import variant
from serving.commands.damages import DAMAGES, damaged, files_of
from serving.commands.status import workspace_status
from tests.serving.living import living, refusing, register, unchecked
from tests.serving.test_api import submission

TREES = {"discount": "resale_mean.txt", "fraud": "model.txt"}


def seller(number: int) -> dict:
    return submission() | {"seller": {"seller_id": f"s-{number}", "device_id": f"d-{number}"}}


def test_swaps_under_load_fail_nobody(live_workspace, clock):
    """Aliases move again and again while quotes are being given: every one of them is answered, by one version of each
    model, and what it was answered by had been registered."""

    async def run() -> tuple[int, set[str], list[dict]]:
        async with living(live_workspace, clock) as service:
            second = register(service.registry, "fraud", alias="other").version
            quotes: list[dict] = []
            done = asyncio.Event()

            async def ask(number: int) -> None:
                while not done.is_set():
                    quotes.append(await service.quote(seller(number)))

            asking = [asyncio.create_task(ask(number)) for number in range(6)]
            for swap in range(10):
                service.registry.move_alias("fraud", CHAMPION, second if swap % 2 == 0 else "1")
                await service.life.look()
            done.set()
            await asyncio.gather(*asking)
            return service.life.swaps, {"1", second}, quotes

    swaps, versions, quotes = asyncio.run(run())
    assert swaps == 10
    assert {quote["models"]["fraud"] for quote in quotes} == versions
    assert {quote["models"]["discount"] for quote in quotes} == {"1"}
    assert not any(quote["degraded"] for quote in quotes)


def test_a_promoted_model_is_served_without_a_restart(live_workspace, clock):
    """The champion's alias moves: quotes, the price board, explanations and the models route follow; and back."""

    async def run() -> None:
        async with living(live_workspace, clock) as service:
            before = await service.quote(seller(1))
            second = register(service.registry, "discount", alias=CHAMPION).version
            service.registry.move_alias("discount", PREVIOUS, "1")
            clock.forward(seconds=5)
            await service.life.look()
            after = await service.quote(seller(1))
            assert (before["models"]["discount"], after["models"]["discount"]) == ("1", second)
            assert service.app.state.boards._engine is service.app.state.desk.engine
            told = (await service.client.get("/v1/models")).json()
            assert ModelStates.model_validate(told).worker
            served = {(item["model"], item["version"], item["since"]) for item in told["serving"]}
            assert ("discount", second, clock.now.isoformat()) in served
            assert told["swaps"] == 1
            rollback(service.registry, "discount")
            await service.life.look()
            assert (await service.quote(seller(2)))["models"]["discount"] == "1"
            for quote in (before, after):
                path = f"/v1/quotes/{quote['quote_id']}/explanation"
                assert (await service.client.get(path)).json()["missing"] == ""

    asyncio.run(run())


def test_the_example_of_the_models_route_is_one():
    """What `/docs.json` shows is what the route can answer."""
    assert ModelStates.model_validate(EXAMPLE).canary is not None


def test_nothing_is_judged_where_there_is_no_challenger(live_workspace, capsys):
    """After a first training `huika promote` says at once that the model is champion already."""
    with pytest.raises(SystemExit):
        main(["promote", "discount", "--home", str(live_workspace.home)])
    told = capsys.readouterr().err
    assert "is champion already" in told
    assert "newer" not in told


def test_a_challenger_is_promoted_from_memory(live_workspace, clock, monkeypatch):
    """A challenger that waits is verified already: becoming the champion needs no file."""

    async def run() -> None:
        async with living(live_workspace, clock) as service:
            second = register(service.registry, "fraud", alias=CHALLENGER).version
            await service.life.look()
            assert service.life.line.versions(CHALLENGER) == {"fraud": second}
            monkeypatch.setattr(service.registry, "copy", None)
            service.registry.move_alias("fraud", CHAMPION, second)
            service.registry.drop_alias("fraud", CHALLENGER)
            await service.life.look()
            assert (await service.quote(seller(1)))["models"]["fraud"] == second
            assert service.life.line.challengers == {}

    asyncio.run(run())


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_files_damaged_after_registration_do_not_serve(live_workspace, clock, kind):
    """The champion goes on serving, the models route says why the other does not, and it is tried again later."""

    async def run() -> None:
        async with living(live_workspace, clock) as service:
            second = register(service.registry, "fraud", alias=CHAMPION)
            folder = service.registry.folder(second)
            with damaged(folder, kind, np.random.default_rng(3)):
                await service.life.look()
                assert (await service.quote(seller(1)))["models"]["fraud"] == "1"
                refused = (await service.client.get("/v1/models")).json()["refused"]
                assert [(item["version"], item["tries"]) for item in refused] == [(second.version, 1)]
                assert "differ from what was registered" in refused[0]["why"]
            await service.life.look()
            assert service.life.line.versions(CHAMPION)["fraud"] == "1"  # not yet
            clock.forward(minutes=1)
            await service.life.look()
            assert (await service.quote(seller(2)))["models"]["fraud"] == second.version
            assert service.life.line.refused == ()

    asyncio.run(run())


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_a_damaged_model_of_many_parts_is_whole_again(trained_home, tmp_path, kind):
    """Damages reach the files of a model's parts too, and are taken back."""
    registry = model_registry(Workspace.open(trained_home))
    folder = Path(
        shutil.copytree(registry.folder(registry.version("discount", CHAMPION)), tmp_path / "discount")
    )
    before = digest(folder)
    assert any(path.parent != folder for path in files_of(folder))
    with damaged(folder, kind, np.random.default_rng(0)):
        assert digest(folder) != before
    assert digest(folder) == before


def truncated(folder: Path) -> None:
    path = folder / TREES[folder.name]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(folder: Path) -> None:
    path = folder / TREES[folder.name]
    path.write_bytes(bytes(path.stat().st_size))


def of_other_model(folder: Path) -> None:
    """Trees that load well and are not the model's."""
    path = folder / TREES[folder.name]
    text = path.read_text()
    path.write_text(text.replace("leaf_value=-0.", "leaf_value=-1."))


@pytest.mark.parametrize("name", ["discount", "fraud"])
@pytest.mark.parametrize("damage", [truncated, emptied, of_other_model])
def test_files_damaged_before_registration_do_not_serve(live_workspace, name, damage):
    """A digest that matches damaged files stops nobody: the child process dies, hangs or answers otherwise."""
    registry = model_registry(live_workspace)
    version = register(registry, name, alias="other", damage=damage).version
    loaded_here: list[str] = []

    def check(name: str, folder: Path) -> None:
        check_in_child(name, folder, seconds=15)
        loaded_here.append(name)

    with pytest.raises(ModelRefused, match=f"{name} version {version}"):
        load_verified(registry, name, version, check=check)
    assert loaded_here == []


def test_a_model_that_hangs_while_loading_is_given_up(live_workspace, monkeypatch, tmp_path):
    """A child that does not answer in time is ended, and its model refused."""
    monkeypatch.setattr("pipelines.model_checks.CHILD", ("-c", "import time; time.sleep(60)"))
    with pytest.raises(DamagedModel, match="within 1 s"):
        check_in_child("fraud", tmp_path, seconds=1)


def test_files_changed_between_check_and_use_do_not_serve(live_workspace):
    """Whoever changes the private copy after the child has read it changes nothing: what was loaded is compared."""
    registry = model_registry(live_workspace)

    def check(name: str, folder: Path) -> None:
        unchecked(name, folder)
        path = folder / "features.json"
        path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(ModelRefused, match="differ from what was registered"):
        load_verified(registry, "fraud", "1", check=check)


def test_the_same_files_meet_one_child(live_workspace, monkeypatch):
    """Files that a child has read well need none the next time; others do, whatever their version is called."""
    read: list[str] = []
    monkeypatch.setattr("pipelines.model_checks.check_in_child", lambda name, folder: read.append(name))
    check, registry = CheckedOnce(), model_registry(live_workspace)
    second = register(registry, "fraud", alias="other").version
    for number in ("1", second, "1", second):
        load_verified(registry, "fraud", number, check=check)
    load_verified(registry, "discount", "1", check=check)
    assert read == ["fraud", "fraud", "discount"]


def test_after_an_upgrade_models_of_other_formulas_are_named_and_replaced(live_workspace, monkeypatch):
    """Their files are whole, their golden rows are answered otherwise: `huika status` says so, and what is trained next
    becomes the champion instead of challenging one that nothing can be compared with."""
    said = golden._fraud_answers

    def with_other_formula(model, columns):
        return {name: values * 1.001 for name, values in said(model, columns).items()}

    registry = model_registry(live_workspace)
    assert _has_champion(registry, "fraud")
    monkeypatch.setattr(golden, "_fraud_answers", with_other_formula)
    assert not _has_champion(registry, "fraud")
    assert _has_champion(registry, "discount")
    report = workspace_status(live_workspace)
    health = {item["model"]: item["health"] for item in report["models"]}
    assert health == {"discount": "ok", "fraud": "outdated"}
    (problem,) = report["problems"]
    assert "golden row" in problem
    assert "`huika train fraud`" in problem


def test_status_names_settings_that_wait_for_the_next_training(live_workspace):
    """A weight that was changed after the training, and no other setting, with what the model decides with."""
    decision = live_workspace.settings.decision
    heavier = decision.model_copy(update={"fraud_weight": 3.0})
    settings = live_workspace.settings.model_copy(update={"decision": heavier})
    for asked, waits in (
        (live_workspace, {}),
        (replace(live_workspace, settings=settings), {"fraud_weight": (2, 3)}),
    ):
        found = {item["model"]: item["awaits_training"] for item in workspace_status(asked)["models"]}
        assert found == {"discount": {}, "fraud": waits}


def test_a_version_that_is_not_there_is_refused(live_workspace):
    """A number without a version is a refusal like any other."""
    registry = model_registry(live_workspace)
    with pytest.raises(ModelRefused, match="not in the registry"):
        load_verified(registry, "fraud", "77", check=unchecked)
    with pytest.raises(ModelNotFound):
        registry.numbered("fraud", "77")


def test_at_the_start_the_previous_champion_stands_in(live_workspace, clock):
    """Where the champion is damaged when the service starts, the champion before it answers."""

    async def run() -> None:
        registry = model_registry(live_workspace)
        second = register(registry, "fraud", alias=CHAMPION)
        registry.move_alias("fraud", PREVIOUS, "1")
        (registry.folder(second) / "model.txt").unlink()
        async with living(live_workspace, clock) as service:
            assert (await service.quote(seller(1)))["models"] == {"discount": "1", "fraud": "1"}
            assert [item.version for item in service.life.line.refused] == [second.version]

    asyncio.run(run())


def test_tries_wait_longer_and_longer(live_workspace, clock):
    """A version that stays damaged is not loaded at every look."""

    async def run() -> list[timedelta]:
        async with living(live_workspace, clock) as service:
            second = register(service.registry, "fraud", alias=CHAMPION)
            (service.registry.folder(second) / "model.txt").unlink()
            waits = []
            for _ in range(4):
                await service.life.look()
                refused = service.life.line.refused[0]
                waits.append(refused.retry_at - refused.at)
                clock.now = refused.retry_at
            return waits

    waits = asyncio.run(run())
    assert waits == [timedelta(seconds=30) * 2**tries for tries in range(4)]


def test_a_registry_that_does_not_answer_changes_nothing(live_workspace, clock, monkeypatch):
    """Quotes go on with the models there are, and the models route says what is wrong."""

    async def run() -> None:
        async with living(live_workspace, clock) as service:

            def broken() -> dict:
                raise OSError("gone")

            monkeypatch.setattr(service.registry, "aliases", broken)
            await service.life.look()
            assert (await service.quote(seller(1)))["models"]["fraud"] == "1"
            assert "registry" in (await service.client.get("/v1/models")).json()["problem"]

    asyncio.run(run())


def test_the_small_query_sees_what_mlflow_says(live_workspace):
    """The aliases read from the registry's database are those of MLflow's own call, after moves and drops."""
    registry = model_registry(live_workspace)
    second = register(registry, "fraud", alias=CHALLENGER).version
    for move in (lambda: None, lambda: registry.move_alias("fraud", CHAMPION, second)):
        move()
        for name in ("discount", "fraud"):
            said = {alias: item.version for item in registry.versions(name) for alias in item.aliases}
            assert registry.aliases()[name] == said
    registry.drop_alias("fraud", CHALLENGER)
    assert CHALLENGER not in registry.aliases()["fraud"]


def test_shadow_answers_are_stored_and_cost_no_quote(live_workspace, clock):
    """Every quote's other answer is kept with both sides' facts; a challenger that fails in the shadow, or a full
    queue, is counted and nobody's quote fails."""
    from pipelines.shadow_data import ShadowData, figures_of, label_of

    async def run() -> None:
        async with living(live_workspace, clock) as service:
            version = register(service.registry, "fraud", alias=CHALLENGER, change=refusing).version
            await service.life.look()
            quotes = [await service.quote(seller(number)) for number in range(40)]
            assert {quote["models"]["fraud"] for quote in quotes} == {"1"}
            shadow = service.canary.shadow
            await shadow.drain()
            assert shadow.counts["answered"] == 40
            answers = ShadowData.open(service.app.state.desk.data)
            paired = answers.paired(label_of({"fraud": version}))
            assert len(paired) == 40
            assert paired.rate["champion"].tolist() == [quote["rate"] for quote in quotes]
            assert paired.refused["candidate"].mean() > 0.8  # a few are let through at random
            assert not paired.refused["champion"].any()
            assert figures_of(paired).quotes == 40
            assert figures_of(paired).decision_changes > 0.8
            assert figures_of(paired).score_correlation == pytest.approx(1.0)
            for engine in shadow._engines.values():
                object.__setattr__(engine, "registry", None)  # whatever it does, it fails
            await service.quote(seller(50))
            await shadow.drain()
            assert shadow.counts["failed"] == 1
            for _ in range(3_000):
                shadow.offer("q-any", "champion")
            assert shadow.counts["dropped"] == 1_000
            await service.quote(seller(51))

    asyncio.run(run())


def test_the_shadow_answers_what_the_model_would_have_answered(live_workspace, clock):
    """With the same model as challenger both sides agree on every quote: the features are the very same."""

    def same(name: str, model: Model) -> Model:
        return model

    async def run() -> None:
        from pipelines.shadow_data import ShadowData, label_of

        async with living(live_workspace, clock) as service:
            versions = {
                name: register(service.registry, name, alias=CHALLENGER, change=same).version
                for name in ("discount", "fraud")
            }
            await service.life.look()
            for number in range(10):
                await service.quote(seller(number % 4))
                clock.forward(seconds=30)
            await service.canary.shadow.drain()
            paired = ShadowData.open(service.app.state.desk.data).paired(label_of(versions))
            assert len(paired) == 10
            for facts in (paired.rate, paired.fraud, paired.profit_fen):
                assert facts["champion"].tolist() == facts["candidate"].tolist()
            assert not paired.changed.any()

    asyncio.run(run())


def test_variants_differ(live_workspace):
    """The tests' variants of a model are other models than the champions."""
    registry = model_registry(live_workspace)
    for name in ("discount", "fraud"):
        first = load_verified(registry, name, "1", check=unchecked).model
        assert variant(name, first) != first
