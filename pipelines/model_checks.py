"""Loads a registered model so that a damaged one can do no harm: nothing is loaded here that a child did not survive.

LightGBM reads its text files without checking them: a truncated one ends the process, a zeroed one can hang it. So the
files are copied where nobody else writes, compared with the registry's digest, loaded in a child process with limits
that also asks the golden rows, and only then loaded here, from that same copy.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.definitions import FEATURES
from models.discount.model import DiscountModel
from models.fraud.model import FraudModel
from models.golden import GoldenMismatch, Model, check_golden, load_model
from models.quoting import ModelPair
from models.registry import DamagedModel, ModelNotFound, ModelRegistry, check_digest, digest
from pipelines.feature_pins import FeaturesGone, pins
from pipelines.model_child import GOOD, MISMATCH

CHILD_SECONDS = 60.0
"""How long a child may take. Loading takes a hundredth of a second, Python and its libraries about one; on a machine
that is busy with quotes, which go first, that can be many."""


CHILD = ("-m", "pipelines.model_child")


class ModelRefused(RuntimeError):
    """A version cannot be used; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that passed every check. pins: see :class:`models.quoting.ModelPair`; golden_rows: how many rows it
    answered as it did when it was registered, 0 where it was registered without any."""

    name: str
    version: str
    model: Model
    pins: Mapping[str, str]
    golden_rows: int


Check = Callable[[str, Path], None]


class CheckedOnce:
    """:func:`check_in_child`, once for the same files: a rollback to what served before need not wait for a child."""

    def __init__(self) -> None:
        self._passed: set[tuple[str, str]] = set()

    def __call__(self, name: str, folder: Path) -> None:
        files = name, digest(folder)
        if files not in self._passed:
            check_in_child(name, folder)
            self._passed.add(files)


def load_verified(registry: ModelRegistry, name: str, number: str, *, check: Check | None = None) -> Loaded:
    """A version, after all checks. Raises ModelRefused. check: what is done before the files are loaded in this
    process; default: :func:`check_in_child`."""
    try:
        version = registry.numbered(name, number)
        with tempfile.TemporaryDirectory(prefix="huika-model-") as private:
            folder = registry.copy(version, Path(private))
            changed = pins(folder, registry=FEATURES)
            (check or check_in_child)(name, folder)
            model = _read(name, folder)
            rows = check_golden(folder, model=model)
            check_digest(folder, version)  # what was loaded is what was checked
    except (ModelNotFound, DamagedModel, FeaturesGone, GoldenMismatch) as error:
        raise ModelRefused(f"{name} version {number}: {_without_name(error, name, number)}") from error
    return Loaded(name, number, model, changed, rows)


def load_registered(registry: ModelRegistry, name: str, number: str) -> Loaded:
    """As :func:`load_verified`, for a command, which may end as a service may not: no child looks first."""
    return load_verified(registry, name, number, check=lambda name, folder: None)


def _read(name: str, folder: Path) -> Model:
    """The model. Its files are those that were registered, so what cannot be read was written by another program."""
    try:
        return load_model(name, folder)
    except Exception as error:
        what = f"this version of the program cannot read it ({type(error).__name__})"
        raise GoldenMismatch(what) from error


def pair_of(models: Mapping[str, Loaded]) -> ModelPair:
    """The pair that answers, of loaded models by name; one that is not there is missing from the pair."""
    discount, fraud = models.get("discount"), models.get("fraud")
    price = None if discount is None else discount.model
    risk = None if fraud is None else fraud.model
    assert price is None or isinstance(price, DiscountModel)
    assert risk is None or isinstance(risk, FraudModel)
    return ModelPair(
        discount=price,
        fraud=risk,
        discount_version=None if discount is None else discount.version,
        fraud_version=None if fraud is None else fraud.version,
        discount_pins={} if discount is None else discount.pins,
        fraud_pins={} if fraud is None else fraud.pins,
    )


def check_in_child(name: str, folder: Path, *, seconds: float = CHILD_SECONDS) -> None:
    """Load the files and ask the golden rows in a process of its own. Raises DamagedModel where it ends otherwise than
    well, or not in time; GoldenMismatch where the model answers otherwise than it did."""
    command = [sys.executable, *CHILD, name, str(folder), str(seconds)]
    try:
        done = subprocess.run(  # a child that dies of damage may print anything
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise DamagedModel(f"loading did not end within {seconds:.0f} s") from None
    if done.returncode == MISMATCH:
        raise GoldenMismatch(_last_line(done.stdout))
    if done.returncode < 0:
        raise DamagedModel(f"loading ended with {signal.Signals(-done.returncode).name}")
    if done.returncode or not _last_line(done.stdout).startswith(GOOD):
        raise DamagedModel(f"it cannot be loaded: {_last_line(done.stderr) or 'no answer'}")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2][:300]


def _without_name(error: Exception, name: str, number: str) -> str:
    return str(error).removeprefix(f"{name} version {number}: ").removeprefix(f"{name} version {number} ")
