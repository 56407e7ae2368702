"""From a container definition to a model process that answers pings."""

from __future__ import annotations

import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sm_tuning.executor import (
    Command,
    Files,
    Fleet,
    Folder,
    Order,
    install_command,
    kill_leftovers,
    last_error,
    requirements_of,
    wait_until_free,
)
from sm_tuning.executor.serving import (
    ModelHost,
    ServingError,
    ServingImage,
    fetch_program,
    model_command,
    serving_image,
    unpack_model,
)
from sm_tuning.local.runner import RunnerContext

#: Seconds within which a container must answer a ping [Developer Guide, your-algorithms-inference-code].
PING_SECONDS = 240.0
NO_PING = "did not pass the ping health check"
_SUPERVISOR_END_SECONDS = 15.0
_INSTALL_TICK_SECONDS = 5.0

Lines = Callable[[Sequence[tuple[int, str]]], None]


@dataclass(frozen=True)
class Started:
    """A model process and its folder."""

    host: ModelHost
    folder: Path

    def close(self, *, gently: bool = False) -> None:
        """End the process and delete its folder."""
        self.host.close(gently=gently)
        shutil.rmtree(self.folder, ignore_errors=True)


class Starter:
    """Starts model processes, each in a new folder under one parent.

    Args:
        context: services and settings of the runner, whose environments and supervisors are shared.
        parent: the folder of the model processes.
    """

    def __init__(self, context: RunnerContext, parent: Path) -> None:
        self._context = context
        self._parent = parent
        self._lock = threading.Lock()
        self._starting: set[ModelHost | Fleet] = set()
        self._closed = False

    def close(self) -> None:
        """Kill the processes that are starting, and start none from now on."""
        with self._lock:
            self._closed = True
            for starting in self._starting:
                starting.abandon()

    @contextmanager
    def _abandonable(self, starting: ModelHost | Fleet) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise ServingError("InternalServerError: the server ends.")
            self._starting.add(starting)
        try:
            yield
        finally:
            with self._lock:
                self._starting.discard(starting)

    def clean(self) -> None:
        """Kill what an earlier server left behind, and delete its folders."""
        for folder in self._parent.iterdir() if self._parent.is_dir() else ():
            files = Files(folder / "host")
            wait_until_free(files, _SUPERVISOR_END_SECONDS)
            kill_leftovers(files)
            shutil.rmtree(folder, ignore_errors=True)

    def start(
        self,
        model: Mapping[str, Any],
        on_lines: Lines,
        *,
        timeout: float = PING_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> Started:
        """Start the process of a model and return it once it answers.

        Args:
            model: ``Container``, a container definition, and ``EnableNetworkIsolation``.
            on_lines: called with new lines of the log.
            timeout: seconds until the first ping must be answered.
            environment: variables in addition to those of the model.

        Raises:
            ServingError: the process could not be started, or did not answer.
        """
        container = model["Container"]
        variables = {**container.get("Environment", {}), **(environment or {})}
        image = serving_image(container["Image"], variables)
        if image is None:
            raise ServingError(f"ClientError: this machine does not serve the image {container['Image']!r}.")
        place = self._parent / uuid.uuid4().hex[:12]
        folder, files = Folder(place / "ml"), Files(place / "host")
        started = None
        try:
            files.folder.mkdir(mode=0o700, parents=True)
            unpack_model(container, folder, self._context.aws)
            started = Started(self._host(image, model, variables, folder, files, on_lines), place)
            self._wait_for_ping(started.host, files, timeout)
        except BaseException:
            if started is not None:
                started.host.close()
            shutil.rmtree(place, ignore_errors=True)
            raise
        return started

    def _wait_for_ping(self, host: ModelHost, files: Files, timeout: float) -> None:
        with self._abandonable(host):
            if not host.start(timeout):
                raise ServingError(f"The model {NO_PING}: {last_error(files.log)}")

    def _host(
        self,
        image: ServingImage,
        model: Mapping[str, Any],
        variables: Mapping[str, str],
        folder: Folder,
        files: Files,
        on_lines: Lines,
    ) -> ModelHost:
        context = self._context
        order: dict[str, Any] = {} if context.container_problem else {"ml": str(folder.root)}
        if model.get("EnableNetworkIsolation") and context.namespaces.problem({"net": True}) is None:
            order["net"] = True
        program = fetch_program(image, variables, folder, context.aws) if image.is_script else None
        region = context.identity.region
        regional = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION", "SAGEMAKER_REGION"), region)

        def command(socket: Path, python: str = sys.executable) -> Command:
            made = model_command(
                image,
                socket,
                folder=folder,
                program=program,
                environment=variables,
                child_env={**regional, **context.child_env},
                python=python,
            )
            return replace(made, namespaces=order)

        python = sys.executable if program is None else self._interpreter(program, command(files.folder), order, files)
        return ModelHost(lambda socket: command(socket, python), files, context.supervisors, on_lines)

    def _interpreter(self, program: Path, command: Command, order: Order, files: Files) -> str:
        """Return the Python with the requirements of the code, which are installed first if necessary."""
        code = program.parent
        if requirements_of(code) is None:
            return sys.executable
        with self._context.environments.claim(code, lambda: None) as environment:
            if not environment.complete:
                environment.make()
                install = replace(install_command(environment.python, code, command.env), namespaces=order)
                fleet = Fleet("install", 1.0, self._context.supervisors)
                with self._abandonable(fleet):
                    [ended] = fleet.run([(install, files)], lambda: _INSTALL_TICK_SECONDS)
                if ended is None or ended.code != 0:
                    raise ServingError(f"requirements.txt could not be installed: {last_error(files.log)}")
                environment.finish()
            return environment.python


def is_served(image: str) -> bool:
    """Return whether this machine can serve the models of an image."""
    return serving_image(image, {}) is not None
