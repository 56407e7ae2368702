"""What holds for every test: no AWS settings of this machine, and no network beyond loopback."""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.session
import pytest
from botocore.loaders import Loader
from hypothesis import HealthCheck, settings

# The tests start hundreds of processes: compiled files save each of them half a second.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in each run, few while developing; `make ci` takes the profile with many. A property says what
# holds, not how fast a busy machine is; fixtures that its examples share are shared on purpose.
_PROPERTY: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("few", max_examples=25, **_PROPERTY)
settings.register_profile("many", max_examples=300, **_PROPERTY)
settings.load_profile("few")

#: Variables of this machine that would change what a test does; tests that are marked aws get them back.
_PREFIXES = ("AWS_", "SM_TUNING_")


class BlockedError(RuntimeError):
    """A test tried to reach something beyond this machine."""


class Network:
    """Lets connections to loopback and to Unix sockets through; to other places only while it is open."""

    def __init__(self) -> None:
        self.is_open = False

    def check(self, host: Any) -> None:
        if not self.is_open and not _is_loopback(host):
            raise BlockedError(f"tests stay on this machine, but one wanted to reach {host!r}")


def _is_loopback(host: Any) -> bool:
    if host is None:
        return True
    text = (host.decode() if isinstance(host, bytes) else str(host)).partition("%")[0].strip("[]")
    try:
        return ipaddress.ip_address(text).is_loopback or ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return text in ("", "localhost") or text.endswith(".localhost")


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
        patch.setenv("SM_TUNING_CACHE_DIR", str(empty / "cache"))
        yield dropped


@pytest.fixture(scope="session", autouse=True)
def service_models() -> Iterator[None]:
    """Read each of botocore's service models once, not once for each of a thousand sessions."""

    class SharedLoader(Loader):
        """A loader whose search paths stay few, although each boto3 session adds its own."""

        @property
        def search_paths(self) -> list[str]:
            self._search_paths[:] = dict.fromkeys(self._search_paths)
            return self._search_paths

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders, "Loader", SharedLoader)
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[Network]:
    """Block connections and name look-ups beyond loopback."""
    guard = Network()
    connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            guard.check(address[0])
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            guard.check(address[0])
        return connect_ex(self, address)

    def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        guard.check(host)
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_resolve)
        yield guard


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked aws unless somebody asks for it with SM_TUNING_AWS_TESTS=1."""
    if os.environ.get("SM_TUNING_AWS_TESTS") == "1":
        return
    skip = pytest.mark.skip(reason="talks to real AWS and costs money: set SM_TUNING_AWS_TESTS=1")
    for item in items:
        if item.get_closest_marker("aws"):
            item.add_marker(skip)
