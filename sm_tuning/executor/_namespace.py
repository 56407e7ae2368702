"""Starts a program in Linux namespaces of its own: ``python -I _namespace.py <order> <program> <arguments>``.

Stdlib only, in the place of ``docker run --network`` and ``--add-host``. The order is a JSON object:

- ``net``: true for a network of its own, in which there is only the loopback interface.
- ``join``: id of a holder process whose network is to be shared instead.
- ``hosts``: path of a file that the program is to see as /etc/hosts; nobody else sees it there.
- ``ml``: path of a folder that the program is to see as /opt/ml, as training containers do; nobody else sees it there.

With ``hold`` as the only word of the program nothing is started: the process says ``ready`` on stdout and keeps
its namespaces until its stdin ends.

Without the rights of root the namespaces belong to a user namespace of their own, in which the program keeps its
user and group (user_namespaces(7), network_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
OPT = "/opt"
ML = "/opt/ml"
CANNOT = 125
"""Exit code when the namespaces cannot be had: the one that ``docker run`` has for its own failures."""


class Libc:
    """The system calls that Python 3.11 does not offer."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)

    def unshare(self, flags: int) -> None:
        """Leave namespaces of these kinds for new ones: unshare of section 2."""
        self._check("unshare", self._library.unshare(flags))

    def setns(self, path: str, kind: int) -> None:
        """Enter the namespace at a path of /proc: setns of section 2."""
        fd = os.open(path, os.O_RDONLY)
        try:
            self._check(f"setns {path}", self._library.setns(fd, kind))
        finally:
            os.close(fd)

    def mount(self, source: str, target: str, flags: int, kind: str = "none") -> None:
        """Mount; a bind needs no file system type: mount of section 2."""
        result = self._library.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
        self._check(f"mount {target}", result)

    def _check(self, what: str, result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")


def separate(libc: Libc, flags: int) -> None:
    """Enter new namespaces, as root or else through a user namespace."""
    if os.geteuid() == 0:
        try:
            libc.unshare(flags)
        except PermissionError:  # root of a container without CAP_SYS_ADMIN
            pass
        else:
            return
    user, group = os.getuid(), os.getgid()
    libc.unshare(flags | CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib would cost more than all the rest
            file.write(text)


def join(libc: Libc, pid: int) -> None:
    """Enter the network, and with it the user namespace, of a holder."""
    if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):  # noqa: PTH115
        libc.setns(f"/proc/{pid}/ns/user", CLONE_NEWUSER)
    libc.setns(f"/proc/{pid}/ns/net", CLONE_NEWNET)


def raise_loopback() -> None:
    """Bring the loopback interface up, netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def show_ml(libc: Libc, folder: str) -> None:
    """Show a folder as /opt/ml.

    Where the machine has none, nothing is made on its disk: the program gets an /opt in memory with everything that
    the machine's has, and ``ml``.
    """
    root = os.open(folder, os.O_PATH)
    if not os.path.isdir(ML):  # noqa: PTH112 - as above
        old = os.open(OPT, os.O_PATH)
        libc.mount("tmpfs", OPT, 0, "tmpfs")
        for name in os.listdir(_open(old)):  # noqa: PTH208
            _show_again(libc, f"{_open(old)}/{name}", f"{OPT}/{name}")
        os.mkdir(ML)  # noqa: PTH102
    libc.mount(_open(root), ML, MS_BIND | MS_REC)


def _open(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def _show_again(libc: Libc, path: str, name: str) -> None:
    if os.path.islink(path):  # noqa: PTH114
        os.symlink(os.readlink(path), name)  # noqa: PTH115, PTH211
        return
    if os.path.isdir(path):  # noqa: PTH112
        os.mkdir(name)  # noqa: PTH102
    else:
        os.close(os.open(name, os.O_CREAT))
    libc.mount(path, name, MS_BIND | MS_REC)


def enter(order: dict[str, object]) -> None:
    """Do what an order says to this process.

    Raises:
        OSError: the system does not allow it.
    """
    libc = Libc()
    joins = order.get("join")
    if isinstance(joins, int):
        join(libc, joins)
    hosts, ml = order.get("hosts"), order.get("ml")
    flags = (CLONE_NEWNET if order.get("net") else 0) | (CLONE_NEWNS if hosts or ml else 0)
    if isinstance(joins, int):
        if flags:
            libc.unshare(flags)
    elif flags:
        separate(libc, flags)
    if order.get("net"):
        raise_loopback()
    if hosts or ml:
        libc.mount("none", "/", MS_REC | MS_PRIVATE)
    if hosts:
        libc.mount(str(hosts), "/etc/hosts", MS_BIND)
    if ml:
        show_ml(libc, str(ml))


def main() -> int:
    """Enter, and become the program."""
    argv = sys.argv[2:]
    try:
        enter(json.loads(sys.argv[1]))
    except (OSError, AttributeError) as e:  # AttributeError: another system's C library
        sys.stderr.write(f"{e}\n")
        return CANNOT
    if argv == ["hold"]:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        return 0
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - this is what the launcher is for
    except OSError as e:
        sys.stderr.write(f"cannot start {argv[0]}: {e}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main())
