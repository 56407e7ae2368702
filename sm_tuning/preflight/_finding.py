"""Findings, and the findings that an error stands for, without the secrets of the spec."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from sm_tuning._documents import MAX_DEPTH, DocumentError, parse_yaml, read_limited
from sm_tuning._errors import SpecError
from sm_tuning._masking import Redactor, is_secret, secrets_in
from sm_tuning._printable import html_table

#: ``error``: the launch or the job would fail; ``advice``: it wastes time or money; ``not-checked``: only AWS, or a
#: trial run, can tell.
Severity = Literal["error", "advice", "not-checked"]

_ORDER: tuple[Severity, ...] = ("error", "advice", "not-checked")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Finding(NamedTuple):
    """One thing that is wrong, could be better, or could not be checked.

    Attributes:
        code: names the rule, such as ``grid-budget``; does not change between versions.
        severity: an ``error`` would make the launch or the job fail; ``advice`` saves time or money; ``not-checked``
            needs AWS, or a trial run, to be known.
        where: the field, such as ``estimator.source_dir``; empty for the spec as a whole.
        message: what is wrong, with the value.
        fix: what to do.
    """

    code: str
    severity: Severity
    where: str
    message: str
    fix: str = ""

    def _repr_html_(self) -> str:
        return Findings([self])._repr_html_()

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.fix}" if self.fix and self.severity != "error" and self.fix not in text else text


class Findings(list[Finding]):
    """Findings, which a notebook's cell shows as a table."""

    def _repr_html_(self) -> str:
        heads = ("severity", "where", "code", "message", "fix")
        rows = [(item.severity, item.where, item.code, item.message, item.fix) for item in self]
        return html_table(rows, heads) if rows else "<p>no findings</p>"


def in_order(found: Iterable[Finding], secrets: Iterable[str] = ()) -> Findings:
    """Return errors first, then advice, then what was not checked, each once, with every secret masked."""
    clear = Redactor(secrets, shortest=1)
    clean = [item._replace(message=clear(item.message), fix=clear(item.fix)) for item in dict.fromkeys(found)]
    return Findings(sorted(clean, key=lambda item: _ORDER.index(item.severity)))


def place(name: str | None, field: str) -> str:
    """Return the place of a definition's field: below ``estimators.NAME`` if the job has several."""
    return f"estimators.{name}.{field}" if name else field


def findings_of(error: SpecError, code: str = "spec") -> list[Finding]:
    """Return the findings that an error stands for.

    Args:
        error: what was raised.
        code: of problems whose rule has no code of its own.
    """
    return [
        Finding(item.code or code, "error", item.where, item.message, item.fix or f"correct {item.where or 'the spec'}")
        for item in error.details
    ]


def unreadable(
    error: SpecError, file: Path, *, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return the findings of a spec file that cannot be read, or breaks a rule.

    Args:
        error: what ``load`` raised.
        file: the spec file.
        overrides: as given to ``load``.
        environ: values for ``${VAR}``; by default the process's environment.
    """
    secrets = set(_secrets_of(file, os.environ if environ is None else environ))
    for override in overrides:
        path, _, value = override.partition("=")
        data: Any = value
        for part in reversed(path.split(".")[-MAX_DEPTH:]):
            data = {part: data}
        secrets |= set(secrets_in(data))
    return in_order(findings_of(error), secrets)


def _secrets_of(file: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets in a file, as far as it can be read, and in the variables that it names."""
    try:
        text = read_limited(file)
    except (OSError, ValueError):
        return
    try:
        found = list(secrets_in(parse_yaml(text)))  # JSON is YAML too
    except (yaml.YAMLError, DocumentError):
        # In a broken file, whatever stands behind a name and a colon may be a value.
        pairs = re.findall(r"(?<![\w\-])([\w\-]+)[\"']?\s*[:=]\s*[\"']?([^\"'\n,}]+)", text)
        found = [value.strip() for name, value in pairs if is_secret(name, value)]
    for value in found:
        yield value
        for name, fallback in _VARIABLE.findall(value[: value.rfind("}") + 1]):
            yield environ.get(name, fallback)
    yield from (
        environ[name]
        for name, _ in _VARIABLE.findall(text[: text.rfind("}") + 1])
        if name in environ and is_secret(name)
    )
