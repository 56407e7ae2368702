"""``with connect():``, in which boto3 and the SageMaker SDK use the SageMaker on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit, urlunsplit

from sm_tuning._errors import LocalServerError
from sm_tuning.local import _clients, _daemon
from sm_tuning.local._config import ServerInfo

# Variables that take precedence over those of the local server, or disable them.
_REMOVED = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
_STS_EVENT = "before-sign.sts"


class Connection:
    """A local SageMaker, and an environment in which boto3 and the SageMaker SDK use it.

    On entry, a server is started if none runs on the state dir, the AWS variables are set, and the default session of
    boto3 and the clients of the SageMaker SDK are dropped. Clients and sessions that you created before keep their
    endpoints. On exit, the variables are restored, and default session and clients are dropped again. A server that a
    connection started is stopped when the last connection to it is closed or its process has died, whichever process
    that is. The SageMaker SDK calls STS at its public address, whatever the environment; calls of
    sessions that are created inside go to the local server as well.

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
        _handlers().append((_STS_EVENT, self._redirect_sts))
        return self

    def close(self) -> None:
        """Exit; does nothing if the connection is closed."""
        if self._info is None:
            return
        state_dir = self._info.state_dir
        self._info = None
        _handlers().remove((_STS_EVENT, self._redirect_sts))
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
        # The endpoint of a single service takes precedence over that of all, and a proxy would get the requests.
        specific = [name for name in self._environ if name.startswith("AWS_ENDPOINT_URL_")]
        direct = ",".join(filter(None, ("127.0.0.1", self._environ.get("NO_PROXY") or self._environ.get("no_proxy"))))
        wanted: dict[str, str | None] = {
            **dict.fromkeys((*_REMOVED, *specific)),
            **info.env(),
            "NO_PROXY": direct,
            "no_proxy": direct,
        }
        self._saved = {name: self._environ.get(name) for name in wanted}
        for name, value in wanted.items():
            if value is None:
                self._environ.pop(name, None)
            else:
                self._environ[name] = value

    def _redirect_sts(self, request: Any, **_: Any) -> None:
        """Send a call to a public address of STS to the local server, before it is signed."""
        if self._info is None:
            return
        public, local = urlsplit(request.url), urlsplit(self._info.endpoint_url)
        host = public.hostname or ""
        if host.startswith("sts.") and host.endswith(".amazonaws.com"):
            request.url = urlunsplit((local.scheme, local.netloc, public.path, public.query, ""))


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


def _handlers() -> list[Any]:
    """Return the handlers that botocore registers in each new session."""
    from botocore.handlers import BUILTIN_HANDLERS  # noqa: PLC0415  (kept off the import path)

    handlers: list[Any] = BUILTIN_HANDLERS
    return handlers
