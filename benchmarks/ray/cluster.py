"""A Ray cluster on the loopback interface, and drivers on it, each a process of its own that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

LOOPBACK = "127.0.0.1"
#: Bytes of the object store of a node: trials put nothing into it.
_STORE = 80_000_000
_START_SECONDS = 150.0
_ATTEMPTS = 3  # Ray gives up after 30 seconds, which a busy machine may need


#: Variables by which the processes of a cluster, and those of a node, are found: Ray's daemons outlive their parents.
_TOKEN = "RAY_AUTH_TOKEN"
_NODE = "SM_TUNING_BENCHMARK_NODE"


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until the condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _having(variable: str, value: str) -> list[psutil.Process]:
    """Return the processes whose environment has a variable with this value."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(variable) == value:
                found.append(process)
    return found


def _kill(variable: str, value: str) -> None:
    """Kill the processes whose environment has a variable with this value, and those that they start meanwhile."""
    while found := _having(variable, value):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()


def _has_settled(node: subprocess.Popen[bytes], log: Path) -> bool:
    """Return whether a node has joined, or given up."""
    return node.poll() is not None or "--block" in log.read_text()


class Cluster:
    """One or several nodes. ``stop`` kills exactly what ``start`` has started.

    Args:
        folder: for logs and temporary files; short, since Ray puts sockets below it.
        cpus: processors of each node, as Ray counts them.
        gpus: GPUs that the first node claims to have.
        environ: of the nodes and the drivers, beside that of this process.
        hidden: a folder that the other nodes do not see.
        path: where the other nodes look for Python packages first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cpus: int = 2,
        gpus: int = 0,
        environ: Mapping[str, str] = MappingProxyType({}),
        hidden: Path | None = None,
        path: Path | None = None,
    ) -> None:
        self.folder = folder
        self._cpus, self._gpus = cpus, gpus
        self._hidden, self._path = hidden, path
        self.address = ""
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            **environ,
            "RAY_AUTH_MODE": "token",
            _TOKEN: secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # by default 15, which other programs keep waiting
            # Otherwise drivers and workers would listen at the machine's own address, in place of the loopback one.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH")))),
        }

    def start(self) -> None:
        """Start a node, the first one as the head, and return when it has joined. One that fails leaves no process."""
        for _ in range(_ATTEMPTS):
            mark = secrets.token_hex(8)
            node, log = self._start_node(mark)
            try:
                wait_for(partial(_has_settled, node, log), _START_SECONDS, f"a node of Ray starts: {log}")
                if node.poll() is None:
                    self.nodes.append(node)
                    return
            finally:
                if node not in self.nodes:
                    _kill(_NODE, mark)
                    node.wait()
        raise AssertionError(f"no node of Ray starts: {log.read_text()[-3000:]}")

    def _start_node(self, mark: str) -> tuple[subprocess.Popen[bytes], Path]:
        common = [f"--num-cpus={self._cpus}", f"--object-store-memory={_STORE}", f"--node-ip-address={LOOPBACK}"]
        # Nothing reads its log, and nothing scales it: with two processes less, a node is there sooner.
        common += ["--include-log-monitor=false", "--disable-usage-stats", "--block"]
        common += [f"--dashboard-agent-listen-port={_free_port()}"]
        place, wrapper, environ = [f"--address={self.address}"], [], {**self.environ, _NODE: mark}
        if self.nodes and self._hidden is not None:
            hide = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
            wrapper = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]
            wrapper += ["sh", "-c", hide, str(self._hidden)]
        if self.nodes and self._path is not None:
            environ = {**environ, "PYTHONPATH": f"{self._path}{os.pathsep}{environ['PYTHONPATH']}"}
        if not self.nodes:
            self.address = f"{LOOPBACK}:{_free_port()}"
            place = ["--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false", "--no-monitor"]
            place += [f"--num-gpus={self._gpus}", f"--ray-client-server-port={_free_port()}"]
            place += [f"--temp-dir={self.folder}"]
        log = self.folder / f"node-{secrets.token_hex(4)}.log"
        with log.open("wb") as output:
            node = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "benchmarks.ray.node", "start", *place, *common],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return node, log

    def kill_node(self, number: int) -> None:
        """Kill all processes of a node with SIGKILL, as if its machine had died."""
        node = self.nodes[number]
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(node.pid)
            for process in [*parent.children(recursive=True), parent]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        node.wait()

    def workers(self) -> list[int]:
        """Return the processes that have trials."""
        runs = self.temporary / f"sm-tuning-ray-{os.getuid()}" / "runs"
        pids = {int(folder.name.partition("-")[0]) for folder in runs.iterdir()} if runs.is_dir() else set()
        return sorted(pid for pid in pids if psutil.pid_exists(pid))

    def scripts(self) -> list[int]:
        """Return the training processes, which are in work folders below the temporary folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd().startswith(str(self.temporary)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def processes(self) -> list[psutil.Process]:
        """Return all processes that have the token of this cluster."""
        return _having(_TOKEN, self.environ[_TOKEN])

    def listening(self) -> set[str]:
        """Return the addresses at which its processes accept connections."""
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                connections = process.net_connections("inet")
                found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        return found

    def stop(self) -> None:
        """Kill all nodes, and what a node that died has left: all that has the token of this cluster."""
        for number in reversed(range(len(self.nodes))):
            self.kill_node(number)
        _kill(_TOKEN, self.environ[_TOKEN])

    @contextlib.contextmanager
    def driver(self) -> Iterator[Driver]:
        """A driver; it is killed at the end of the block if it still runs."""
        driver = Driver(self)
        try:
            yield driver
        finally:
            driver.kill()


class Driver:
    """A process of ``benchmarks.ray.driver``, which goes through steps one after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._begun = 0
        self._log = cluster.folder / f"driver-{secrets.token_hex(4)}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.ray.driver", cluster.address],
                env=cluster.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def begin(self, step: dict[str, Any]) -> None:
        """Begin a step, or append it to those that are not done yet."""
        assert self._process.stdin is not None
        self._begun += 1
        self._process.stdin.write(json.dumps(step).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, step: dict[str, Any]) -> dict[str, Any]:
        """Return what a step gives."""
        self.begin(step)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return what the newest step gives. Who has begun an older one may have given up on it."""
        assert self._process.stdout is not None
        found: dict[str, Any] = {}
        while found.get("number") != self._begun:
            line = self._process.stdout.readline()
            assert line, self.log[-5000:]
            found = json.loads(line)
        return found

    @property
    def log(self) -> str:
        """What it has printed beside its answers."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
