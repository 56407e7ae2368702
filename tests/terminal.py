"""A pseudo-terminal for programs of the tests, and what its screen shows."""

from __future__ import annotations

import fcntl
import html
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from later import Later

pyte = Later("pyte")

#: Colours of a dark and a light theme of common terminals: ground, text, and the eight names, plain and bright.
_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
_THEMES = {
    "dark": (
        "#1e1e1e",
        "#d4d4d4",
        ("#000000", "#f14c4c", "#23d18b", "#e5e510", "#3b8eea", "#d670d6", "#29b8db", "#e5e5e5"),
    ),
    "light": (
        "#ffffff",
        "#333333",
        ("#000000", "#cd3131", "#00815a", "#7a6400", "#0451a5", "#bc05bc", "#0598bc", "#555555"),
    ),
}


class Screen:
    """What a terminal shows while a program runs in it.

    Args:
        columns: of the terminal.
        lines: of the terminal.
    """

    def __init__(self, columns: int, lines: int = 24) -> None:
        self.size = columns, lines
        self.screen: Any = pyte.HistoryScreen(columns, lines, history=2000)
        self._stream = pyte.ByteStream(self.screen)

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        until: Callable[[str], bool] = lambda _: False,
    ) -> int:
        """Run a program until it ends, or until its screen's text meets a condition; return its exit code."""
        columns, lines = self.size
        pid, terminal = pty.fork()
        if pid == 0:
            # Set before the program can ask; the other end may be late.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.chdir(cwd)
            os.execvpe(command[0], list(command), {**environ, "TERM": "xterm-256color"})
        is_met = False
        while not is_met:
            select.select([terminal], [], [])
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Linux's answer once the program has closed the terminal
                break
            if not data:
                break
            self._stream.feed(data)
            is_met = until(self.text)
        if is_met:
            os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @property
    def text(self) -> str:
        """The screen's lines without blanks at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def page(self, theme: str, prompt: str) -> str:
        """The screen as HTML, below the command that was typed."""
        ground, text, colours = _THEMES[theme]
        named = dict(zip(_NAMES, colours, strict=True))
        named |= {f"bright{name}": colour for name, colour in named.items()}
        rows = []
        for number in range(len(self.text.splitlines())):
            row = self.screen.buffer[number]
            cells = [row[column] for column in range(self.size[0])]
            rows.append("".join(_cell(cell, named) for cell in cells).rstrip())
        lines = [f"<b>$ {html.escape(prompt)}</b>", *rows]
        style = f"background:{ground};color:{text};width:{self.size[0]}ch"
        return (
            "<!doctype html><meta charset=utf-8><style>html{overflow:hidden}body{margin:0}pre{margin:0;padding:14px;"
            f"font:14px/1.35 'DejaVu Sans Mono',monospace;{style}}}</style>"
            f"<pre>{chr(10).join(lines)}</pre>"
        )


def _cell(cell: Any, named: Mapping[str, str]) -> str:
    text = html.escape(cell.data)
    if cell.bold:
        text = f"<b>{text}</b>"
    colour = named.get(cell.fg, None if cell.fg == "default" else f"#{cell.fg}")
    return f'<span style="color:{colour}">{text}</span>' if colour else text
