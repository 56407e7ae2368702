"""What holds for every test: no AWS settings of this machine, no network beyond loopback, no process unasked."""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.testing  # noqa: F401  (numpy 1.26 starts a process when it is loaded, which a fast test must not)
import pytest
from forks import PRELOADED as PRELOADED_PROGRAMS
from forks import REAL, RUN_VARIABLE, nursery
from guards import BlockedError, Network, Processes
from hypothesis import HealthCheck, settings
from shared_models import read_models, share_models
from workers import LONGEST, pytest_addoption, run_in_workers  # noqa: F401  (a hook)

share_models()
gc.disable()  # while tests are collected: nothing of them is garbage
# The tests start hundreds of processes: compiled files save each of them half a second.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in each run, few while developing; `make test-long` takes the profile with many. A property says
# what holds, not how fast a busy machine is; fixtures that its examples share are shared on purpose.
_PROPERTY: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("few", max_examples=10, **_PROPERTY)
settings.register_profile("many", max_examples=300, **_PROPERTY)
settings.load_profile("few")

#: What most workers need is loaded before they are forked; what is not installed is left out.
PRELOADED = (
    *PRELOADED_PROGRAMS["client"],
    "scipy.optimize",
    "sm_tuning.local.engine",
    "sm_tuning.local.http",
    "sm_tuning.local.runner",
    "sm_tuning.local.service",
    "sm_tuning.views._plots",
    "moto.iam.responses",
    "moto.s3.responses",
    "moto.sts.responses",
)

#: Variables of this machine that would change what a test does; tests that are marked aws get them back.
_PREFIXES = ("AWS_", "SM_TUNING_")


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Drop the AWS settings of this machine for the whole run, and give what was dropped.

    Once for the run, not for each test, so that module-wide fixtures may set variables of their own.
    """
    dropped = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
    empty: Path = tmp_path_factory.mktemp("no-aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in dropped:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", str(empty / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(empty / "credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("HOME", str(empty))
        patch.setenv("SM_TUNING_CACHE_DIR", str(empty / "cache"))
        yield dropped


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[Network]:
    """Block connections and name look-ups beyond loopback."""
    guard = Network()
    with pytest.MonkeyPatch.context() as patch:
        guard.install(patch)
        yield guard


@pytest.fixture(scope="session")
def processes() -> None:
    """Allow a test to start processes and to listen on ports; ``make test-fast`` leaves such tests out.

    Each fixture that does so asks for it, and each test that does not itself name ``subprocess``; else the test fails.
    """


@pytest.fixture(scope="module")
def real_aws(own_environment: Mapping[str, str], network: Network) -> Iterator[Mapping[str, str]]:
    """Give back this machine's AWS settings and the network, for tests that are marked aws."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"):
            patch.delenv(name)
        for name, value in own_environment.items():
            patch.setenv(name, value)
        network.is_open = True
        yield own_environment
        network.is_open = False


_PROCESSES = Processes()


@pytest.fixture(scope="session", autouse=True)
def unasked_processes() -> Iterator[None]:
    """Block processes and ports for tests that have not asked for the fixture ``processes``."""
    with pytest.MonkeyPatch.context() as patch:
        _PROCESSES.install(patch)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Let the fixtures of a test, and then the test, do what it asks for."""
    _PROCESSES.blocked.clear()
    _PROCESSES.is_allowed = item.get_closest_marker("processes") is not None
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that was kept from something, although the code under test went on without it."""
    result = yield
    if _PROCESSES.blocked:
        raise BlockedError(f"{item.nodeid} needs the fixture 'processes': it {_PROCESSES.blocked[0]}")
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Let fixtures that other tests asked for stop what they started."""
    _PROCESSES.is_allowed = True
    return (yield)


def pytest_collection(session: pytest.Session) -> None:
    """Have the programs that nearly all workers fork from load their libraries while the tests are collected."""
    option = session.config.option
    if option.workers > 1 and not option.collectonly and "not processes" not in option.markexpr and not REAL:
        os.environ[RUN_VARIABLE] = str(os.getpid())
        for name in ("server", "client"):
            nursery(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in workers, which share what is loaded here."""
    if session.config.option.workers > 1 and not session.config.option.collectonly:
        for module in PRELOADED:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(module)
        read_models()
    gc.freeze()
    gc.enable()
    return run_in_workers(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once what a machine without a browser does not test, and how to get one."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", ()) if "chrom" in str(report.longrepr).lower()
    ]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests of the report and the site in a browser were skipped. They need Chromium and its "
            "driver (Debian: apt-get install chromium chromium-driver)."
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that start processes, and skip those that talk to real AWS unless SM_TUNING_AWS_TESTS=1."""
    skip = pytest.mark.skip(reason="talks to real AWS and costs money: set SM_TUNING_AWS_TESTS=1")
    for item in items:
        if "processes" in getattr(item, "fixturenames", ()) or _runs_subprocesses(item):
            item.add_marker(pytest.mark.processes)
        if item.get_closest_marker("aws") and os.environ.get("SM_TUNING_AWS_TESTS") != "1":
            item.add_marker(skip)
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem.removeprefix("test_"), len(places)))


def _runs_subprocesses(item: pytest.Item) -> bool:
    """Whether a test, or a function of its module that it calls, names ``subprocess``."""
    test = getattr(item, "function", None)
    if test is None:
        return False
    test = inspect.unwrap(test)
    named = [getattr(test.__globals__.get(name), "__code__", None) for name in test.__code__.co_names]
    return any("subprocess" in code.co_names for code in (test.__code__, *named) if code is not None)
