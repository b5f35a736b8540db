"""Asks an HTTP server many questions over a few lasting connections, and times every answer.

It runs in a process of its own (:func:`serving.commands.bench_processes.child`) and does little for each request:
prepared bytes are sent, and of an answer only the status and the length are read. The next question of a connection
goes out when its answer is there, so ``connections`` requests are under way at any moment.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

HOST = "127.0.0.1"
MOST_WAITING_SECONDS = 60.0
"""Without any answer for so long the server counts as stuck."""
MOST_LOST = 100
"""Connections that may be lost before the load gives up."""
RECEIVE = 1 << 18
FRESH = "--a-fresh-word--"
"""Wherever a body has this word, each request has one of its own, that no other run has either."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


class ServerStuck(RuntimeError):
    """The server does not answer, hangs up all the time, or answers in a way that this client does not read."""


def ask(
    *,
    port: int,
    path: str,
    bodies: str,
    headers: Mapping[str, str],
    connections: int,
    requests: int,
    seconds: float,
    keep: str = "",
) -> dict[str, Any]:
    """POST the bodies (a file, one a line) in turn until ``requests`` were sent or ``seconds`` have passed; figures of
    :class:`Heard`. keep: a file for the answers, each a line ``place<TAB>status<TAB>body``.

    Raises ServerStuck.
    """
    lines = Path(bodies).read_bytes().splitlines()
    questions = islice(freshened([request_bytes(path, headers, line) for line in lines]), requests)
    with ExitStack() as stack:
        kept = stack.enter_context(Path(keep).open("wb")) if keep else None
        heard = Heard(kept=kept)
        _Asking(port=port, questions=enumerate(questions), heard=heard).run(connections, seconds)
    return heard.figures()


def freshened(questions: Sequence[bytes]) -> Iterator[bytes]:
    """The questions in turn without end, with words of their own for FRESH."""
    word, run = FRESH.encode(), uuid4().hex[:7]
    for place, question in enumerate(cycle(questions)):
        yield question.replace(word, b"%s-%08x" % (run.encode(), place))


def request_bytes(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request as it goes over the wire."""
    told = {"Host": HOST, "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass
class Heard:
    """What came back: latencies in seconds, statuses (0: the connection was lost), and how long it all took."""

    kept: BinaryIO | None = None
    latencies: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, place: int, status: int, latency: float, body: bytes) -> None:
        self.latencies.append(latency)
        self.statuses[status] += 1
        if self.kept is not None:
            self.kept.write(b"%d\t%d\t%s\n" % (place, status, body))

    def figures(self) -> dict[str, Any]:
        """As JSON: requests, seconds, per second, statuses, milliseconds, and the client's own processor time."""
        ordered = sorted(self.latencies)
        asked = len(ordered)
        return {
            "requests": asked,
            "seconds": self.seconds,
            "per_second": asked / self.seconds if self.seconds else 0.0,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "ms": {name: quantile(ordered, share) * 1e3 for name, share in QUANTILES.items()},
            "histogram_ms": histogram(ordered),
            "client_cpu_ms": self.cpu_seconds / asked * 1e3 if asked else 0.0,
        }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of the ordered ones do not exceed; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def histogram(latencies: Sequence[float]) -> dict[str, int]:
    """How many of the latencies lie below 1, 2, 4 … milliseconds, each counted in the lowest it lies below."""
    counts = Counter(int(latency * 1e3).bit_length() for latency in latencies)
    return {str(1 << power): counts[power] for power in sorted(counts)}


@dataclass
class _Connection:
    socket: socket.socket
    place: int = 0
    begun: float = 0.0
    answer: bytearray = field(default_factory=bytearray)

    def send(self, place: int, question: bytes) -> None:
        self.place, self.begun = place, time.perf_counter()
        self.socket.sendall(question)


@dataclass
class _Asking:
    """One run. questions: numbered, as long as there are any."""

    port: int
    questions: Iterator[tuple[int, bytes]]
    heard: Heard
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self, connections: int, seconds: float) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        try:
            for place, question in islice(self.questions, connections):
                self._connect().send(place, question)
            while self.selector.get_map():
                self._turn(began + seconds)
        finally:
            self.selector.close()
        self.heard.seconds = time.perf_counter() - began
        self.heard.cpu_seconds = time.process_time() - cpu

    def _turn(self, until: float) -> None:
        """Take what has come, and ask on over every connection that is answered."""
        ready = self.selector.select(MOST_WAITING_SECONDS)
        if not ready:
            raise ServerStuck(f"no answer within {MOST_WAITING_SECONDS:.0f} s")
        for key, _ in ready:
            connection: _Connection = key.data
            status = self._receive(connection)
            if status is None:
                continue
            following = next(self.questions, None) if time.perf_counter() < until else None
            if following is None or status == 0:
                self.selector.unregister(connection.socket)
                connection.socket.close()
            if following is not None:
                (self._connect() if status == 0 else connection).send(*following)

    def _connect(self) -> _Connection:
        if self.heard.statuses[0] > MOST_LOST:
            raise ServerStuck(f"the server hung up {self.heard.statuses[0]} times")
        opened = socket.create_connection((HOST, self.port), timeout=MOST_WAITING_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(opened)
        self.selector.register(opened, selectors.EVENT_READ, connection)
        return connection

    def _receive(self, connection: _Connection) -> int | None:
        """The status of the answer once it is whole; 0 where the connection was lost."""
        try:
            part = connection.socket.recv(RECEIVE)
        except ConnectionError:
            part = b""
        answer = connection.answer
        answer += part
        found = body_of(answer) if part else (0, b"")
        if found is None:
            return None
        status, body = found
        self.heard.add(connection.place, status, time.perf_counter() - connection.begun, body)
        answer.clear()
        return status


def body_of(answer: bytearray) -> tuple[int, bytes] | None:
    """Status and body of an answer; None while it is not whole. Raises ServerStuck where no length is told."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return None
    lines = bytes(answer[:head]).lower().split(b"\r\n")
    length = next((line[15:] for line in lines if line.startswith(b"content-length:")), None)
    if length is None:
        raise ServerStuck("an answer does not tell its length")
    end = head + 4 + int(length)
    return None if len(answer) < end else (int(answer[9:12]), bytes(answer[head + 4 : end]))


def write_lines(path: Path, bodies: Sequence[Any]) -> str:
    """The bodies as a file for :func:`ask`."""
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")
    return str(path)
