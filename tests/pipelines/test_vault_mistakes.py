"""Every known mistake in the vault is noticed by the claim that it breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.recycling import vault as vaults
from pipelines.recycling import vault_rotation, vault_rules
from pipelines.recycling.blind_index import BlindIndex
from pipelines.recycling.vault import Vault
from tests.pipelines import test_vault as claims

Patch = pytest.MonkeyPatch
Claim = Callable[[Vault, Path], object]


def _cards_are_bound_to(*names: str) -> Callable[[Patch], None]:
    def bound(row: Mapping[str, Any]) -> bytes:
        return json.dumps(["huika card", *(row[name] for name in names)]).encode()

    return lambda patch: patch.setattr(vaults, "_bound_card", bound)


def _keys_are_bound_to_nothing(patch: Patch) -> None:
    for module in (vaults, vault_rotation, claims):
        patch.setattr(module, "bound_key", lambda trade_id, card_id, kek_id: b"")


def _one_data_key_for_all(patch: Patch) -> None:
    class Always:
        generate_key = staticmethod(lambda bits: bytes(32))

        def __new__(cls, key: bytes) -> Any:
            return AESGCM(key)

    patch.setattr(vaults, "AESGCM", Always)
    _keys_are_bound_to_nothing(patch)
    _cards_are_bound_to("format")(patch)


def _the_index_has_no_key(patch: Patch) -> None:
    def of(self: BlindIndex, brand: str, number: str) -> str:
        return hashlib.sha256(f"{brand} {number}".encode()).hexdigest()

    patch.setattr(BlindIndex, "of", of)


def _numbers_are_taken_as_written(patch: Patch) -> None:
    patch.setattr("pipelines.recycling.blind_index.normalised_number", lambda number: number)


def _each_request_keeps_a_card(patch: Patch) -> None:
    patch.setattr(vaults, "_stored_before", lambda connection, ref: None)


def _every_role_may_look(patch: Patch) -> None:
    class Everybody(frozenset[str]):
        def __contains__(self, role: object) -> bool:
            return True

    patch.setattr(vault_rules, "REVEALING_ROLES", Everybody())


def _no_reason_is_needed(patch: Patch) -> None:
    patch.setattr(vault_rules, "check_length", lambda reason: None)


def _the_reason_may_tell_the_secret(patch: Patch) -> None:
    patch.setattr(vaults, "check_reason", lambda reason, secrets: None)


def _nobody_else_must_agree(patch: Patch) -> None:
    patch.setattr(vault_rules, "_check_second", lambda asked: None)


def _one_person_is_two(patch: Patch) -> None:
    patch.setattr(vault_rules, "_plain", lambda name: name)


def _nothing_is_audited(patch: Patch) -> None:
    patch.setattr(Vault, "_keep", lambda self, note: None)


def _the_evidence_comes_later(patch: Patch) -> None:
    """Shown, whether or not the evidence log could be told."""
    shown = Vault._shown

    def wrong(self: Vault, *asked: Any, **rest: Any) -> Any:
        try:
            return shown(self, *asked, **rest)
        except RuntimeError:
            return shown(vaults.Vault(self.engine, self.keys, self.index, 1 << 60, print), *asked, **rest)

    patch.setattr(Vault, "_shown", wrong)


def _rotation_brings_back_what_was_shredded(patch: Patch) -> None:
    def replace(connection: Any, row: Mapping[str, Any], value: bytes, current: str) -> int:
        cards = vault_rotation.tables.cards
        chosen = vault_rotation.sa.update(cards).where(cards.c.card_id == row["card_id"])
        return connection.execute(chosen.values(kek_id=current, wrapped_key=value)).rowcount

    patch.setattr(vault_rotation, "_replace", replace)


def _rotation_changes_nothing(patch: Patch) -> None:
    patch.setattr(vault_rotation, "_replace", lambda connection, row, value, current: 1)


def _copies_stay_on_the_disk(patch: Patch) -> None:
    patch.setattr(vaults.tables, "leave_no_copy", lambda engine: None)


def _without(code: str, **asked: Any) -> Claim:
    return lambda vault, folder: claims.test_without_role_or_reason_nothing_is_shown(vault, asked, code)


def _of(claim: Callable[..., object]) -> Claim:
    return lambda vault, folder: claim(vault)


def _with_folder(claim: Callable[..., object]) -> Claim:
    return lambda vault, folder: claim(vault, folder)


MOVED = _of(claims.test_a_card_moved_to_another_trade_does_not_open)
MISTAKES: dict[str, tuple[Callable[[Patch], None], Claim]] = {
    "cards are not bound to their trade": (
        _cards_are_bound_to("format", "card_id", "face_value_fen"),
        _of(claims.test_each_layer_is_bound_by_itself),
    ),
    "cards are not bound to their value": (_cards_are_bound_to("format", "trade_id", "card_id"), MOVED),
    "cards are not bound to their format": (
        _cards_are_bound_to("trade_id", "card_id", "face_value_fen"),
        MOVED,
    ),
    "data keys are bound to nothing": (
        _keys_are_bound_to_nothing,
        _of(claims.test_each_layer_is_bound_by_itself),
    ),
    "one data key for all": (_one_data_key_for_all, _of(claims.test_each_card_has_a_data_key_of_its_own)),
    "the index has no key": (
        _the_index_has_no_key,
        _of(claims.test_the_same_card_is_known_again_however_it_is_written),
    ),
    "numbers are taken as written": (
        _numbers_are_taken_as_written,
        _of(claims.test_storing_again_for_the_same_trade_is_the_same_card),
    ),
    "each request keeps a card": (
        _each_request_keeps_a_card,
        _of(claims.test_storing_again_for_the_same_trade_is_the_same_card),
    ),
    "copies stay on the disk": (
        _copies_stay_on_the_disk,
        _with_folder(claims.test_a_shredded_card_is_gone_for_ever),
    ),
    "every role may look": (_every_role_may_look, _without("role", role="risk_analyst")),
    "no reason is needed": (_no_reason_is_needed, _without("reason", reason="    x   ")),
    "the reason may tell the secret": (
        _the_reason_may_tell_the_secret,
        _without("secret_in_reason", reason="it is abcd efgh ijkl mnop"),
    ),
    "nobody else must agree": (_nobody_else_must_agree, _of(claims.test_a_large_card_needs_a_second_person)),
    "one person is two": (_one_person_is_two, _of(claims.test_a_large_card_needs_a_second_person)),
    "nothing is audited": (_nothing_is_audited, _of(claims.test_a_reveal_is_kept_before_it_is_shown)),
    "the evidence comes later": (
        _the_evidence_comes_later,
        _of(claims.test_a_secret_is_not_shown_where_the_hook_fails),
    ),
    "rotation brings back what was shredded": (
        _rotation_brings_back_what_was_shredded,
        _of(claims.test_a_card_that_is_shredded_meanwhile_stays_so),
    ),
    "rotation changes nothing": (
        _rotation_changes_nothing,
        _with_folder(claims.test_rotation_rewraps_data_keys_and_nothing_else),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_known_mistake_is_noticed(tmp_path, monkeypatch, name):
    """The claim holds without the mistake (its own test shows it) and not with it."""
    mistake, claim = MISTAKES[name]
    vault = claims.made(tmp_path, f"sqlite:///{tmp_path / 'vault.db'}")
    mistake(monkeypatch)
    with pytest.raises((AssertionError, ValueError, vaults.CardDamaged, pytest.fail.Exception)):
        claim(vault, tmp_path)
