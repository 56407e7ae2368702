"""The server process: ``python -m sm_tuning.local._server --state-dir D [--port N] [--temporary]``."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import resource
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sm_tuning._errors import LocalServerError, SpecError
from sm_tuning._files import write_atomic
from sm_tuning.local._clients import Watch, set_temporary
from sm_tuning.local._config import (
    Identity,
    Keys,
    ServerInfo,
    StateDir,
    hold_lock,
    load_keys,
    make_state_dir,
    read_server_info,
    resolve_state_dir,
)
from sm_tuning.local._moto import AwsLocal, configure_process
from sm_tuning.local._redirect import write_files
from sm_tuning.local.store import Store

_log = logging.getLogger("sm_tuning.local")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    state: StateDir,
    port: int,
    on_ready: Callable[[ServerInfo], None],
    wait: Callable[[], None],
    *,
    temporary: bool = False,
) -> None:
    """Run a server until ``wait`` returns, then close it so that the next one can continue.

    Args:
        state: its files.
        port: 0 for the port of its predecessor, if that is free, so that waiting clients survive a restart; else any
            free port.
        on_ready: called when the server answers.
        wait: blocks until the server must stop.
        temporary: record that the server ends with its last client.

    Raises:
        SpecError: the region of a new state dir does not exist.
        LocalServerError: the port or the state dir is in use, or the state cannot be read.
    """
    make_state_dir(state)
    with contextlib.ExitStack() as stack:
        stack.callback(os.umask, os.umask(0o077))  # whatever the user's umask allows to others
        stack.enter_context(hold_lock(state.lock))
        set_temporary(state.clients, temporary)
        for path in state.tmp.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        configure_process(state.tmp)
        keys = load_keys(state)
        store = Store(state.database)
        stack.callback(store.close)
        aws = AwsLocal(keys.identity(), state.s3)
        stack.callback(aws.close)
        aws.restore()
        aws.prepare()
        info = stack.enter_context(_running(state, keys, store, aws, port))
        write_atomic(state.server_json, json.dumps(info.as_dict()), private=True)
        _log.info("listening at %s", info.endpoint_url)
        on_ready(info)
        wait()
        _log.info("stopping")


@contextlib.contextmanager
def _running(state: StateDir, keys: Keys, store: Store, aws: AwsLocal, port: int) -> Iterator[ServerInfo]:
    """Continue the unfinished jobs and answer requests until the end of the context."""
    # moto reads its settings at import, so the imports must follow configure_process.
    from sm_tuning.local._after_training import AfterTraining  # noqa: PLC0415
    from sm_tuning.local.engine import Engine  # noqa: PLC0415
    from sm_tuning.local.http import Application, Callers, Verifier, make_http_server  # noqa: PLC0415
    from sm_tuning.local.runner import Runner, RunnerSettings  # noqa: PLC0415
    from sm_tuning.local.service import Context, SageMakerService  # noqa: PLC0415

    identity = keys.identity()
    before = read_server_info(state)
    http = _bind(make_http_server, port, 0 if before is None else urlsplit(before.endpoint_url).port or 0)
    info = _info(http.server_port, identity, keys, state)
    write_files(state, info.endpoint_url)

    def notify(training_job: str) -> None:
        engine.notify(training_job)  # the engine needs the runner first, and no job runs before recover()

    settings = RunnerSettings(warm=os.environ.get("SM_TUNING_WARM") != "0")
    runner = Runner(store, aws, identity, state.jobs, time.time, notify, info.env(), settings)
    engine = Engine(store, runner, identity, time.time)
    context = Context(store, aws, engine, runner, identity, time.time)
    after = AfterTraining(runner.context, aws, state)
    http.app = Application(
        {"sagemaker": SageMakerService(context, after.operations), "logs": aws.logs()},
        aws.app(),
        keeper=aws,
        verifier=Verifier(keys.access_key_id, keys.secret_access_key, time.time),
        identity=identity,
        invoker=after.invoker,
        callers=Callers(identity, keys, aws.has_role, time.time),
    )
    for part in (after, runner, engine):
        part.recover()
    gc.freeze()  # what is loaded now stays; later collections need not look at it
    thread = threading.Thread(target=http.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield info
    finally:
        # In this order: without requests no job starts, without loops no trial starts.
        http.shutdown()
        for part in (engine, after, runner):
            part.close()
        http.server_close()
        thread.join()


def _info(port: int, identity: Identity, keys: Keys, state: StateDir) -> ServerInfo:
    return ServerInfo(
        endpoint_url=f"http://127.0.0.1:{port}",
        region=identity.region,
        account_id=identity.account_id,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        bucket=identity.bucket,
        role_arn=identity.role_arn,
        state_dir=str(state.root),
        pid=os.getpid(),
    )


def _bind(make: Callable[[int], Any], port: int, before: int) -> Any:
    """Return a listening server; its app is set later, since parts of it need the port number."""
    if port == 0 and before:
        with contextlib.suppress(OSError, SystemExit):
            return make(before)
    try:
        return make(port)
    except (OSError, SystemExit) as e:  # werkzeug exits where the address is in use
        raise LocalServerError(f"port {port} on 127.0.0.1 is in use; name another one, or leave it out") from e


def until_signalled(is_unused: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    """Return a function that blocks until SIGTERM or SIGINT; call this early, in the main thread.

    Args:
        is_unused: asked every second; True also ends the waiting.
    """
    stopped = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stopped.set())

    def wait() -> None:
        while not stopped.wait(1.0) and not is_unused():
            pass

    return wait


def log_to(path: Path) -> None:
    """Write all log messages to a file of the state dir, which exists."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server; return the exit code."""
    parser = argparse.ArgumentParser(prog="sm_tuning.local._server")
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--temporary", action="store_true")
    arguments = parser.parse_args(argv)
    state = resolve_state_dir(arguments.state_dir)
    # Also a server that began as a permanent one asks: the file says what it is now.
    wait = until_signalled(Watch(state.clients).is_unused)
    # macOS allows 256 open files by default; connections and the pipes of training processes need more.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    try:
        make_state_dir(state)
        log_to(state.log)
        serve(state, arguments.port, on_ready=lambda _: None, wait=wait, temporary=arguments.temporary)
    except (LocalServerError, SpecError) as e:
        sys.stderr.write(f"{e}\n")
        return LocalServerError.exit_code
    except (OSError, sqlite3.OperationalError) as e:  # a full disk, a deleted state dir
        _log.exception("the server ends")
        sys.stderr.write(f"the local SageMaker cannot use its state dir {state.root}: {e}\n")
        return LocalServerError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
