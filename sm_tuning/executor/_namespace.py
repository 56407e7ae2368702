"""Start a program in Linux namespaces of its own: ``python -I _namespace.py <order> <program> <arguments>``.

Stdlib only, in place of ``docker run --network`` and ``--add-host``. The order is a JSON object:

- ``net``: true for a network of its own, with only the loopback interface.
- ``join``: id of a holder process whose network is shared instead.
- ``hosts``: path of a file that only the program sees as /etc/hosts.
- ``ml``: path of a folder that only the program sees as /opt/ml, as training containers do.

If the program is ``hold``, the process prints ``ready`` and keeps its namespaces until its stdin ends.

Without root's rights, the namespaces belong to a user namespace of their own, in which the program keeps its user and
group [user_namespaces(7), network_namespaces(7)].
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
"""Exit code if the namespaces are not possible; ``docker run`` has the same for its own failures."""


class Libc:
    """System calls that Python 3.11 lacks."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)

    def unshare(self, flags: int) -> None:
        """Move to new namespaces of these kinds [unshare(2)]."""
        self._check("unshare", self._library.unshare(flags))

    def setns(self, path: str, kind: int) -> None:
        """Enter the namespace at a path of /proc [setns(2)]."""
        fd = os.open(path, os.O_RDONLY)
        try:
            self._check(f"setns {path}", self._library.setns(fd, kind))
        finally:
            os.close(fd)

    def mount(self, source: str, target: str, flags: int, kind: str = "none") -> None:
        """Mount; a bind needs no file system type [mount(2)]."""
        result = self._library.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
        self._check(f"mount {target}", result)

    def _check(self, call: str, result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{call}: {os.strerror(number)}")


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
    # The kernel requires this order: setgroups must be denied before gid_map can be written [user_namespaces(7)].
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - importing pathlib would cost more than the rest
            file.write(text)


def show_ml(libc: Libc, folder: str) -> None:
    """Mount a folder as /opt/ml.

    If the machine has no /opt/ml, its disk stays unchanged: the program gets an /opt in memory with the content of the
    machine's, and ``ml``.
    """
    root = os.open(folder, os.O_PATH)
    if not os.path.isdir(ML):  # noqa: PTH112 - as above
        # The file descriptor keeps the old /opt reachable under the new mount.
        old = f"/proc/self/fd/{os.open(OPT, os.O_PATH)}"
        libc.mount("tmpfs", OPT, 0, "tmpfs")
        for name in os.listdir(old):  # noqa: PTH208
            path, copy = f"{old}/{name}", f"{OPT}/{name}"
            if os.path.islink(path):  # noqa: PTH114
                os.symlink(os.readlink(path), copy)  # noqa: PTH115, PTH211
                continue
            if os.path.isdir(path):  # noqa: PTH112
                os.mkdir(copy)  # noqa: PTH102
            else:
                os.close(os.open(copy, os.O_CREAT))
            libc.mount(path, copy, MS_BIND | MS_REC)
        os.mkdir(ML)  # noqa: PTH102
    libc.mount(f"/proc/self/fd/{root}", ML, MS_BIND | MS_REC)


def enter(order: dict[str, object]) -> None:
    """Move this process to the namespaces of an order.

    Raises:
        OSError: the system does not allow them.
    """
    libc = Libc()
    joins, hosts, ml = order.get("join"), order.get("hosts"), order.get("ml")
    flags = (CLONE_NEWNET if order.get("net") else 0) | (CLONE_NEWNS if hosts or ml else 0)
    if isinstance(joins, int):
        # A user namespace must be entered before the namespaces that it owns.
        if os.readlink(f"/proc/{joins}/ns/user") != os.readlink("/proc/self/ns/user"):  # noqa: PTH115
            libc.setns(f"/proc/{joins}/ns/user", CLONE_NEWUSER)
        libc.setns(f"/proc/{joins}/ns/net", CLONE_NEWNET)
        if flags:
            libc.unshare(flags)
    elif flags:
        separate(libc, flags)
    if order.get("net"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # bring the loopback up [netdevice(7)]
            request = struct.pack("16sH14s", b"lo", 0, b"")
            state = struct.unpack("16sH14s", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", state | IFF_UP, b""))
    if hosts or ml:
        libc.mount("none", "/", MS_REC | MS_PRIVATE)  # otherwise the machine would see the following mounts
    if hosts:
        libc.mount(str(hosts), "/etc/hosts", MS_BIND)
    if ml:
        show_ml(libc, str(ml))


def main() -> int:
    """Enter the namespaces and become the program."""
    argv = sys.argv[2:]
    try:
        enter(json.loads(sys.argv[1]))
    except (OSError, AttributeError) as e:  # AttributeError: the C library of another system
        sys.stderr.write(f"{e}\n")
        return CANNOT
    if argv == ["hold"]:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        return 0
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the purpose of this program
    except OSError as e:
        sys.stderr.write(f"cannot start {argv[0]}: {e}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main())
