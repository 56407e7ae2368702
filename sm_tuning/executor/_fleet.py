"""The supervised processes of one step of a job: one for each host, ended together."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from sm_tuning.executor._process import Command, Container, Exit, Files, Supervisors, kill_leftovers, wait_any

Tick = Callable[[], float]
"""Called at every news; returns for how many seconds at most to wait for the next."""


class Fleet:
    """Runs one command on each host. ``stop`` and ``abandon`` are for any thread.

    Args:
        step: what the exit records are named by.
        grace: seconds between SIGTERM and SIGKILL.
        supervisors: where supervisors come from.
    """

    def __init__(self, step: str, grace: float, supervisors: Supervisors) -> None:
        self._step = step
        self._grace = grace
        self._supervisors = supervisors
        self._lock = threading.Lock()
        self._containers: list[Container] = []
        self._stopping = False
        self._abandoned = False

    def run(self, work: Sequence[tuple[Command, Files]], tick: Tick) -> list[Exit | None]:
        """Run the commands to their ends and return how each ended; None for one that was cut off.

        When one ends badly the others are told to stop: a job is at its end when one of its hosts is.
        """
        with ExitStack() as stack:
            running = []
            for command, files in work:
                container = stack.enter_context(self._begin(command, files))
                running.append((container, files))
            self._follow(running, tick)
            with self._lock:
                self._containers = []
        exits = [files.read_exit(self._step) for _, files in work]
        for ended, (_, files) in zip(exits, work, strict=True):
            if ended is None or not ended.alone:
                kill_leftovers(files)
        return exits

    def stop(self) -> None:
        """SIGTERM, the grace, SIGKILL for all of them, also those that are yet to begin."""
        with self._lock:
            self._stopping = True
            for container in self._containers:
                container.stop()

    def abandon(self) -> None:
        """Kill all of them at once and leave no exit record."""
        with self._lock:
            self._abandoned = True
            for container in self._containers:
                container.abandon()

    def _begin(self, command: Command, files: Files) -> Container:
        container = Container(
            command,
            files,
            step=self._step,
            grace=self._grace,
            token=uuid.uuid4().hex,
            supervisors=self._supervisors,
        )
        with self._lock:
            self._containers.append(container)
            if self._abandoned:
                container.abandon()
            elif self._stopping:
                container.stop()
        return container

    def _follow(self, running: list[tuple[Container, Files]], tick: Tick) -> None:
        while running:
            ended = wait_any([container for container, _ in running], tick())
            for container, files in [pair for pair in running if pair[0] in ended]:
                running.remove((container, files))
                how = files.read_exit(self._step)
                if how is None or how.code != 0:
                    self.stop()
