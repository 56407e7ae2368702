"""``with connect():``, in which boto3 and the SageMaker SDK use the SageMaker on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sm_tuning._errors import LocalServerError
from sm_tuning.local import _clients, _daemon
from sm_tuning.local._config import ServerInfo
from sm_tuning.local._redirect import client_environment


class Connection:
    """A local SageMaker, and an environment in which boto3 and the SageMaker SDK use it.

    On entry, a server is started if none runs on the state dir, the AWS variables are set, and the default session of
    boto3 and the clients of the SageMaker SDK are dropped. Clients and sessions that you created before keep their
    endpoints. On exit, the variables are restored, and default session and clients are dropped again. A server that a
    connection started is stopped when the last connection to it is closed or its process has died, whichever process
    that is. The SageMaker SDK calls STS at its public address, whatever the environment; sessions
    that are created inside send these calls to the local server as well.

    Args:
        state_dir: folder of all data; by default SM_TUNING_STATE_DIR, else ~/.sm-tuning/local.
        port: port of a server that is started.
        keep_running: whether the server keeps running without connections.
        environ: the environment variables to change.
    """

    def __init__(
        self,
        state_dir: str | Path | None = None,
        port: int | None = None,
        *,
        keep_running: bool = False,
        environ: MutableMapping[str, str] = os.environ,
    ) -> None:
        self._state_dir = state_dir
        self._port = port
        self._keep_running = keep_running
        self._environ = environ
        self._info: ServerInfo | None = None
        self._lock: IO[str] | None = None
        self._saved: dict[str, str | None] = {}

    @property
    def info(self) -> ServerInfo:
        """Address and keys of the server.

        Raises:
            LocalServerError: the connection is not open.
        """
        if self._info is None:
            raise LocalServerError("the connection to the local SageMaker is not open: use `with`, or open()")
        return self._info

    def open(self) -> Self:
        """Enter without ``with``, as in a notebook; does nothing if the connection is open.

        Raises:
            MissingExtraError: the extra ``local`` is not installed.
            SpecError: AWS_REGION names no region, and the state dir is new.
            LocalServerError: the server cannot start.
        """
        if self._info is not None:
            return self
        state = _daemon.prepare(self._state_dir)
        # First become a client, so that the server does not end between the look and the first call.
        self._lock = _clients.join(state.clients)
        try:
            self._info = _daemon.use(state, self._port, temporary=not self._keep_running)
            if self._keep_running:
                _clients.set_temporary(state.clients, False)
        except BaseException:
            self._lock.close()
            raise
        self._set_environment(self._info)
        _forget_clients()
        return self

    def close(self) -> None:
        """Exit; does nothing if the connection is closed."""
        if self._info is None:
            return
        state_dir = self._info.state_dir
        self._info = None
        for name, value in self._saved.items():
            if value is None:
                self._environ.pop(name, None)
            else:
                self._environ[name] = value
        self._saved = {}
        _forget_clients()
        lock, self._lock = self._lock, None
        if lock is not None:
            with lock:
                if _clients.is_last(lock):
                    _daemon.stop(state_dir)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_environment(self, info: ServerInfo) -> None:
        wanted = client_environment(info, self._environ)
        self._saved = {name: self._environ.get(name) for name in wanted}
        for name, value in wanted.items():
            if value is None:
                self._environ.pop(name, None)
            else:
                self._environ[name] = value


def connect(state_dir: str | Path | None = None, port: int | None = None, *, keep_running: bool = False) -> Connection:
    """Return a connection to the SageMaker on this machine, to be used with ``with`` or ``open()``.

    Args:
        state_dir: folder of all data; by default SM_TUNING_STATE_DIR, else ~/.sm-tuning/local.
        port: port of a server that is started; None for the port of its predecessor if that is free, else any.
        keep_running: whether the server keeps running without connections. Otherwise a server that a connection
            started ends with the last connection.
    """
    return Connection(state_dir, port, keep_running=keep_running)


def _forget_clients() -> None:
    """Make boto3 and the SageMaker SDK, if they are loaded, read the environment again."""
    # The SDK's resources keep their clients for the whole process: one for each session in newer releases (which have
    # ``reset``), a single one in older ones, and a single one for logs.
    boto3: Any = sys.modules.get("boto3")
    if boto3 is not None:
        boto3.DEFAULT_SESSION = None
    utils: Any = sys.modules.get("sagemaker.core.utils.utils")
    if utils is None:
        return
    if hasattr(utils.SageMakerClient, "reset"):
        utils.SageMakerClient.reset()
    instances = utils.SingletonMeta._instances  # noqa: SLF001  (there is no public access)
    for kind in [kind for kind in instances if kind.__name__ in ("SageMakerClient", "CloudWatchLogsClient")]:
        del instances[kind]
