"""Golden rows: a model answers as it did when it was registered, or it is not that model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from models import golden
from models.golden import (
    GoldenMismatch,
    answers,
    check_golden,
    golden_inputs,
    installation,
    load_model,
    write_golden,
)
from models.registry import CHAMPION
from pipelines.wiring import model_registry

NAMES = ("discount", "fraud")
TREES = {"discount": "resale_mean.txt", "fraud": "model.txt"}


@pytest.fixture(params=NAMES)
def saved(request, workspace, tmp_path) -> tuple[str, Path]:
    """A registered model's name and a copy of its folder."""
    registry = model_registry(workspace)
    folder = registry.folder(registry.version(request.param, CHAMPION))
    return request.param, Path(shutil.copytree(folder, tmp_path / request.param))


def test_training_registers_golden_rows(saved):
    """What `huika train` registers holds golden rows, and its loaded model answers them to the last bit."""
    name, folder = saved
    assert check_golden(folder, model=load_model(name, folder)) == golden.ROWS


def test_inputs_and_answers_keep_every_bit(saved):
    """What is read back are the same numbers, unknown ones and texts included."""
    name, folder = saved
    model, inputs = load_model(name, folder), golden_inputs(folder)
    write_golden(folder, model=model, columns=inputs)
    again = golden_inputs(folder)
    for column, values in inputs.items():
        if values.dtype == object:
            assert again[column].tolist() == values.tolist()
        else:
            assert again[column].tobytes() == values.tobytes()


def _next_digit(found: re.Match[str]) -> str:
    """A number changed in its third decimal; its text stays as long, for LightGBM looks trees up by their place."""
    return f"{found[1]}{(int(found[2]) + 1) % 10}"


@pytest.mark.parametrize("part", ["leaf_value", "threshold"])
def test_other_trees_do_not_pass(saved, part):
    """A model whose trees were changed into others that load well answers otherwise, and is told from its own."""
    name, folder = saved
    file = folder / TREES[name]
    lines = file.read_text().splitlines(keepends=True)
    changed = [
        re.sub(r"(\d\.\d\d)(\d)", _next_digit, line) if line.startswith(f"{part}=") else line
        for line in lines
    ]
    assert changed != lines
    file.write_text("".join(changed))
    with pytest.raises(GoldenMismatch, match="golden row"):
        check_golden(folder, model=load_model(name, folder))


def test_the_last_bit_counts_on_the_same_installation(saved):
    """An answer that differs in its last bit is a mismatch where it was made, and within the tolerance elsewhere."""
    name, folder = saved
    model = load_model(name, folder)
    what = next(iter(answers(model, golden_inputs(folder))))
    kept = json.loads((folder / golden.FILE).read_text())
    numbers = kept["answers"][what]["numbers"]
    place = next(i for i, value in enumerate(numbers) if np.isfinite(float.fromhex(value)))
    numbers[place] = float(np.nextafter(float.fromhex(numbers[place]), 2.0)).hex()
    (folder / golden.FILE).write_text(json.dumps(kept))
    with pytest.raises(GoldenMismatch):
        check_golden(folder, model=model)
    kept["installation"] = installation() | {"numpy": "1.0"}
    (folder / golden.FILE).write_text(json.dumps(kept))
    assert check_golden(folder, model=model) == golden.ROWS
    numbers[place] = (float.fromhex(numbers[place]) * (1 + 1e-6) + 1e-6).hex()
    (folder / golden.FILE).write_text(json.dumps(kept))
    with pytest.raises(GoldenMismatch):
        check_golden(folder, model=model)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"inputs": {}}', "\x00" * 100])
def test_golden_rows_that_cannot_be_read_are_a_mismatch(saved, text):
    """Broken golden rows prove nothing, so the model is not that one."""
    name, folder = saved
    (folder / golden.FILE).write_text(text)
    with pytest.raises(GoldenMismatch):
        check_golden(folder, model=load_model(name, folder))


def test_a_model_without_golden_rows_says_so(saved):
    """A model that was registered before there were golden rows is checked on none."""
    name, folder = saved
    model = load_model(name, folder)
    (folder / golden.FILE).unlink()
    assert check_golden(folder, model=model) == 0
