"""Every known mistake of whoever verifies a bundle lets a forgery pass that is refused otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from pipelines.recycling import evidence_bundle
from pipelines.recycling.anchors import FileWitness
from pipelines.recycling.evidence import EvidenceLog
from pipelines.recycling.evidence_bundle import BundleRefused, bundle_bytes
from tests.pipelines.test_evidence import NOW, exported, made, proven, told

Forge = Callable[[EvidenceLog, dict[str, Any]], bytes]


@pytest.fixture(scope="module")
def anchored(tmp_path_factory: pytest.TempPathFactory) -> EvidenceLog:
    """Two checkpoints with a witness, and a leaf whose time no clock can have shown."""
    folder: Path = tmp_path_factory.mktemp("mistakes")
    log = made(folder, f"sqlite:///{folder / 'huika.db'}")
    told(log, payload={"fen": 5})
    told(log, "from-the-future", at=NOW + timedelta(days=2))
    for _ in range(2):
        told(log)
        log.checkpoint(now=NOW)
        assert log.anchor([FileWitness(folder / "witness")], now=NOW) == {"file:witness": ""}
    return log


def _signed(change: Callable[[dict[str, Any]], object]) -> Forge:
    """What a platform can do that holds its own key: change a bundle and sign it anew."""

    def forge(log: EvidenceLog, document: dict[str, Any]) -> bytes:
        change(document)
        body = {name: item for name, item in document.items() if name != "signature"}
        return bundle_bytes(body | {"signature": log.keys.signer().sign(body)})

    return forge


def _unsigned(log: EvidenceLog, document: dict[str, Any]) -> bytes:
    return bundle_bytes(document | {"exported_at": "2020-01-01T00:00:00.000000+00:00"})


def _spaced(log: EvidenceLog, document: dict[str, Any]) -> bytes:
    return bundle_bytes(document) + b" "


def _of_the_future(log: EvidenceLog, document: dict[str, Any]) -> bytes:
    return exported(log, "from-the-future")


MISTAKES: dict[str, tuple[str, Any, Forge]] = {
    "signatures are not checked": (
        "check_signature",
        lambda document, keys: document["signature"]["kid"],
        _unsigned,
    ),
    "the form does not matter": ("bundle_bytes", lambda document: ANY, _spaced),
    "what was said is not compared": (
        "_check_said",
        lambda leaf, *, salt, said: None,
        _signed(lambda d: d["leaves"][0].update(said={"fen": 6})),
    ),
    "inclusion is not proven": (
        "check_inclusion",
        lambda **proof: None,
        _signed(lambda d: d["leaves"][0]["leaf"].update(actor="somebody else")),
    ),
    "consistency is not proven": (
        "check_consistency",
        lambda **proof: None,
        _signed(lambda d: d["anchored"][0]["consistency"].pop()),
    ),
    "clocks are not compared": ("_check_clock", lambda leaf, covering: None, _of_the_future),
    "lines of witnesses are not compared": (
        "witness_line",
        lambda note, **line: ANY,
        _signed(lambda d: d["anchored"][0]["anchors"][0].update(proof="1 2 3")),
    ),
    "places may be anything": (
        "_whole",
        lambda value: int(value),
        _signed(lambda d: d["leaves"][0].update(index=False)),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_known_mistake_lets_a_forgery_pass(anchored, monkeypatch, name):
    """Refused without the mistake, and not with it: nothing else stands in its way, and the claim is not empty."""
    function, wrong, forge = MISTAKES[name]
    forged = forge(anchored, json.loads(exported(anchored)))
    with pytest.raises(BundleRefused):
        proven(forged)
    monkeypatch.setattr(evidence_bundle, function, wrong)
    assert proven(forged)
