"""Database and Redis servers of a benchmark's or a test's own: loopback, a temporary folder, nothing kept.

They can be killed, paused and started again on the same port and data.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from serving.refusals import Refusal

START_SECONDS = 20
POSTGRES_ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; this account, which its package makes, runs it then."""


@dataclass
class Process:
    """A server's process with its children, in a group of its own. account: who runs it; empty: whoever asks."""

    command: list[str]
    port: int
    log: Path
    account: str = ""
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start and wait until the port is open. Raises Refusal."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.account or None,
                group=self.account or None,
                extra_groups=[] if self.account else None,
            )
        await_port(self.port, self._running)

    def kill(self) -> None:
        """End all of it at once, as a power cut does."""
        if self._running is not None:
            self._signal(signal.SIGKILL)
            self._running.wait()
            self._running = None

    def stop_at_once(self) -> None:
        """PostgreSQL's immediate shutdown: sessions are cut, and the next start recovers from the log."""
        if self._running is not None:
            self._running.send_signal(signal.SIGQUIT)
            self._running.wait(START_SECONDS)
            self._running = None

    def pause(self) -> None:
        """Stand still: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End in order; nothing where it does not run."""
        if self._running is None:
            return
        self.resume()
        self._running.send_signal(signal.SIGINT)  # PostgreSQL: cut sessions and stop
        try:
            self._running.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._running = None

    def process_ids(self) -> list[int]:
        """It and its children, which PostgreSQL puts into groups of their own."""
        return [] if self._running is None else family(self._running.pid)

    def limit_files(self, most_bytes: int) -> None:
        """Let it write no file beyond a size, as when its disk is full. Whoever runs it may do that to it."""
        first, *children = self.process_ids()
        _run(["prlimit", "--pid", str(first), f"--fsize={most_bytes}:"], self.account)
        for process_id in children:
            with suppress(Refusal):  # it may have ended by then
                _run(["prlimit", "--pid", str(process_id), f"--fsize={most_bytes}:"], self.account)

    def _signal(self, number: signal.Signals) -> None:
        for process_id in self.process_ids():
            with suppress(ProcessLookupError):
                os.kill(process_id, number)


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server with a cluster and a password of its own."""

    process: Process
    folder: Path
    password: str = field(repr=False)

    @classmethod
    def create(cls, folder: Path, *, durable: bool) -> PostgresServer:
        """A new cluster in a new folder, not started. durable: false does without fsync, for tests. Raises Refusal."""
        account = POSTGRES_ACCOUNT if os.geteuid() == 0 else ""
        folder.mkdir(mode=0o700)
        password, port = secrets.token_hex(12), free_port()
        secret = folder / "password"
        secret.write_text(password)
        if account:
            for path in (folder, secret):
                shutil.chown(path, account, account)
        command = [postgres_program("initdb"), "--pgdata", str(folder / "data"), "--username", "huika"]
        command += ["--auth", "scram-sha-256", "--pwfile", str(secret), "--encoding", "UTF8", "--locale", "C"]
        _run(command if durable else [*command, "--no-sync"], account)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "port": str(port)}
        options |= {} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [postgres_program("postgres"), "-D", str(folder / "data")]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        process = Process(command, port, folder.parent / f"{folder.name}.log", account)
        return cls(process=process, folder=folder, password=password)

    def url(self, database: str) -> str:
        """The address of a database, as the settings take it."""
        return f"postgresql://huika:{self.password}@127.0.0.1:{self.process.port}/{database}"

    def run(self, statement: str) -> None:
        """Run a statement outside any transaction, in the database that every cluster has. A server that has just
        opened its port may still be starting up."""
        import psycopg

        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                    connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
                return
            except psycopg.OperationalError as error:
                if "starting up" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.05)


def redis_process(folder: Path) -> Process:
    """A Redis server that keeps nothing on disk: one that is killed comes back empty. Raises Refusal."""
    program = shutil.which("redis-server")
    if program is None:
        raise Refusal("redis-server is not installed")
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    return Process([*command, "--save", "", "--appendonly", "no"], port, folder / "redis.log")


def postgres_program(name: str) -> str:
    """Path of one of PostgreSQL's programs: on the path, or where Debian keeps them. Raises Refusal."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    found = shutil.which(name) or max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if found is None:
        raise Refusal(f"PostgreSQL is not installed: there is no {name}")
    return str(found)


def free_port() -> int:
    """A port that nothing listens to at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens. Raises Refusal."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Refusal(f"{Path(process.args[0]).name} did not start on port {port}")  # pyright: ignore


def family(process_id: int) -> list[int]:
    """A process and its children that live, itself first."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process_id).children(recursive=True)
        return [process_id, *(child.pid for child in children)]
    return []


def _run(command: list[str], account: str) -> None:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        user=account or None,
        group=account or None,
        extra_groups=[] if account else None,
    )
    if done.returncode:
        raise Refusal(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
