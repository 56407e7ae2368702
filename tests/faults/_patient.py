"""A local SageMaker that is to be hurt: started bare, killed, starved, and looked after."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from forks import start_program
from servers import kill_server, start_server

from sm_tuning.local import ServerInfo, status


@dataclass
class Patient:
    """A state dir and the server that runs on it, if one does."""

    folder: Path
    spawned: list[Any] = field(default_factory=list)

    def start(self) -> ServerInfo:
        return start_server(self.folder)

    def spawn(self) -> Any:
        """Start a server without waiting for it to answer, as a moment later it may be dead."""
        self.folder.mkdir(exist_ok=True)
        program = (
            f"from sm_tuning.local._server import main; raise SystemExit(main({['--state-dir', str(self.folder)]}))"
        )
        with (self.folder / "spawned.log").open("ab") as log:
            process = start_program(
                [sys.executable, "-c", program], preload="server", cwd=Path(), env=os.environ, stdout=log, stderr=log
            )
        self.spawned.append(process)
        return process

    def kill(self, info: ServerInfo) -> None:
        kill_server(info)

    def processes(self) -> list[psutil.Process]:
        """Return every process that has to do with this state dir: servers, supervisors, scripts."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                told = " ".join([*process.cmdline(), *process.environ().values(), process.cwd()])
                if str(self.folder) in told and process.pid != os.getpid():
                    found.append(process)
        return found

    def scripts(self) -> list[psutil.Process]:
        """Return the processes that run the training script."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                # A warm one has the command line of its template.
                if Path(process.cwd()).name == "code":
                    found.append(process)
        return found

    def client(self, service: str, info: ServerInfo | None = None) -> Any:
        found = info or status(self.folder)
        assert found is not None, (self.folder / "server.log").read_text()[-4000:]
        session = boto3.Session(found.access_key_id, found.secret_access_key, region_name=found.region)
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        return session.client(service, endpoint_url=found.endpoint_url, config=config)
