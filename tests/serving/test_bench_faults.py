"""The figures of `huika bench faults`, and its servers."""

from __future__ import annotations

import shutil

import pytest

from serving.commands.bench_disk import SmallDisk, small_disk
from serving.commands.bench_drills import DRILLS, damaged
from serving.commands.bench_faults import Row
from serving.commands.bench_load import Answered, healthy_at, longest_gap
from serving.commands.bench_losses import Losses
from serving.commands.bench_servers import family, redis_process


def quote(ended: float, status: int = 200, code: str = "", degraded: tuple[str, ...] = ()) -> Answered:
    return Answered("quote", ended - 0.1, ended, status, code, degraded)


def test_the_longest_gap_counts_only_answers_that_help():
    """From the start and to the end of the period too; a refusal is no help."""
    answered = [quote(1.0), quote(3.0, 503, "not_recorded"), quote(6.0)]
    assert longest_gap(answered, 0.5, 7.0) == 5.0
    assert longest_gap([], 0.5, 7.0) == 6.5


def test_healthy_is_a_run_of_whole_quotes():
    """One good quote between bad ones is not health; degraded ones are not whole."""
    answered = [quote(1.0), quote(2.0, 503), quote(3.0, degraded=("x",)), *map(quote, (4.0, 5.0, 6.0))]
    assert healthy_at(answered, 0.0, streak=3) == 4.0
    assert healthy_at(answered, 4.5, streak=3) is None


def test_only_what_a_drill_cannot_spare_is_allowed():
    """A refusal to record is right without a database and a fault without Redis; an error of ours always is one."""
    answers = [
        quote(1.0),
        quote(2.0, 503, "not_recorded"),
        quote(3.0, 500, "internal_error"),
        quote(4.0, 422),
    ]
    drills = {drill.name: drill for drill in DRILLS}
    faults = {
        name: sum(Row(drills[name], answers, 0.0, 0.0, Losses(0, 0, 0, 0, 0)).faults.values())
        for name in ("database killed", "Redis hangs")
    }
    assert faults == {"database killed": 1, "Redis hangs": 2}


def test_a_drill_that_nobody_felt_proves_nothing():
    """A full disk must have been noticed, must cost no worker and no fraud score, and must lose nothing."""
    drill = next(drill for drill in DRILLS if drill.name == "disk full")
    score = Answered("score", 1.0, 1.1, 503, "not_recorded")
    unfelt = Row(drill, [quote(1.0)], 0.0, 0.0, Losses(0, 0, 0, 0, 0))
    right = Row(drill, [quote(1.0, 503, "not_recorded")], 0.0, 0.0, Losses(0, 0, 0, 0, 0))
    wrong = Row(drill, [*right.answers, score], 0.0, None, Losses(1, 0, 0, 0, 0), ended=True)
    assert (len(unfelt.complaints), right.complaints, len(wrong.complaints)) == (1, [], 4)


def test_a_full_disk_takes_nothing_until_it_is_freed(tmp_path):
    """Not one block more, and what stood there still stands; freed, writing goes on."""
    with small_disk(tmp_path / "disk", size_bytes=16 << 20) as disk:
        if disk is None:
            pytest.skip("no disk can be mounted here")
        assert isinstance(disk, SmallDisk)
        kept = disk.folder / "kept"
        kept.write_bytes(bytes(10_000))
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "more").write_bytes(bytes(10_000))
        disk.free()
        assert kept.read_bytes() == bytes(10_000)
        (disk.folder / "more").write_bytes(bytes(10_000))


def test_a_damaged_file_has_its_length():
    """Some bytes in the middle differ, and nothing else."""
    content = bytes(range(100))
    assert sum(a != b for a, b in zip(content, damaged(content), strict=True)) == 8


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_server_comes_back_on_its_port(tmp_path):
    """Killed and started again, paused and resumed, it answers at the same address; stopped, nothing is left."""
    import redis

    server = redis_process(tmp_path)
    server.start()
    client = redis.Redis(port=server.port, socket_timeout=10)
    client.set("a", 1)
    server.kill()
    server.start()
    assert client.get("a") is None
    server.pause()
    server.resume()
    assert client.ping()
    (process_id,) = server.process_ids()
    server.stop()
    assert family(process_id) == []
