"""The vault: what is in it opens for its own trade, its own keys and people who may, and for nobody else."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recycling import vault_tables as tables
from pipelines.recycling.blind_index import BlindIndex, NotACard
from pipelines.recycling.safekeeping import leaf_of_reveal, open_evidence, open_vault
from pipelines.recycling.secret import Secret
from pipelines.recycling.vault import (
    CardDamaged,
    CardRef,
    CardShredded,
    NoSuchCard,
    Reveal,
    SecretDiffers,
    Vault,
    VaultRefusal,
    bound_key,
)
from pipelines.recycling.vault_keys import LocalKeys, TransitKeys, VaultKeyError, Wrapped, keep_key
from pipelines.recycling.vault_rotation import rotate
from pipelines.recycling.vault_rules import RevealRefused
from pipelines.recycling.vault_tables import open_vault_database
from pipelines.workspace import Workspace
from tests.canaries import Canaries, new_marker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
_numbers = count()


class Kept:
    """Remembers what the hook was told."""

    def __init__(self) -> None:
        self.reveals: list[Reveal] = []

    def __call__(self, reveal: Reveal) -> None:
        self.reveals.append(reveal)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return made(tmp_path, f"sqlite:///{tmp_path / 'vault.db'}")


@pytest.fixture(scope="module")
def shared_vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """One vault for many examples; each takes a brand of its own."""
    folder = tmp_path_factory.mktemp("vault")
    return made(folder, f"sqlite:///{folder / 'vault.db'}")


def made(folder: Path, url: str) -> Vault:
    """A vault in a folder of its own; its hook remembers."""
    return Vault(
        engine=open_vault_database(url),
        keys=LocalKeys(folder / "keys"),
        index=BlindIndex(bytes(range(32))),
        two_person_fen=100_000,
        on_reveal=Kept(),
    )


def stored(vault: Vault, trade_id: str = "t-1", **changed: Any) -> CardRef:
    card = {
        "number": "JDV00012345678901234",
        "secret": "ABCD-EFGH-IJKL-MNOP",
        "brand": "jd_ecard",
        "face_value_fen": 50_000,
    }
    return vault.store(trade_id=trade_id, actor="seller:s-1", now=NOW, **(card | changed))


def opened(vault: Vault, ref: CardRef) -> tuple[str, str]:
    shown = vault.use(ref.card_id, step="check_balance", now=NOW)
    return shown.number.open(), shown.secret.open()


def numbered(vault: Vault) -> dict[str, int]:
    """How many cards each key wraps, by its number."""
    return {name[:10]: count for name, count in vault.status().items()}


def row_of(vault: Vault, card_id: str) -> dict[str, Any]:
    with vault.engine.connect() as connection:
        chosen = sa.select(tables.cards).where(tables.cards.c.card_id == card_id)
        return dict(connection.execute(chosen).mappings().one())


def changed(vault: Vault, card_id: str, **values: Any) -> None:
    with vault.engine.begin() as connection:
        connection.execute(sa.update(tables.cards).where(tables.cards.c.card_id == card_id).values(values))


# --- secrets that do not show ------------------------------------------------------------------------------------


def test_a_secret_shows_nothing_however_it_is_written(caplog):
    """Text, format, log, traceback, JSON, pickle, copies: only open() gives it."""
    secret = Secret("ABCD-1234")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, repr([secret])]  # noqa: UP031
    assert not any("ABCD" in text for text in shown)
    logging.getLogger("huika").warning("card %s", secret)
    assert "ABCD" not in caplog.text
    for write in (json.dumps, pickle.dumps, msgspec.json.encode, vars):
        with pytest.raises(TypeError) as refused:
            write(secret)
        assert "ABCD" not in str(refused.value)
    with pytest.raises(TypeError):
        hash(secret)
    assert copy.deepcopy([secret])[0].open() == "ABCD-1234"
    assert secret == Secret("ABCD-1234")
    assert secret != Secret("ABCD-1235")
    assert secret != "ABCD-1234"


# --- keeping -----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    number=st.text(min_size=1, max_size=60).filter(lambda text: any(item.isalnum() for item in text)),
    secret=st.text(max_size=60),
)
def test_every_card_comes_back_as_it_was(shared_vault, number, secret):
    """Any text, of any script."""
    ref = stored(shared_vault, number=number, secret=secret, brand=f"brand {next(_numbers)}")
    assert opened(shared_vault, ref) == (number, secret)


def test_nothing_of_a_card_is_on_the_disk(vault, tmp_path):
    """Neither in the database nor in its log, in any form, before and after it was looked at."""
    canaries = Canaries((new_marker("JDV"), new_marker("PIN")))
    ref = stored(vault, number=canaries.markers[0], secret=canaries.markers[1])
    assert opened(vault, ref) == canaries.markers
    with vault.engine.connect():  # keeps the write-ahead log open
        assert canaries.in_folder(tmp_path) == []
        assert canaries.in_database(vault.engine) == []


def test_errors_and_logs_show_nothing_of_a_card(vault, caplog):
    """A database that fails, another secret, a damaged card and an object's text do not repeat what was sent."""
    caplog.set_level(logging.DEBUG)
    canaries = Canaries((new_marker("JDV"), new_marker("PIN")))
    number, secret = canaries.markers
    ref = stored(vault, number=number, secret=secret)
    errors = [_error(lambda: stored(vault, number=number, secret=f"{secret}X"))]
    errors.append(_error(lambda: stored(vault, number=number, secret=secret + "x")))
    changed(vault, ref.card_id, trade_id="t-9")
    errors.append(_error(lambda: opened(vault, ref)))
    with vault.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE vault_audit")
    errors.append(_error(lambda: stored(vault, "t-3", number=number + "9", secret=secret)))
    texts = {f"error {number}": str(error) + repr(error) for number, error in enumerate(errors)}
    assert canaries.in_texts(texts | {"log": caplog.text, "vault": repr(vault), "ref": repr(ref)}) == []


def _error(act: Any) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        act()
    return raised.value


def test_each_card_has_a_data_key_of_its_own(vault):
    """Equal secrets look different, and one card's wrapped key does not open another card."""
    first = stored(vault, "t-1", number="1111111111")
    second = stored(vault, "t-2", number="2222222222")
    one, two = row_of(vault, first.card_id), row_of(vault, second.card_id)
    assert one["wrapped_key"] != two["wrapped_key"]
    assert one["ciphertext"] != two["ciphertext"]
    changed(vault, second.card_id, wrapped_key=one["wrapped_key"])
    with pytest.raises(CardDamaged):
        opened(vault, second)


def test_a_card_moved_to_another_trade_does_not_open(vault):
    """The trade, the card and the key are bound into both layers; so are the way it was sealed, and the face value by
    which a second person is asked for."""
    ref, other = stored(vault), stored(vault, "t-2", number="2222222222")
    whole = row_of(vault, ref.card_id)
    sealed = {name: whole[name] for name in ("nonce", "ciphertext", "kek_id", "wrapped_key")}
    changed(vault, other.card_id, **sealed)
    with pytest.raises(CardDamaged):
        opened(vault, other)
    for moved in ({"trade_id": "t-2"}, {"format": 2}, {"face_value_fen": 1}):
        changed(vault, ref.card_id, **moved)
        with pytest.raises(CardDamaged):
            opened(vault, ref)
        changed(vault, ref.card_id, **{name: whole[name] for name in moved})
    assert opened(vault, ref)[0] == "JDV00012345678901234"


@settings(max_examples=60, deadline=None)
@given(
    part=st.sampled_from(["ciphertext", "nonce", "wrapped_key"]),
    at=st.integers(0, 500),
    bit=st.integers(0, 7),
)
def test_one_changed_bit_does_not_open(shared_vault, part, at, bit):
    """In the ciphertext, its nonce or the wrapped key."""
    ref = stored(shared_vault, brand=f"brand {next(_numbers)}")
    value = bytearray(row_of(shared_vault, ref.card_id)[part])
    value[at % len(value)] ^= 1 << bit
    changed(shared_vault, ref.card_id, **{part: bytes(value)})
    with pytest.raises(CardDamaged):
        opened(shared_vault, ref)


def test_each_layer_is_bound_by_itself(vault):
    """Whoever wraps a data key anew for another card opens nothing with it; whoever seals a card for another trade with
    a data key of this one finds it closed."""
    ref, other = stored(vault), stored(vault, "t-2", number="2222222222")
    row, target = row_of(vault, ref.card_id), row_of(vault, other.card_id)
    kek_id = row["kek_id"]
    data_key = vault.keys.unwrap(
        Wrapped(kek_id, row["wrapped_key"]), bound=bound_key("t-1", ref.card_id, kek_id)
    )
    moved = vault.keys.wrap(data_key, kek_id=kek_id, bound=bound_key("t-2", other.card_id, kek_id))
    sealed = {"nonce": row["nonce"], "ciphertext": row["ciphertext"]}
    changed(vault, other.card_id, wrapped_key=moved.value, **sealed)
    with pytest.raises(CardDamaged):
        opened(vault, other)
    parts = ["huika card", target["format"], "t-2", other.card_id, target["face_value_fen"]]
    forged = AESGCM(data_key).encrypt(row["nonce"], b'["1", "2"]', json.dumps(parts).encode())
    changed(vault, other.card_id, ciphertext=forged)
    assert opened(vault, other) == ("1", "2")  # this is how it would be sealed for it
    changed(vault, other.card_id, wrapped_key=row["wrapped_key"])
    with pytest.raises(CardDamaged):
        opened(vault, other)
    anew = vault.keys.wrap(data_key, kek_id=kek_id, bound=bound_key("t-3", ref.card_id, kek_id))
    changed(vault, ref.card_id, trade_id="t-3", wrapped_key=anew.value)  # the card alone says whose it is
    with pytest.raises(CardDamaged):
        opened(vault, ref)


# --- duplicates --------------------------------------------------------------------------------------------------


def test_the_same_card_is_known_again_however_it_is_written(vault):
    """Spaces, hyphens, case and full-width letters make no other card; another brand does."""
    first = vault.blind_index("jd_ecard", "JDV0001-2345 6789")
    assert first == vault.blind_index(" JD_ECARD ", "ｊｄｖ０００１２３４５６７８９")
    assert first != vault.blind_index("walmart", "JDV000123456789")
    assert first != vault.blind_index("jd_ecard", "JDV000123456780")
    assert len(first) == 64
    assert first != replace(vault.index, key=bytes(32)).of("jd_ecard", "JDV0001-2345 6789")
    for brand, number in (("", "1"), ("jd", "-- --")):
        with pytest.raises(NotACard):
            vault.blind_index(brand, number)


def test_storing_again_for_the_same_trade_is_the_same_card(vault):
    """A step that is repeated makes no second card; another secret is told, and may come after shredding."""
    ref = stored(vault)
    assert stored(vault) == ref
    assert stored(vault, number="jdv0001-2345 6789-0123 4") == ref
    assert stored(vault, "t-2") != ref
    with pytest.raises(SecretDiffers):
        stored(vault, secret="other")
    assert vault.holds(ref.card_id, Secret("ABCD-EFGH-IJKL-MNOP"))
    assert not vault.holds(ref.card_id, Secret("other"))
    vault.shred(ref.card_id, actor="admin", now=NOW)
    assert vault.holds(ref.card_id, Secret("other")), "nobody can tell any more"
    again = stored(vault, secret="other")
    assert again.card_id != ref.card_id
    assert opened(vault, again)[1] == "other"


def test_of_eight_requests_at_once_one_keeps_the_card(vault):
    """Eight threads store the same card for the same trade: it is kept once, and all are told of that one."""
    _race(vault)


def test_of_eight_requests_at_once_one_keeps_the_card_on_postgres(tmp_path, postgres_url):
    """The same on PostgreSQL, and the audit cannot be changed there either."""
    vault = made(tmp_path, postgres_url)
    _race(vault)
    (ref,) = vault.cards_of("t-1")
    assert rotate(vault, actor="admin", now=NOW).rewrapped == 1
    assert opened(vault, ref)[0] == "JDV00012345678901234"
    for statement in (
        "UPDATE vault_audit SET actor = 'x'",
        "DELETE FROM vault_audit",
        "TRUNCATE vault_audit",
    ):
        with pytest.raises(sa.exc.DBAPIError), vault.engine.begin() as connection:
            connection.exec_driver_sql(statement)
    assert vault.shred(ref.card_id, actor="admin", now=NOW)
    vault.engine.dispose()


def _race(vault: Vault) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: stored(vault), range(8)))
    assert found == vault.cards_of("t-1") * 8


def test_cards_that_are_none_or_too_long_are_refused(vault):
    """Before anything is kept."""
    for wrong in ({"number": " "}, {"brand": ""}):
        with pytest.raises(NotACard):
            stored(vault, **wrong)
    for wrong in ({"number": "1" * 201}, {"secret": "1" * 201}, {"trade_id": ""}, {"trade_id": "t" * 129}):
        with pytest.raises(VaultRefusal):
            stored(vault, **wrong)
    assert vault.status() == {}


# --- seeing ------------------------------------------------------------------------------------------------------


def shown(vault: Vault, ref: CardRef, **asked: Any) -> tuple[str, str]:
    who = {"actor": "wang", "role": "operator", "reason": "the buyer says it is used"}
    found = vault.reveal(ref.card_id, now=NOW, **(who | asked))
    return found.number.open(), found.secret.open()


def test_a_reveal_is_kept_before_it_is_shown(vault):
    """A row of audit and a call of the hook, with who, why and when, and nothing of the card."""
    ref = stored(vault)
    assert shown(vault, ref) == ("JDV00012345678901234", "ABCD-EFGH-IJKL-MNOP")
    assert vault.on_reveal.reveals == [
        Reveal("revealed", ref.card_id, "t-1", "wang", "operator", "", "the buyer says it is used", NOW)
    ]
    assert [(row["action"], row["outcome"]) for row in vault.audit(ref.card_id)] == [
        ("stored", "done"),
        ("revealed", "done"),
    ]


def test_a_secret_is_not_shown_where_the_hook_fails(vault):
    """No evidence, no secret."""

    def fails(reveal: Reveal) -> None:
        raise RuntimeError("the evidence log is away")

    ref = stored(vault)
    with pytest.raises(RuntimeError, match="away"):
        shown(replace(vault, on_reveal=fails), ref)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"role": "risk_analyst"}, "role"),
        ({"role": ""}, "role"),
        ({"role": "flow"}, "role"),
        ({"actor": " "}, "role"),
        ({"reason": "    x   "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "it is abcd efgh ijkl mnop"}, "secret_in_reason"),
        ({"reason": "card JDV-0001-2345678901234"}, "secret_in_reason"),
    ],
)
def test_without_role_or_reason_nothing_is_shown(vault, asked, code):
    """The refusal is kept, and not the reason: it may tell what it is about."""
    ref = stored(vault)
    with pytest.raises(RevealRefused) as refused:
        shown(vault, ref, **asked)
    assert refused.value.code == code
    assert vault.on_reveal.reveals == []
    assert vault.audit(ref.card_id)[-1]["outcome"] == code
    assert vault.audit(ref.card_id)[-1]["reason"] == ""


def test_a_large_card_needs_a_second_person(vault):
    """From the limit on; the same person under another spelling is not a second one."""
    small, large = (
        stored(vault, face_value_fen=99_999),
        stored(vault, "t-2", number="22", face_value_fen=100_000),
    )
    assert shown(vault, small)
    for second in (None, "", " ", "wang", " WANG "):
        with pytest.raises(RevealRefused) as refused:
            shown(vault, large, second_actor=second)
        assert refused.value.code == "second_person"
    assert shown(vault, large, second_actor="li")[0] == "22"
    assert vault.on_reveal.reveals[-1].second_actor == "li"


def test_what_does_not_exist_is_not_told_to_strangers(vault):
    """Whoever may not see secrets learns nothing of which cards there are; what was asked for is not kept."""
    for role, error in (("pricing_client", RevealRefused), ("admin", NoSuchCard)):
        with pytest.raises(error):
            vault.reveal("JDV00012345678901234", actor="x", role=role, reason="to look at it", now=NOW)
    assert {row["card_id"] for row in vault.audit()} == {""}


def test_a_step_of_the_trade_leaves_what_a_reveal_leaves(vault):
    """With the step as its reason, whatever the card is worth."""
    ref = stored(vault, face_value_fen=500_000)
    assert opened(vault, ref)[0] == "JDV00012345678901234"
    assert vault.on_reveal.reveals[-1].action == "used"
    assert vault.audit(ref.card_id)[-1]["reason"] == "check_balance"


def test_the_audit_cannot_be_changed(vault):
    """The database refuses."""
    stored(vault)
    replacing = "INSERT OR REPLACE INTO vault_audit SELECT * FROM vault_audit"
    for statement in ("UPDATE vault_audit SET actor = 'x'", "DELETE FROM vault_audit", replacing):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), vault.engine.begin() as connection:
            connection.exec_driver_sql(statement)


# --- keys --------------------------------------------------------------------------------------------------------


def test_keys_are_files_that_their_owner_alone_reads(vault, tmp_path):
    """Mode 600 in a folder of mode 700; one that others may read, or that is cut, is not used."""
    ref = stored(vault)
    (path,) = (tmp_path / "keys").iterdir()
    assert path.name == row_of(vault, ref.card_id)["kek_id"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o640)
    with pytest.raises(VaultKeyError, match="mode 600"):
        opened(vault, ref)
    path.chmod(0o600)
    whole = path.read_bytes()
    path.write_bytes(whole[:31])
    with pytest.raises(VaultKeyError, match="32 bytes"):
        opened(vault, ref)
    path.write_bytes(whole)
    assert opened(vault, ref)
    path.unlink()
    with pytest.raises(VaultKeyError):
        opened(vault, ref)


def test_a_key_is_never_overwritten(tmp_path):
    """Processes that make the next key at once make keys of their own; all of them open what they wrapped."""
    keys = LocalKeys(tmp_path)
    first = keys.current()
    before = (tmp_path / first).read_bytes()
    keep_key(tmp_path / first, bytes(32))
    wrapped: list[Wrapped] = []

    def work() -> None:
        wrapped.append(keys.wrap(b"data key", kek_id=keys.renew(), bound=b"x"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / first).read_bytes() == before
    assert [keys.unwrap(one, bound=b"x") for one in wrapped] == [b"data key"] * 4
    assert keys.current() == max(one.kek_id for one in wrapped)
    for wrong in ("../kek-000001-00000000", "kek-000009-00000000"):
        with pytest.raises(VaultKeyError):
            keys.unwrap(Wrapped(wrong, b""), bound=b"")
    assert not list(tmp_path.glob(".*"))


def test_a_first_card_beside_the_first_card_is_kept(tmp_path):
    """A seller whose card is sealed between the look for a key and the look for cards has lost nothing."""
    key = LocalKeys(tmp_path)
    beside = LocalKeys(tmp_path, has_sealed=lambda: bool(key.renew()))
    assert beside.current() == key.current()


def test_a_lost_key_is_not_mistaken_for_a_new_one(vault, tmp_path):
    """Without its key a card does not open and new ones are kept; from the backup of the key it opens again. A file
    that holds another key than its name says is not used."""
    ref = stored(vault)
    (path,) = (tmp_path / "keys").iterdir()
    backup = path.rename(tmp_path / "backup")
    with pytest.raises(VaultKeyError):
        opened(vault, ref)
    later = stored(vault, "t-2", number="22")
    backup.rename(path)
    assert opened(vault, ref)[0] == "JDV00012345678901234"
    assert opened(vault, later)[0] == "22"
    path.write_bytes(bytes(32))
    with pytest.raises(VaultKeyError, match="another key"):
        opened(vault, ref)


def test_rotation_rewraps_data_keys_and_nothing_else(vault, tmp_path):
    """Cards stay as they are; shredded ones are left alone; the former key wraps nothing and may go."""
    refs = [stored(vault, f"t-{number}", number=f"{number:010d}") for number in range(5)]
    vault.shred(refs[4].card_id, actor="admin", now=NOW)
    before = [row_of(vault, ref.card_id) for ref in refs]
    done = rotate(vault, actor="admin", now=NOW)
    after = [row_of(vault, ref.card_id) for ref in refs]
    assert (done.rewrapped, done.resumed, done.damaged) == (4, False, ())
    (former,) = done.unused
    assert former == before[0]["kek_id"]
    assert [row["ciphertext"] for row in before] == [row["ciphertext"] for row in after]
    assert all(
        old["wrapped_key"] != new["wrapped_key"] for old, new in zip(before[:4], after[:4], strict=True)
    )
    assert numbered(vault) == {"kek-000002": 4, "shredded": 1}
    vault.keys.destroy(former)
    assert [opened(vault, ref)[0] for ref in refs[:4]] == [f"{number:010d}" for number in range(4)]
    with pytest.raises(VaultKeyError):
        vault.keys.destroy(done.kek_id)


def test_a_rotation_that_is_stopped_goes_on(vault, monkeypatch):
    """Every card opens in between; run again it ends under the same key, and a third time there is a new one."""
    monkeypatch.setattr("pipelines.recycling.vault_rotation.PAGE", 2)
    refs = [stored(vault, f"t-{number}", number=f"{number:010d}") for number in range(7)]

    class Stops(LocalKeys):
        left: ClassVar[list[int]] = [5]

        def wrap(self, data_key: bytes, *, kek_id: str, bound: bytes) -> Wrapped:
            self.left[0] -= 1
            if self.left[0] < 0:
                raise KeyboardInterrupt
            return super().wrap(data_key, kek_id=kek_id, bound=bound)

    with pytest.raises(KeyboardInterrupt):
        rotate(replace(vault, keys=Stops(vault.keys.folder)), actor="admin", now=NOW)
    assert numbered(vault) == {"kek-000001": 3, "kek-000002": 4}
    assert [opened(vault, ref)[0] for ref in refs] == [f"{number:010d}" for number in range(7)]
    done = rotate(vault, actor="admin", now=NOW)
    assert (done.kek_id[:10], done.resumed, done.rewrapped) == ("kek-000002", True, 3)
    assert rotate(vault, actor="admin", now=NOW).kek_id.startswith("kek-000003")
    assert [opened(vault, ref)[0] for ref in refs] == [f"{number:010d}" for number in range(7)]


def test_a_rotation_survives_a_kill(vault, tmp_path):
    """kill -9 in the middle of it loses no card; the next run ends it."""
    for number in range(30):
        stored(vault, f"t-{number}", number=f"{number:010d}")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom datetime import UTC, datetime\n"
        "import pipelines.recycling.vault_rotation as rotation\n"
        "from tests.pipelines.test_vault import made\nrotation.PAGE = 3\n"
        "vault = made(Path(sys.argv[1]), f'sqlite:///{sys.argv[1]}/vault.db')\n"
        "replace, done = rotation._replace, [0]\n"
        "def killed(*a):\n    done[0] += 1\n    if done[0] == 14: os.kill(os.getpid(), 9)\n    return replace(*a)\n"
        "rotation._replace = killed\nrotation.rotate(vault, actor='admin', now=datetime.now(UTC))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -9, ended.stderr
    assert numbered(vault) == {"kek-000001": 18, "kek-000002": 12}
    assert rotate(vault, actor="admin", now=NOW).rewrapped == 18
    cards = [ref for number in range(30) for ref in vault.cards_of(f"t-{number}")]
    assert [opened(vault, ref)[0] for ref in cards] == [f"{number:010d}" for number in range(30)]


def test_a_card_that_is_shredded_meanwhile_stays_so(vault):
    """A rotation that had opened its data key does not bring it back."""
    ref = stored(vault)

    class Slow(LocalKeys):
        def wrap(self, data_key: bytes, *, kek_id: str, bound: bytes) -> Wrapped:
            vault.shred(ref.card_id, actor="admin", now=NOW)
            return super().wrap(data_key, kek_id=kek_id, bound=bound)

    assert rotate(replace(vault, keys=Slow(vault.keys.folder)), actor="admin", now=NOW).rewrapped == 0
    assert row_of(vault, ref.card_id)["wrapped_key"] is None


def test_a_damaged_card_does_not_stop_a_rotation(vault):
    """It is named and keeps its wrapping."""
    refs = [stored(vault, f"t-{number}", number=f"{number:010d}") for number in range(3)]
    changed(vault, refs[1].card_id, wrapped_key=b"\x00" * 60)
    done = rotate(vault, actor="admin", now=NOW)
    assert (done.rewrapped, done.damaged, done.unused) == (2, (refs[1].card_id,), ())


# --- destroying --------------------------------------------------------------------------------------------------


def test_a_shredded_card_is_gone_for_ever(vault, tmp_path):
    """Nobody opens it, not even who kept its ciphertext; its wrapped key is on no page and in no log of SQLite."""
    ref = stored(vault)
    row = row_of(vault, ref.card_id)
    assert vault.shred(ref.card_id, actor="admin", now=NOW)
    assert not vault.shred(ref.card_id, actor="admin", now=NOW)
    with pytest.raises(CardShredded):
        opened(vault, ref)
    changed(vault, ref.card_id, nonce=row["nonce"], ciphertext=row["ciphertext"])
    with pytest.raises(CardShredded):
        opened(vault, ref)
    changed(vault, ref.card_id, nonce=None, ciphertext=None)
    for path in tmp_path.glob("vault.db*"):
        assert row["wrapped_key"] not in path.read_bytes(), path
    with pytest.raises(NoSuchCard):
        vault.shred("card-none", actor="admin", now=NOW)


def test_a_backup_of_a_shredded_card_is_closed_once_its_key_is_destroyed(vault):
    """Shred, rotate, destroy the former key: the copy of the row opens with nothing that is left."""
    ref, other = stored(vault), stored(vault, "t-2", number="22")
    backup = row_of(vault, ref.card_id)
    vault.shred(ref.card_id, actor="admin", now=NOW)
    for kek_id in rotate(vault, actor="admin", now=NOW).unused:
        vault.keys.destroy(kek_id)
    changed(
        vault,
        ref.card_id,
        **{name: backup[name] for name in ("nonce", "ciphertext", "kek_id", "wrapped_key")},
    )
    with pytest.raises(VaultKeyError):
        opened(vault, ref)
    assert opened(vault, other)[0] == "22"


def test_purging_forgets_old_cards_altogether(vault, tmp_path):
    """Also that they were here: the same card may come again."""
    ref = stored(vault)
    assert vault.purge(before=NOW, actor="admin", now=NOW) == 0
    assert vault.purge(before=NOW + timedelta(seconds=1), actor="admin", now=NOW) == 1
    assert vault.cards_of("t-1") == []
    assert stored(vault, "t-2").blind_index == ref.blind_index
    assert [row["action"] for row in vault.audit()][-3:] == ["purged", "purged", "stored"]


# --- HashiCorp Vault ---------------------------------------------------------------------------------------------


class Transit:
    """Answers as the transit engine does: versions of one key, AES-GCM with associated data."""

    def __init__(self) -> None:
        self.versions = [AESGCM.generate_key(256)]
        self.down = False
        self.tokens: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens.add(request.headers["X-Vault-Token"])
        if self.down:
            return httpx.Response(503, json={"errors": ["Vault is sealed"]})
        body = json.loads(request.content) if request.content else {}
        name = request.url.path.removeprefix("/v1/transit/")
        if name == "keys/huika-cards":
            return self._data({"latest_version": len(self.versions)})
        if name == "keys/huika-cards/rotate":
            self.versions.append(AESGCM.generate_key(256))
            return httpx.Response(204)
        bound = b64decode(body["associated_data"])
        if name == "encrypt/huika-cards":
            version, nonce = body["key_version"], os.urandom(12)
            sealed = AESGCM(self.versions[version - 1]).encrypt(nonce, b64decode(body["plaintext"]), bound)
            return self._data({"ciphertext": f"vault:v{version}:{b64encode(nonce + sealed).decode()}"})
        assert name == "decrypt/huika-cards"
        _, version, value = body["ciphertext"].split(":")
        content = b64decode(value)
        try:
            plain = AESGCM(self.versions[int(version[1:]) - 1]).decrypt(content[:12], content[12:], bound)
        except Exception:
            return httpx.Response(400, json={"errors": ["cipher: message authentication failed"]})
        return self._data({"plaintext": b64encode(plain).decode()})

    def _data(self, data: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"data": data})


@pytest.fixture
def transit() -> Transit:
    return Transit()


@pytest.fixture
def transit_vault(vault: Vault, transit: Transit, tmp_path: Path) -> Vault:
    token = tmp_path / "token"
    token.write_text("s.token\n")
    keys = TransitKeys(
        url="https://vault.example:8200",
        key_name="huika-cards",
        token_file=token,
        transport=httpx.MockTransport(transit),
    )
    return replace(vault, keys=keys)


def test_transit_keys_wrap_bind_and_rotate(transit_vault, transit):
    """As the local ones do, with the key inside HashiCorp Vault."""
    ref, other = stored(transit_vault), stored(transit_vault, "t-2", number="22")
    assert row_of(transit_vault, ref.card_id)["kek_id"] == "transit:huika-cards:1"
    done = rotate(transit_vault, actor="admin", now=NOW)
    assert (done.kek_id, done.rewrapped) == ("transit:huika-cards:2", 2)
    assert done.unused == ("transit:huika-cards:1",)
    assert opened(transit_vault, ref)[0] == "JDV00012345678901234"
    changed(transit_vault, other.card_id, wrapped_key=row_of(transit_vault, ref.card_id)["wrapped_key"])
    with pytest.raises(CardDamaged):
        opened(transit_vault, other)
    assert transit.tokens == {"s.token"}


def test_a_transit_engine_that_is_away_is_told_and_shows_nothing(transit_vault, transit, tmp_path):
    """Nothing is stored without a wrapped key; a card is not damaged because its key is away."""
    ref = stored(transit_vault)
    transit.down = True
    for act in (lambda: stored(transit_vault, "t-2", number="22"), lambda: opened(transit_vault, ref)):
        with pytest.raises(VaultKeyError, match="503") as raised:
            act()
        assert "token" not in str(raised.value)
    assert transit_vault.cards_of("t-2") == []
    (tmp_path / "token").unlink()
    with pytest.raises(VaultKeyError, match="token"):
        opened(transit_vault, ref)
    with pytest.raises(VaultKeyError, match="trim"):
        transit_vault.keys.destroy("transit:huika-cards:1")


# --- in a workspace ----------------------------------------------------------------------------------------------


def test_a_workspace_has_a_vault_whose_reveals_stand_in_the_evidence_log(tmp_path):
    """Made from the settings; index key and wrapping keys lie beside the database, not in it."""
    workspace = Workspace.open(tmp_path / "home")
    log = open_evidence(workspace)
    vault = open_vault(workspace, on_reveal=leaf_of_reveal(log))
    canaries = Canaries((new_marker("JDV"), new_marker("PIN")))
    ref = stored(vault, number=canaries.markers[0], secret=canaries.markers[1])
    shown(vault, ref)
    (leaf,) = log.leaves_of("t-1")
    assert (leaf.leaf.kind, leaf.leaf.actor, leaf.leaf.source) == ("card_revealed", "wang", "vault")
    assert leaf.said["card_id"] == ref.card_id
    assert canaries.in_folder(workspace.home) == []
    for key in (*workspace.home.glob("keys/vault/*"), *workspace.home.glob("keys/blind_index/*")):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        for path in workspace.home.glob("*.db*"):
            assert key.read_bytes() not in path.read_bytes()
    again = open_vault(workspace, on_reveal=leaf_of_reveal(log))
    assert again.blind_index("jd", "1") == vault.blind_index("jd", "1")
    assert asdict(ref)["blind_index"] == again.blind_index("jd_ecard", canaries.markers[0])


def test_a_vault_with_cards_does_not_start_with_another_index_key(tmp_path):
    """Duplicates would pass unseen: the key has to come back from its backup."""
    workspace = Workspace.open(tmp_path / "home")
    stored(open_vault(workspace, on_reveal=Kept()))
    (tmp_path / "home" / "keys" / "blind_index" / "key").unlink()
    with pytest.raises(VaultKeyError, match="blind_index"):
        open_vault(workspace, on_reveal=Kept())


def test_the_flow_loads_no_model_library():
    """Vault and evidence log import none of the libraries that the models need."""
    code = (
        "import sys, pipelines.recycling.safekeeping, pipelines.recycling.evidence_export\n"
        "heavy = ('lightgbm', 'sklearn', 'mlflow', 'feast', 'bentoml', 'great_expectations', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
