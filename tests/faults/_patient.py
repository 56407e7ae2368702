"""A local SageMaker that is to be hurt: started bare, killed, starved, and looked after."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

from sm_tuning.local import ServerInfo, start, status


@dataclass
class Patient:
    """A state dir and the server that runs on it, if one does."""

    folder: Path
    spawned: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> ServerInfo:
        return start(self.folder)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start a server without waiting for it to answer, as a moment later it may be dead."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "spawned.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sm_tuning.local._server", "--state-dir", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.spawned.append(process)
        return process

    def kill(self, info: ServerInfo) -> None:
        os.kill(info.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(info.pid, 0)

    def processes(self) -> list[psutil.Process]:
        """Return every process that has to do with this state dir: servers, supervisors, scripts."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                told = " ".join([*process.cmdline(), *process.environ().values()])
                if str(self.folder) in told and process.pid != os.getpid():
                    found.append(process)
        return found

    def scripts(self) -> list[psutil.Process]:
        """Return the processes that run the training script."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if any(word.endswith("train.py") for word in process.cmdline()):
                    found.append(process)
        return found

    def client(self, service: str, info: ServerInfo | None = None) -> Any:
        found = info or status(self.folder)
        assert found is not None, (self.folder / "server.log").read_text()[-4000:]
        session = boto3.Session(found.access_key_id, found.secret_access_key, region_name=found.region)
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        return session.client(service, endpoint_url=found.endpoint_url, config=config)


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Poll until the condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
    return result
