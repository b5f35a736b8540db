"""The search for marker secrets finds what was planted, however it was written, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.canaries import Canaries, forms_of, new_marker

MARKER = "卡密-CANARY 7f3a/9+Z"
PLAIN = MARKER.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"x" + PLAIN + b"y",
        PLAIN.hex().encode(),
        PLAIN.hex().upper().encode(),
        quote(MARKER).encode(),
        quote_plus(MARKER).encode(),
        json.dumps({"secret": MARKER}).encode(),
        gzip.compress(json.dumps({"secret": MARKER}, ensure_ascii=False).encode()),
        b"head" + zlib.compress(PLAIN) + b"tail",
        gzip.compress(b"x" + gzip.compress(PLAIN)),
        MARKER.encode("utf-16"),
    ],
    ids=["plain", "hex", "HEX", "url", "url+", "json", "gzip", "zlib", "twice", "utf-16"],
)
def test_a_planted_marker_is_found(content):
    """In each of these forms."""
    assert Canaries((MARKER,)).in_bytes(content, where="here")
    assert not Canaries((new_marker(),)).in_bytes(content, where="here")


@settings(max_examples=300, deadline=None)
@given(
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
    marker=st.text(min_size=12, max_size=40).filter(lambda text: "\ud800" not in text),
    url=st.booleans(),
)
def test_base64_is_found_at_every_alignment(before, after, marker, url):
    """Whatever stands before and after it in the encoded bytes, in both alphabets."""
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    content = encode(before + marker.encode() + after)
    assert Canaries((marker,)).in_bytes(content, where="here")


def test_forms_are_long_enough_to_be_no_chance():
    """A marker of twelve characters has no form below ten bytes; a shorter one is refused."""
    assert min(map(len, forms_of("ABCDEFGHIJKL").values())) >= 10
    with pytest.raises(ValueError, match="at least"):
        forms_of("short")


def test_sqlite_its_log_and_file_names_are_searched(tmp_path: Path):
    """What stands only in the write-ahead log is found, and so is a marker in a file's name."""
    marker = new_marker()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'some.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("CREATE TABLE things (name TEXT, body BLOB)")
        connection.commit()
        connection.exec_driver_sql("INSERT INTO things VALUES (?, ?)", ("a", marker.encode()))
        connection.commit()
        hits = Canaries((marker,)).in_folder(tmp_path)
        assert {Path(hit.where).name for hit in hits} == {"some.db-wal"}
    assert next(hit.where for hit in Canaries((marker,)).in_database(engine)) == "things.body"
    (tmp_path / marker).touch()
    assert any("(name)" in hit.where for hit in Canaries((marker,)).in_folder(tmp_path))


def test_logs_and_bodies_are_searched_by_name():
    """The hit says where it was."""
    marker = new_marker()
    hits = Canaries((marker,)).in_texts({"log": f"sent {marker}", "body": b"{}"})
    assert {hit.where for hit in hits} == {"log"}


def test_files_that_may_hold_markers_are_left_out(tmp_path: Path):
    """Such as the form in which the test itself submitted them."""
    marker = new_marker()
    (tmp_path / "input.json").write_text(marker)
    assert not Canaries((marker,)).in_folder(tmp_path, without=[tmp_path / "input.json"])
