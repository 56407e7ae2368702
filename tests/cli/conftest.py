"""Fixtures: a command line to call, a SageMaker that denies, and one that really runs."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from _program import ROLE, Cli, Denier, Server
from servers import running_server


@pytest.fixture
def cli() -> Cli:
    return Cli()


@pytest.fixture
def denier(processes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Denier]:
    server = Denier()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "known",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SM_TUNING_ROLE": ROLE,
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("state")) as info:
        yield Server(Path(info.state_dir), dataclasses.asdict(info))


@pytest.fixture
def at_home(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """``--local`` means the module's server."""
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(server.state_dir))
    return server
