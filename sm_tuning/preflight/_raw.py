"""Findings about a file that is no spec, without the secrets that it may hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sm_tuning._errors import SpecError
from sm_tuning._masking import is_secret, secrets_in
from sm_tuning.preflight._files import problems_of
from sm_tuning.preflight._finding import Finding, ordered

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def unreadable(
    error: SpecError, file: Path, *, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """The findings of a spec file that cannot be read, or breaks a rule.

    Args:
        error: what reading it raised.
        file: the spec file.
        overrides: as they were given to ``load``.
        environ: values for ``${VAR}``; the process's environment when left out.
    """
    secrets = {*_of_file(file, os.environ if environ is None else environ), *_of_overrides(overrides)}
    return ordered(problems_of(error), secrets)


def _of_file(file: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Secrets in a file, as far as it can be read at all (JSON is YAML too), and in the variables that it names."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    try:
        found = list(secrets_in(yaml.safe_load(text)))
    except yaml.YAMLError:
        found = list(_of_lines(text))
    for value in found:
        yield value
        for name, fallback in _VARIABLE.findall(value):
            yield environ.get(name, fallback)
    yield from (environ[name] for name, _ in _VARIABLE.findall(text) if name in environ and is_secret(name))


def _of_lines(text: str) -> Iterator[str]:
    """The same in a file that is broken: whatever stands behind a name and a colon."""
    for name, value in re.findall(r"([\w\-]+)[\"']?\s*[:=]\s*[\"']?([^\"'\n,}]+)", text):
        if is_secret(name, value):
            yield value.strip()


def _of_overrides(overrides: Iterable[str]) -> Iterator[str]:
    for override in overrides:
        path, _, value = override.partition("=")
        data: Any = value
        for part in reversed(path.split(".")):
            data = {part: data}
        yield from secrets_in(data)
