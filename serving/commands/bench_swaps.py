"""``huika bench swaps``: models swapped under load on the real service, and damaged model files that must not serve."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from serving.commands.bench_http import UNLIMITED
from serving.commands.bench_load import Address, Load
from serving.commands.bench_service import Service
from serving.commands.bench_workspace import trained_home
from serving.commands.damages import DAMAGES, damaged, files_of
from serving.refusals import Refusal

if TYPE_CHECKING:
    import httpx

    from models.registry import ModelRegistry, ModelVersion

SEED = 7
SWAP_SECONDS = 60.0
LOOK_SECONDS = 0.25
AT_THE_SERVICE = 2
"""Damaged versions of each kind that the running service is given besides."""

CHILD_SECONDS = 5.0


@dataclass(frozen=True)
class Model:
    """One model with two good versions, and a third to be damaged."""

    name: str
    good: tuple[str, str]
    damaged: ModelVersion


def bench_swaps(
    swaps: Annotated[int, typer.Option(help="Moves of a champion's alias.", min=1)] = 100,
    damaged: Annotated[int, typer.Option(help="Damaged model folders.", min=1)] = 1_000,
    children: Annotated[
        int, typer.Option(help="Damaged trees under a digest that matches them.", min=0)
    ] = 36,
    per_second: Annotated[float, typer.Option(help="Requests a second meanwhile.", min=1)] = 20.0,
    trades: Annotated[int, typer.Option(help="Trades of the synthetic market.", min=2_000)] = 4_000,
) -> None:
    """Swap models under load and count what failed; offer damaged ones and count what serves. Fails where either is
    not 0."""
    with trained_home(home=None, trades=trades) as home:
        from pipelines.wiring import model_registry
        from pipelines.workspace import Workspace

        workspace = Workspace.open(home)
        registry = model_registry(workspace)
        models = [_with_versions(registry, name) for name in ("discount", "fraud")]
        with _served(home, _key(workspace), per_second=per_second) as (client, load, memory):
            before = memory()
            failed = _swap(client, registry, models, swaps, load)
            print(f"memory of the worker: {before:,.0f} MB before, {memory():,.0f} MB after")
            reached = _offer_to_service(client, registry, models)
        reached += _offer(registry, models, damaged)
        _offer_children(registry, models[0], children)
    if failed or reached:
        raise Refusal(f"{failed} requests failed, {reached} damaged models reached serving")


def _with_versions(registry: ModelRegistry, name: str) -> Model:
    from models.registry import CHAMPION
    from serving.commands.bench_versions import register_variant

    first = registry.version(name, CHAMPION).version
    second = register_variant(registry, name, alias="spare").version
    third = register_variant(registry, name, alias="damaged")
    return Model(name, (first, second), third)


def _key(workspace: Any) -> str:
    from serving.api.access.roles import Role
    from serving.commands.access import make_key

    return make_key(workspace, name="bench", roles=[Role.ADMIN], now=datetime.now(UTC))


@contextmanager
def _served(
    home: Path, key: str, *, per_second: float
) -> Iterator[tuple[httpx.Client, Load, Callable[[], float]]]:
    """The service under load: a client of its own, the load, and the worker's resident memory in MB."""
    import psutil

    service = Service(home=home, workers=1, log=home / "service.log", more=UNLIMITED)
    service.start()
    try:
        service.await_ready()
        address = Address(service.url, key)
        load = Load(address, per_second=per_second)
        load.start()
        worker = psutil.Process(service.worker_ids()[0])
        with address.client() as client:
            yield client, load, lambda: worker.memory_info().rss / 1024**2
    finally:
        service.stop()


def _swap(client: httpx.Client, registry: ModelRegistry, models: list[Model], swaps: int, load: Load) -> int:
    """Move the aliases in turn while the load runs; how many requests failed."""
    began, seconds = time.monotonic(), []
    for number in range(swaps):
        model = models[number % len(models)]
        version = model.good[(number // len(models) + 1) % 2]
        seconds.append(_moved(client, registry, model.name, version))
    ended = time.monotonic()
    load.stop()
    answered = load.within(began, ended)
    bad = Counter(f"{item.what} {item.status} {item.code}" for item in answered if item.status != 200)
    degraded = sum(bool(item.degraded) for item in answered)
    quotes = sorted((item.ended - item.began) * 1e3 for item in answered if item.what == "quote")
    versions = Counter(
        f"discount {quote['models']['discount']} + fraud {quote['models']['fraud']}"
        for quote in load.acknowledged.quotes.values()
    )
    print(
        f"swaps: {swaps} in {ended - began:.0f} s, each seen {np.mean(seconds):.1f} s after the alias moved "
        f"(longest {max(seconds):.1f} s)"
    )
    print(
        f"requests meanwhile: {len(answered):,}, failed {sum(bad.values())} {dict(bad) or ''}, degraded {degraded}"
    )
    p50, p99 = np.percentile(quotes, [50, 99])
    print(
        f"quotes: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {quotes[-1]:.0f} ms; answered by {dict(versions)}"
    )
    return sum(bad.values()) + degraded


def _moved(client: httpx.Client, registry: ModelRegistry, name: str, version: str) -> float:
    """Move the champion's alias and wait until the service answers by it; seconds that took. Raises Refusal."""
    from models.registry import CHAMPION

    registry.move_alias(name, CHAMPION, version)
    began = time.monotonic()
    while time.monotonic() - began < SWAP_SECONDS:
        time.sleep(LOOK_SECONDS)
        if _versions(client)[name] == version:
            return time.monotonic() - began
    raise Refusal(
        f"{name} version {version} did not serve after {SWAP_SECONDS:.0f} s: {_told(client)['refused']}"
    )


def _told(client: httpx.Client) -> dict[str, Any]:
    return client.get("/v1/models").raise_for_status().json()


def _versions(client: httpx.Client) -> dict[str, str]:
    serving = _told(client)["serving"]
    return {item["model"]: item["version"] for item in serving if item["alias"] == "champion"}


def _offer_to_service(client: httpx.Client, registry: ModelRegistry, models: list[Model]) -> int:
    """Give damaged champions to the running service; how many answered quotes."""
    from models.registry import CHAMPION

    rng, reached, offered = np.random.default_rng(SEED), 0, 0
    for kind in [kind for kind in DAMAGES for _ in range(AT_THE_SERVICE)]:
        model = models[offered % len(models)]
        served = _versions(client)[model.name]
        with damaged(registry.folder(model.damaged), kind, rng):
            registry.move_alias(model.name, CHAMPION, model.damaged.version)
            _wait(lambda name=model.name: any(item["model"] == name for item in _told(client)["refused"]))
            reached += _versions(client)[model.name] != served
            registry.move_alias(model.name, CHAMPION, served)
            _wait(lambda: not _told(client)["refused"])
        offered += 1
    print(f"damaged champions given to the running service: {offered}, reached serving {reached}")
    return reached


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + SWAP_SECONDS
    while not done():
        if time.monotonic() > end:
            raise Refusal("the service did not follow an alias")
        time.sleep(LOOK_SECONDS)


def _offer(registry: ModelRegistry, models: list[Model], count: int) -> int:
    """Load damaged versions as the service does; how many were loaded."""
    from pipelines.model_checks import ModelRefused, load_verified

    rng, reached, children = np.random.default_rng(SEED), 0, 0
    refused: Counter[str] = Counter()

    def in_child(name: str, folder: Path) -> None:
        nonlocal children
        children += 1

    for number in range(count):
        model = models[number % len(models)]
        kind = list(DAMAGES)[number // len(models) % len(DAMAGES)]
        with damaged(registry.folder(model.damaged), kind, rng):
            try:
                load_verified(registry, model.name, model.damaged.version, check=in_child)
                reached += 1
            except ModelRefused:
                refused[kind] += 1
    print(f"damaged model folders: {count:,}, refused {dict(refused)}, reached serving {reached}")
    print(f"  of these {children} came as far as the child process: the digest stops them first")
    return reached


def _offer_children(registry: ModelRegistry, model: Model, count: int) -> None:
    """What stops trees that were damaged before their digest was taken."""
    from models.golden import GoldenMismatch
    from models.registry import DamagedModel
    from pipelines.model_checks import check_in_child

    rng, ends = np.random.default_rng(SEED), Counter()
    source = registry.folder(model.damaged)
    for number in range(count):
        kind = list(DAMAGES)[number % len(DAMAGES)]
        with tempfile.TemporaryDirectory(prefix="huika-bench-") as work:
            folder = Path(shutil.copytree(source, Path(work) / model.name))
            DAMAGES[kind]([path for path in files_of(folder) if path.suffix == ".txt"], rng)
            try:
                check_in_child(model.name, folder, seconds=CHILD_SECONDS)
                end = "passed: golden rows answered to the bit"
            except GoldenMismatch:
                end = "golden rows answered otherwise"
            except DamagedModel as error:
                end = str(error).partition(":")[0]
        ends[f"{kind}: {end}"] += 1
    print(f"trees damaged under a digest that matches them: {count}")
    for what, number in sorted(ends.items()):
        print(f"  {what}: {number}")
