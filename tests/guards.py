"""What the tests may not do unasked: reach beyond this machine, start processes, listen on ports."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest


class BlockedError(RuntimeError):
    """A test tried something that it has not asked for."""


class Network:
    """Lets connections to loopback and to Unix sockets through; to other places only while it is open."""

    def __init__(self) -> None:
        self.is_open = False

    def check(self, host: Any) -> None:
        if not self.is_open and not _is_loopback(host):
            raise BlockedError(f"tests stay on this machine, but one wanted to reach {host!r}")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the check before connections and name look-ups."""
        connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

        def guarded_connect(sock: socket.socket, address: Any) -> None:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                self.check(address[0])
            connect(sock, address)

        def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                self.check(address[0])
            return connect_ex(sock, address)

        def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
            self.check(host)
            return resolve(host, *args, **kwargs)

        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_resolve)


class Processes:
    """Keeps fast tests fast: without the fixture ``processes`` a test starts no process and listens on no port."""

    def __init__(self) -> None:
        self.is_allowed = True
        #: What the running test was kept from, also where the code under test went on without it.
        self.blocked: list[str] = []

    def check(self, deed: str) -> None:
        if not self.is_allowed:
            self.blocked.append(deed)
            raise BlockedError(f"a test that {deed} needs the fixture 'processes'")

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the check before processes are started and ports are bound."""
        bind = socket.socket.bind

        def guarded_bind(sock: socket.socket, address: Any) -> None:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                self.check("listens on a port")
            bind(sock, address)

        def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                # Older threadpoolctl looks a library up when scikit-learn is loaded, which is not the deed of the test.
                if args[1:2] != (["/sbin/ldconfig", "-p"],):
                    self.check("starts a process")
                return function(*args, **kwargs)

            return call

        patch.setattr(socket.socket, "bind", guarded_bind)
        patch.setattr(subprocess.Popen, "__init__", guarded(subprocess.Popen.__init__))
        patch.setattr(os, "fork", guarded(os.fork))


def _is_loopback(host: Any) -> bool:
    if host is None:
        return True
    text = (host.decode() if isinstance(host, bytes) else str(host)).partition("%")[0].strip("[]")
    try:
        return ipaddress.ip_address(text).is_loopback or ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return text in ("", "localhost") or text.endswith(".localhost")
