"""The evidence log: what was written stays as it was, and a file proves it to whoever has no reason to believe us."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.databases import open_engine
from pipelines.recycling import evidence_tables as tables
from pipelines.recycling.anchors import AnchorFailed, Anchoring, FileWitness, TimeStamps
from pipelines.recycling.checkpoints import parse_verifier_key
from pipelines.recycling.evidence import EvidenceLog, LeafDiffers, LeafRef, OriginChanged
from pipelines.recycling.evidence_bundle import (
    BundleRefused,
    Proven,
    Trusted,
    bundle_bytes,
    verify_bundle,
)
from pipelines.recycling.evidence_export import NoEvidence, bundle
from pipelines.recycling.evidence_leaves import PayloadRefused
from pipelines.recycling.secret import Secret
from pipelines.signing import canonical_json
from pipelines.signing_keys import SigningKeys
from tests.pipelines.time_stamps import Authority

NOW = datetime.now(UTC)
ORIGIN = "example.com/evidence"
GUARDED = (
    "evidence_leaves",
    "evidence_positions",
    "evidence_nodes",
    "evidence_checkpoints",
    "evidence_anchorings",
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


def made(folder: Path, url: str) -> EvidenceLog:
    return EvidenceLog.open(open_engine(url), keys=SigningKeys(folder / "keys"), origin=ORIGIN)


@pytest.fixture
def log(tmp_path: Path) -> EvidenceLog:
    return made(tmp_path, f"sqlite:///{tmp_path / 'huika.db'}")


@pytest.fixture(scope="module")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> EvidenceLog:
    """One log for many examples."""
    folder = tmp_path_factory.mktemp("log")
    return made(folder, f"sqlite:///{folder / 'huika.db'}")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    return Authority.create(tmp_path / "tsa", now=NOW)


def stamps(authority: Authority) -> TimeStamps:
    return TimeStamps(
        url="https://tsa.example/stamp",
        roots=(authority.root,),
        transport=httpx.MockTransport(authority),
    )


def told(log: EvidenceLog, subject: str = "t-1", **changed: Any) -> LeafRef:
    leaf = {
        "kind": "quoted",
        "payload": {"payout_fen": 46_400},
        "actor": "engine",
        "source": "api",
        "at": NOW,
    }
    return log.record(subject=subject, **(leaf | changed))


def exported(log: EvidenceLog, subject: str = "t-1", **options: Any) -> bytes:
    return bundle_bytes(bundle(log, subject, now=NOW, **options))


def proven(content: bytes, **trusted: Any) -> Proven:
    return verify_bundle(content, Trusted(**trusted))


# --- writing -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(payload=json_values)
def test_every_payload_comes_back_from_a_bundle(shared_log, payload):
    """Any JSON: written, taken into the tree, exported and verified, it is what it was; numbers are doubles."""
    subject = f"t-{shared_log.checkpoint(now=NOW).checkpoint.size}"
    told(shared_log, subject, payload=payload)
    (leaf,) = proven(exported(shared_log, subject)).leaves
    assert canonical_json(leaf.said) == canonical_json(payload)


def test_a_leaf_is_written_with_the_business_rows_or_not_at_all(log):
    """It shares the caller's transaction."""
    with log.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE postings (amount INTEGER)")
    leaf = {
        "kind": "paid",
        "subject": "t-1",
        "payload": {"fen": 5},
        "actor": "flow",
        "source": "ledger",
        "at": NOW,
    }
    with log.engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("INSERT INTO postings VALUES (5)")
        log.append(connection, **leaf)
        transaction.rollback()
    assert log.leaves_of("t-1") == []
    assert log.checkpoint(now=NOW).checkpoint.size == 0
    with log.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO postings VALUES (5)")
        log.append(connection, **leaf)
    assert [kept.said for kept in log.leaves_of("t-1")] == [{"fen": 5}]
    assert log.checkpoint(now=NOW).checkpoint.size == 1


def test_a_leaf_with_an_id_is_written_once(log):
    """A step that is repeated makes no second leaf; the id never stands for something else."""
    first = told(log, leaf_id="workflow-7/quote")
    assert told(log, leaf_id="workflow-7/quote") == first
    assert len(log.leaves_of("t-1")) == 1
    for change in ({"payload": {"payout_fen": 1}}, {"actor": "x"}, {"at": NOW + timedelta(seconds=1)}):
        with pytest.raises(LeafDiffers):
            told(log, leaf_id="workflow-7/quote", **change)


@pytest.mark.parametrize(
    "payload",
    [
        {"card_number": "1"},
        {"deep": [{"Secret": "1"}]},
        {"卡密": "1"},
        {"pin": Secret("1234")},
        {"at": NOW},
        {"rate": float("nan")},
        {"big": 2**60 + 1},
        "\ud800",
        "x" * 100_001,
    ],
    ids=["number", "deep", "chinese", "secret", "object", "nan", "big", "surrogate", "long"],
)
def test_what_is_no_plain_json_or_looks_like_a_secret_is_refused(log, payload):
    """With a named error that repeats no value."""
    with pytest.raises(PayloadRefused) as refused:
        told(log, payload=payload)
    assert "1234" not in str(refused.value)
    assert log.leaves_of("t-1") == []


@pytest.mark.parametrize(
    "change", [{"actor": ""}, {"kind": "x" * 49}, {"source": "a\nb"}, {"at": NOW.replace(tzinfo=None)}]
)
def test_who_where_and_when_must_be_told(log, change):
    """A leaf without actor, source or a time with its zone is none."""
    with pytest.raises(PayloadRefused):
        told(log, **change)


def test_equal_payloads_have_unlike_leaves(log):
    """The salt hides what was said from whoever guesses it; no leaf gives its payload away."""
    first, second = told(log), told(log, "t-2")
    assert first.leaf_hash != second.leaf_hash
    one, two = log.leaves_of("t-1")[0], log.leaves_of("t-2")[0]
    assert one.leaf.commitment != two.leaf.commitment


def _refused(log: EvidenceLog, statements: list[str]) -> None:
    for statement in statements:
        with (
            pytest.raises(sa.exc.DBAPIError, match=r"append-only|foreign key"),
            log.engine.begin() as connection,
        ):
            connection.exec_driver_sql(statement)


def test_the_tables_only_grow(log, tmp_path):
    """SQLite refuses to change or delete leaves, places, hashes, checkpoints and anchorings, and to change payloads."""
    told(log)
    log.checkpoint(now=NOW)
    log.anchor([FileWitness(tmp_path / "witness")], now=NOW)
    changes = [f"UPDATE {name} SET rowid = rowid + 100" for name in GUARDED]
    deletions = [f"DELETE FROM {name}" for name in GUARDED]
    replacing = [f"INSERT OR REPLACE INTO {name} SELECT * FROM {name}" for name in GUARDED]
    _refused(log, [*changes, *deletions, *replacing, "UPDATE evidence_payloads SET payload = '{}'"])


def test_a_leaf_that_was_taken_out_of_the_queue_is_found(log):
    """It would never come into the tree: the audit names it."""
    told(log, leaf_id="quiet")
    assert log.audit() == []
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM evidence_waiting")
    assert log.audit() == ["leaf quiet: neither in the tree nor waiting for it"]


def test_the_log_works_on_postgres(tmp_path, postgres_url):
    """Written by several at once, it grows without a gap; the server refuses changes; its bundles verify."""
    log = made(tmp_path, postgres_url)
    _written_at_once(log)
    log.anchor([FileWitness(tmp_path / "witness")], now=NOW)
    _refused(log, [f"{change} {name}" for name in GUARDED for change in ("DELETE FROM", "TRUNCATE")])
    _refused(log, ["UPDATE evidence_leaves SET actor = 'x'", "UPDATE evidence_payloads SET payload = '{}'"])
    assert proven(exported(log, "t-3")).leaves[0].said == {"payout_fen": 46_400}
    log.engine.dispose()


def test_several_write_and_checkpoint_at_once(log):
    """No leaf is lost or stands twice, and every checkpoint continues the one before."""
    _written_at_once(log)


def _written_at_once(log: EvidenceLog) -> None:
    failed: list[Exception] = []
    log.keys.signer()

    def work(number: int) -> None:
        try:
            for turn in range(5):
                told(log, f"t-{number}", leaf_id=f"{number}-{turn}")
                log.checkpoint(now=NOW)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert log.checkpoint(now=NOW).checkpoint.size == 20
    assert log.waiting() == 0
    assert log.audit() == []


# --- proofs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def anchored(log: EvidenceLog, authority: Authority, tmp_path: Path) -> EvidenceLog:
    """Other trades before, between and after; two checkpoints outside, and one leaf that no anchor covers."""
    anchors = [stamps(authority), FileWitness(tmp_path / "witness")]
    for number in range(5):
        told(log, f"other-{number}")
    told(log, payload={"payout_fen": 46_400, "卡种": "京东E卡"}["payout_fen"], kind="quoted")
    log.checkpoint(now=NOW)
    assert set(log.anchor(anchors, now=NOW).values()) == {""}
    told(log, kind="accepted", payload={"note": "接受"})
    told(log, "other-9")
    log.checkpoint(now=NOW)
    assert set(log.anchor(anchors, now=NOW).values()) == {""}
    told(log, kind="paid", payload={"fen": 46_400})
    return log


def test_a_bundle_proves_what_stands_outside(anchored, authority, tmp_path):
    """Each leaf with the first checkpoint that covers it; with the reader's own root, key and witness nothing is taken
    from the file."""
    content = exported(anchored, roots_pem=authority.root_pem)
    seen = proven(content)
    assert [leaf.leaf.kind for leaf in seen.leaves] == ["quoted", "accepted", "paid"]
    assert [leaf.index for leaf in seen.leaves] == [5, 6, 8]
    assert [sorted({one.covers for one in leaf.outside}) for leaf in seen.leaves] == [[6, 8], [8], []]
    assert not seen.pinned
    assert not any(one.checked for one in seen.outside)
    mine = proven(
        content,
        keys=tuple(parse_verifier_key(key) for key in anchored.verifier_keys()),
        roots=(authority.root,),
        witness=frozenset((tmp_path / "witness").read_text().splitlines()),
    )
    assert mine.pinned
    assert all(one.checked for one in mine.outside)
    assert all(abs(one.at - NOW) < timedelta(hours=2) for one in mine.outside)


def test_a_reader_with_other_keys_roots_or_witness_is_not_convinced(anchored, authority, tmp_path):
    """The reader's own means decide."""
    content = exported(anchored, roots_pem=authority.root_pem)
    foreign = made(tmp_path / "other", f"sqlite:///{tmp_path / 'other.db'}").verifier_keys()
    another = Authority.create(tmp_path / "tsa2", now=NOW)
    for trusted in (
        {"keys": tuple(parse_verifier_key(key) for key in foreign)},
        {"roots": (another.root,)},
        {"witness": frozenset(["2026-01-01T00:00:00+00:00 1 a b"])},
    ):
        with pytest.raises(BundleRefused):
            proven(content, **trusted)


@pytest.fixture(scope="module")
def one_bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bundle with both kinds of anchors and a payload that was forgotten."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("bundle")
    log = made(folder, f"sqlite:///{folder / 'huika.db'}")
    authority = Authority.create(folder / "tsa", now=NOW)
    told(log, at=NOW - timedelta(days=400))
    for _ in range(3):
        told(log)
        told(log, "other")
        log.checkpoint(now=NOW)
        assert set(log.anchor([stamps(authority), FileWitness(folder / "witness")], now=NOW).values()) == {""}
    assert log.forget(before=NOW - timedelta(days=300)) == 1
    return exported(log, roots_pem=authority.root_pem)


@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, 2**31), flip=st.integers(1, 255))
def test_no_byte_of_a_bundle_can_be_changed(one_bundle, at, flip):
    """Wherever it stands: in what was said, a proof, a key, a time stamp, a certificate, a space."""
    at %= len(one_bundle)
    changed = one_bundle[:at] + bytes([one_bundle[at] ^ flip]) + one_bundle[at + 1 :]
    with pytest.raises(BundleRefused):
        proven(changed)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 2**31), more=st.binary(min_size=1, max_size=5))
def test_no_byte_of_a_bundle_can_be_left_out_or_added(one_bundle, cut, more):
    """Neither at its end nor inside."""
    cut %= len(one_bundle)
    for changed in (one_bundle[:cut], one_bundle[:cut] + more + one_bundle[cut:], one_bundle + more):
        with pytest.raises(BundleRefused):
            proven(changed)


def _resigned(log: EvidenceLog, content: bytes, change: Any) -> bytes:
    """What a platform can do that holds its own key: change a bundle and sign it anew."""
    document = json.loads(content)
    change(document)
    body = {name: item for name, item in document.items() if name != "signature"}
    return bundle_bytes(body | {"signature": log.keys.signer().sign(body)})


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["leaves"][0].update(said=1),
        lambda d: d["leaves"][0]["leaf"].update(actor="somebody else"),
        lambda d: d["leaves"][0]["leaf"].update(at="2020-01-01T00:00:00.000000+00:00"),
        lambda d: d["leaves"][0].update(index=4),
        lambda d: d["leaves"][0].update(index=True),
        lambda d: d["leaves"][0].update(salt=None),
        lambda d: d["leaves"][0]["inclusion"].pop(),
        lambda d: d["leaves"].clear(),
        lambda d: d.update(subject="t-2"),
        lambda d: d["anchored"][0]["consistency"].pop(),
        lambda d: d["anchored"][0].update(checkpoint=d["checkpoint"]),
        lambda d: d["anchored"][0]["anchors"][0].update(at="2099-01-01T00:00:00+00:00"),
        lambda d: d["anchored"][0]["anchors"][1].update(at="2099-01-01T00:00:00+00:00"),
        lambda d: d["anchored"][0]["anchors"][0].update(proof=d["anchored"][1]["anchors"][0]["proof"]),
        lambda d: d.update(time_stamp_roots=""),
        lambda d: d.update(keys=[]),
        lambda d: d.update(more=1),
        lambda d: d["leaves"][0].pop("leaf"),
        lambda d: d.update(anchored=None),
    ],
)
def test_the_platform_itself_cannot_change_what_is_anchored(anchored, authority, change):
    """A bundle that was changed and signed anew with the platform's own key fails all the same."""
    content = exported(anchored, roots_pem=authority.root_pem)
    assert proven(_resigned(anchored, content, lambda document: None))
    with pytest.raises(BundleRefused):
        proven(_resigned(anchored, content, change))


def test_a_history_that_was_written_anew_does_not_continue_what_stands_outside(anchored, authority, tmp_path):
    """The owner drops the guards, changes a leaf and builds the tree anew: the time stamp of before contradicts, the
    witness refuses, and the audit tells."""
    before = json.loads(exported(anchored, roots_pem=authority.root_pem))
    with anchored.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER evidence_leaves_no_update")
        connection.exec_driver_sql("UPDATE evidence_leaves SET actor = 'nobody' WHERE subject = 't-1'")
    assert any("another root" in problem for problem in anchored.audit())
    with pytest.raises(BundleRefused, match="inclusion"):
        proven(exported(anchored, roots_pem=authority.root_pem))
    (tmp_path / "new").mkdir()
    forged = replace(made(tmp_path, f"sqlite:///{tmp_path / 'new' / 'huika.db'}"), keys=anchored.keys)
    for number in range(12):
        told(forged, "t-1", payload=number)
    forged.checkpoint(now=NOW)
    assert "continue" in forged.anchor([FileWitness(tmp_path / "witness")], now=NOW)["file:witness"]
    document = json.loads(exported(forged, roots_pem=authority.root_pem))
    document["anchored"] = before["anchored"]
    body = {name: item for name, item in document.items() if name != "signature"}
    with pytest.raises(BundleRefused):
        proven(bundle_bytes(body | {"signature": forged.keys.signer().sign(body)}))


def test_a_leaf_cannot_claim_a_time_after_its_stamp(log, authority):
    """A clock that contradicts the authority is told as false; a few seconds' difference is not."""
    told(log, at=NOW + timedelta(minutes=2))
    told(log, "t-2", at=NOW + timedelta(days=2))
    log.checkpoint(now=NOW)
    log.anchor([stamps(authority)], now=NOW)
    assert proven(exported(log, roots_pem=authority.root_pem))
    with pytest.raises(BundleRefused, match="time"):
        proven(exported(log, "t-2", roots_pem=authority.root_pem))


def test_what_is_forgotten_stays_proven_and_tells_nothing(log):
    """After its time the payload and its salt are gone from the tables; leaf and proofs stay."""
    told(log, payload={"seller": "s-1"}, at=NOW - timedelta(days=400))
    told(log)
    assert log.forget(before=NOW - timedelta(days=300)) == 1
    first, second = proven(exported(log)).leaves
    assert (first.told, first.said, second.told) == (False, None, True)
    assert b"s-1" not in exported(log)
    assert log.audit() == []
    said_again = _resigned(log, exported(log), lambda d: d["leaves"][0].update(said={"seller": "s-2"}))
    with pytest.raises(BundleRefused):
        proven(said_again)


def test_a_changed_payload_is_found(log):
    """Also by who may drop the guard."""
    told(log)
    log.checkpoint(now=NOW)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER evidence_payloads_no_update")
        connection.exec_driver_sql("UPDATE evidence_payloads SET payload = '{\"payout_fen\":1}'")
    assert "was changed" in log.audit()[0]
    with pytest.raises(BundleRefused):
        proven(exported(log))


def test_older_checkpoints_verify_after_the_key_was_changed(anchored, authority):
    """The public half of a former key stays among the log's keys."""
    anchored.keys.rotate()
    told(anchored, kind="disputed")
    seen = proven(exported(anchored, roots_pem=authority.root_pem))
    assert len(seen.leaves) == 4
    assert seen.outside


def test_a_log_keeps_its_name(log):
    """Under another one its checkpoints would not continue each other: nothing is taken in, nothing is lost."""
    told(log)
    log.checkpoint(now=NOW)
    told(log)
    with pytest.raises(OriginChanged, match=ORIGIN):
        replace(log, origin="example.org/evidence").checkpoint(now=NOW)
    assert log.waiting() == 1
    assert log.checkpoint(now=NOW).checkpoint.size == 2


def test_a_trade_without_leaves_has_no_bundle(log):
    """A named error."""
    with pytest.raises(NoEvidence):
        bundle(log, "t-1", now=NOW)


# --- anchors -----------------------------------------------------------------------------------------------------


def test_an_anchor_that_is_away_is_told_and_tried_again(log, authority, tmp_path):
    """The other one is served meanwhile; nothing is left twice."""
    anchors = [stamps(authority), FileWitness(tmp_path / "witness")]
    told(log)
    log.checkpoint(now=NOW)
    authority.away = True
    assert log.anchor(anchors, now=NOW) == {"tsa.example": "tsa.example answers with 503", "file:witness": ""}
    authority.away = False
    assert log.anchor(anchors, now=NOW) == {"tsa.example": "", "file:witness": ""}
    assert len((tmp_path / "witness").read_text().splitlines()) == 1
    with log.engine.connect() as connection:
        assert len(connection.execute(sa.select(tables.anchorings)).all()) == 2


def test_a_stamp_of_another_authority_is_not_kept(log, authority, tmp_path):
    """A reply that does not lead to the configured root counts as a failure."""
    told(log)
    log.checkpoint(now=NOW)
    another = Authority.create(tmp_path / "tsa2", now=NOW)
    failed = log.anchor([replace(stamps(authority), roots=(another.root,))], now=NOW)
    assert "does not hold" in failed["tsa.example"]
    broken = TimeStamps(
        url="https://user:password@tsa.example/",
        roots=(authority.root,),
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=b"no stamp")),
    )
    assert log.anchor([broken], now=NOW) == {"tsa.example": "tsa.example: the time stamp cannot be read"}


def test_a_reply_that_is_replayed_is_no_stamp(authority):
    """Each question has a number of its own, and the answer must repeat it."""
    replies: list[httpx.Response] = []

    def replay(request: httpx.Request) -> httpx.Response:
        replies.append(replies[0] if replies else authority(request))
        return httpx.Response(200, content=replies[-1].content)

    anchor = replace(stamps(authority), transport=httpx.MockTransport(replay))
    asked = {"size": 1, "root": bytes(32), "continuation": lambda older: [], "now": NOW}
    assert anchor.leave("a note", **asked).proof
    with pytest.raises(AnchorFailed, match="Nonce"):
        anchor.leave("a note", **asked)


def test_a_witness_refuses_a_smaller_or_another_tree(log, tmp_path):
    """And a file that is no witness file; it is not changed by any of them."""
    path = tmp_path / "witness"
    for number in range(3):
        told(log, f"t-{number}")
    log.checkpoint(now=NOW)
    assert log.anchor([FileWitness(path)], now=NOW) == {"file:witness": ""}
    before = path.read_bytes()
    other = made(tmp_path / "other", f"sqlite:///{tmp_path / 'other.db'}")
    for number in range(5):
        told(other, f"t-{number}")
        other.checkpoint(now=NOW)
        assert "continue" in other.anchor([FileWitness(path)], now=NOW)["file:witness"]
    assert path.read_bytes() == before
    path.write_text("a shopping list\n")
    told(log)
    log.checkpoint(now=NOW)
    assert log.anchor([FileWitness(path)], now=NOW)["file:witness"]
    assert "directory" in log.anchor([FileWitness(tmp_path)], now=NOW)[f"file:{tmp_path.name}"]


def test_any_keeper_of_bytes_may_be_an_anchor(log):
    """A chain or a notary is a class with a name, a kind and one method."""

    class Chain:
        kind, name = "chain", "chain.example"

        def leave(self, note: str, **told: Any) -> Anchoring:
            return Anchoring(at=told["now"], proof=f"block 7 {told['root'].hex()}")

    told(log)
    log.checkpoint(now=NOW)
    assert log.anchor([Chain()], now=NOW) == {"chain.example": ""}
    (one,) = proven(exported(log)).outside
    assert (one.kind, one.checked) == ("chain", False)  # what it says is not for this program to judge
