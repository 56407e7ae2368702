"""Test files side by side: ``--workers 4`` runs four at a time, each in a fork of the process that collected them.

Collecting six thousand tests and importing what they need takes ten seconds of processor time. Workers that are new
interpreters, as those of pytest-xdist, each pay it; forks share it. The tests of a file run in one worker, in order, so
that they share fixtures; the files are handed out in the order of the items. ``-x``, ``--durations`` and reports work
as without workers.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
from _pytest.config import create_terminal_writer
from forks import RUN_VARIABLE

#: Workers take files in this order, and then the others, so that none is busy long after the others are done. By the
#: seconds that each took: renew it from ``--durations 0`` now and then.
LONGEST = (
    "views_browser", "bad_answers", "bayesian", "exports_track", "endpoints", "driver", "finding_codes", "site",
    "smoke", "faults_of_the_machine", "code_blocks", "follow", "machine_runs", "views_report", "transfer", "transform",
    "views_odd_jobs", "serving", "sync", "local", "runner", "exports_edges", "warm", "evaluate", "daemon", "engine",
    "house", "results_local", "views_watch", "engine_strategies", "mcp_server", "faults", "images", "aws_time_limit",
    "optuna", "analysis_importance", "attach_training", "register", "spot", "xgboost_algorithm", "analysis_advice",
    "replay", "views_draw", "kill_driver", "analysis_frames", "analysis_local", "operations", "endpoint",
    "kept_by_moto", "rules", "spec_files", "stage", "clients", "jobs_launch", "notice", "lineage",
    "masking_everywhere", "s3", "redirect", "connect", "logs", "results_live", "gpus", "init", "preflight",
    "results_trials", "fuzz", "exports_job", "notebooks", "sdk_v3", "pipeline", "pytorch_digits_script", "scale",
    "other_tools", "kill", "case_scripts",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--workers", type=int, default=1, metavar="N", help="run N test files at a time, in forks of this process"
    )


def run_in_workers(session: pytest.Session) -> bool | None:
    """Be the hook ``pytest_runtestloop``, or leave the tests to pytest's own loop if there is to be one worker."""
    count: int = session.config.option.workers
    if count < 2 or session.testsfailed or session.config.option.collectonly or not session.items:
        return None  # pytest's own loop
    _Run(session).run(count)
    return True


class _Worker:
    """A forked process as its parent sees it.

    Attributes:
        pending: indices of the tests that it has been given and not reported yet.
        finished: what it has reported of the file under way: output is by file.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pending: deque[int] = deque()
        self.finished: list[tuple[int, list[pytest.TestReport]]] = []
        self.has_ended = False


class _Run:
    """A run of the tests of a session in workers."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._items = session.items
        by_file = itertools.groupby(range(len(self._items)), key=lambda index: self._items[index].path)
        self._files = deque(list(group) for _, group in by_file)
        self._workers: dict[Connection, _Worker] = {}
        self._temporary: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        self._numbers = itertools.count(1)

    def run(self, count: int) -> None:
        os.environ[RUN_VARIABLE] = str(os.getpid())
        gc.freeze()  # the collector of a worker need not look at what is here, nor copy it by looking
        try:
            for _ in range(min(count, len(self._files))):
                self._start()
            while self._workers:
                for channel in wait(list(self._workers)):
                    assert isinstance(channel, Connection)
                    self._receive(channel)
                if self._session.shouldfail:
                    raise self._session.Failed(self._session.shouldfail)
                if self._session.shouldstop:
                    raise self._session.Interrupted(self._session.shouldstop)
        finally:
            for channel in self._workers:
                channel.close()  # which ends a worker after its test
            for worker in self._workers.values():
                self._show(worker)  # of a file that has not come to its end
                os.waitpid(worker.pid, 0)

    def _start(self) -> None:
        ours, theirs = Pipe()
        number = next(self._numbers)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            for channel in (ours, *self._workers):
                channel.close()
            _be_worker(self._session, theirs, self._temporary / f"worker-{number}")
        theirs.close()
        self._workers[ours] = _Worker(pid)

    def _receive(self, channel: Connection) -> None:
        worker = self._workers[channel]
        try:
            kind, *values = channel.recv()
        except (EOFError, ConnectionResetError):
            self._end(channel)
            return
        if kind == "next":
            self._show(worker)
            file = self._files.popleft() if self._files else []
            worker.pending.extend(file)
            channel.send(file)
        elif kind == "reports":
            index, reports = values
            worker.pending.remove(index)
            config = self._session.config
            made = [config.hook.pytest_report_from_serializable(config=config, data=data) for data in reports]
            worker.finished.append((index, made))
            if any(report.failed for report in made):
                self._show(worker)
        elif kind == "warning":
            self._session.config.hook.pytest_warning_recorded.call_historic(kwargs=values[0])
        else:
            assert kind == "end", kind
            worker.has_ended = True

    def _show(self, worker: _Worker) -> None:
        hook = self._session.config.hook
        for index, reports in worker.finished:
            item = self._items[index]
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for report in reports:
                hook.pytest_runtest_logreport(report=report)
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        worker.finished.clear()

    def _end(self, channel: Connection) -> None:
        """Take leave of a worker; if it died, its test has failed, and another worker takes the rest."""
        worker = self._workers.pop(channel)
        channel.close()
        _, status = os.waitpid(worker.pid, 0)
        self._show(worker)
        if worker.has_ended:
            return
        end = os.waitstatus_to_exitcode(status)
        how = f"with exit code {end}" if end >= 0 else f"of {signal.Signals(-end).name}"
        if not worker.pending:
            raise self._session.Interrupted(f"a worker died {how} after its last test")
        index = worker.pending.popleft()
        item = self._items[index]
        died = f"the worker that ran this test died {how}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", died, "call")
        worker.finished.append((index, [report]))
        self._show(worker)
        if worker.pending:
            self._files.appendleft(list(worker.pending))
        if self._files:
            self._start()


class _Reporter:
    """Sends what a worker reports."""

    def __init__(self, config: pytest.Config, channel: Connection) -> None:
        self._config, self._channel = config, channel
        self._reports: list[dict[str, Any]] = []
        self._is_registered = False
        config.pluginmanager.register(self)  # which gives it the warnings of before, and these the parent has shown
        self._is_registered = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        if not self._is_registered:
            return
        given = {"warning_message": warning_message, "when": when, "nodeid": nodeid, "location": location}
        try:
            pickle.dumps(given)
        except Exception:  # noqa: BLE001  (a warning of a class that is defined in a test, with any arguments)
            text, file, line = str(warning_message.message), warning_message.filename, warning_message.lineno
            given["warning_message"] = warnings.WarningMessage(text, Warning, file, line)
        self._channel.send(("warning", given))

    def send(self, index: int) -> None:
        self._channel.send(("reports", index, self._reports))
        self._reports = []


def _be_worker(session: pytest.Session, channel: Connection, temporary: Path) -> None:
    """Run the files that the parent hands out, and end."""
    code = 1
    try:
        config = session.config
        plugins = config.pluginmanager
        temporary.mkdir(mode=0o700)
        config._tmp_path_factory._basetemp = temporary  # type: ignore[attr-defined]
        with Path(os.devnull).open("w") as nowhere:
            plugins.getplugin("terminalreporter")._tw = create_terminal_writer(config, nowhere)
            capture = plugins.getplugin("capturemanager")
            capture.stop_global_capturing()  # its files are the parent's
            capture.start_global_capturing()
            capture.suspend_global_capture()
            _run_files(session, channel, _Reporter(config, channel))
        code = 0
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        session._setupstate.teardown_exact(None)  # the run has been stopped: no test ends with what it started
    except BaseException:  # noqa: BLE001  (the parent sees the exit code)
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        os._exit(code)


def _run_files(session: pytest.Session, channel: Connection, reporter: _Reporter) -> None:
    while not (session.shouldfail or session.shouldstop):
        channel.send(("next",))
        file: list[int] = channel.recv()
        if not file:
            break
        for index, following in itertools.zip_longest(file, file[1:]):
            # Fixtures stay that the next test needs; those of the session stay for a file that is not known yet.
            next_item: Any = session if following is None else session.items[following]
            item = session.items[index]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
            reporter.send(index)
            if session.shouldfail or session.shouldstop:
                break
    session._setupstate.teardown_exact(None)
    channel.send(("end",))
