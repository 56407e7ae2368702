"""Rules of script mode that depend on the toolkit inside the image.

Framework images carry aws/sagemaker-training-toolkit, the XGBoost image its predecessor aws/sagemaker-containers. Which
version an image carries is not published, so that what some versions do is advice.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sm_tuning.preflight._finding import Finding, place
from sm_tuning.spec import CategoricalParameter, Estimator, TrainingDefinition, Tuning, XGBoostEstimator

#: What a POSIX shell splits, expands or takes for syntax.
_SHELL = re.compile(r"""[\s'"\\$`;&|<>()*?#~!]""")

_ENTRY_FIX = "move the script to the top of source_dir, and name it like a Python module with the ending .py"


def script_problems(tuning: Tuning) -> Iterator[Finding]:
    """Yield what the toolkit of an image would do otherwise than the user expects."""
    for name, definition in tuning.definitions:
        estimator = definition.estimator
        if estimator.is_script_mode:
            yield from _entry_point(name, estimator)
            yield from _arguments(name, definition)
            yield from _prints(name, estimator)


def _entry_point(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    """Yield an entry point that cannot be run as a module, where the toolkit does that."""
    script, where = str(estimator.entry_point), place(name, "estimator.entry_point")
    # Without source_dir, only the file itself is packed, so that its path does not matter.
    shown = posixpath.normpath(script) if estimator.source_dir else Path(script).name
    folder = Path(estimator.source_dir) if estimator.source_dir and "://" not in estimator.source_dir else None
    has_setup = folder is not None and (folder / "setup.py").is_file()
    reason = ""
    if isinstance(estimator, XGBoostEstimator):
        reason = "the XGBoost image runs each script with python -m"
    elif has_setup and not shown.endswith(".sh"):
        reason = "with a setup.py in source_dir, the image's toolkit installs it and runs the script with python -m"
    module = shown.removesuffix(".py")
    if reason and (module == shown or re.search(r"[/.]", module)):
        message = f"{reason}, which cannot run {shown!r}: it is not the file of a module at the top"
        yield Finding("entry-point-module", "error", where, message, _ENTRY_FIX)
    launchers = set(getattr(estimator, "distribution", None) or ())
    if has_setup and launchers & {"torch_distributed", "pytorchddp"}:
        message = f"{', '.join(sorted(launchers))} does not start packages, but source_dir has a setup.py"
        yield Finding("entry-point-module", "error", where, message, "remove setup.py, or add it to ignore_patterns")


def _arguments(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Yield values that do not reach the script as they are."""
    estimator = definition.estimator
    ranges = definition.hyperparameter_ranges.items()
    choices = {key: range_.values for key, range_ in ranges if isinstance(range_, CategoricalParameter)}
    values = {**{key: (value,) for key, value in estimator.hyperparameters.items()}, **choices}
    for key, given in values.items():
        where = place(name, f"hyperparameter_ranges.{key}" if key in choices else f"estimator.hyperparameters.{key}")
        if given == (None,):
            message = f"{key} is null, which the script gets as an empty argument: --{key} ''"
            yield Finding("null-hyperparameter", "advice", where, message, "leave it out, or give a value")
        unsafe = [text for text in (key, *map(_argument, given)) if _SHELL.search(text)]
        # The predecessor of the toolkit, in the XGBoost image, never used a shell for arguments.
        if unsafe and given != (None,) and not isinstance(estimator, XGBoostEstimator):
            message = (
                f"{unsafe[0]!r} has spaces, quotes or other characters of a shell: images whose sagemaker-training is "
                "of October 2021 to 5.1.0, which are most images built before autumn 2025, pass arguments through a "
                "shell, which splits or runs them; from 5.1.4 on they are passed whole"
            )
            fix = "give several plain values, pass a file or an environment variable, or read SM_HPS in the script"
            yield Finding("shell-arguments", "advice", where, message, fix)


def _argument(value: object) -> str:
    """Return a value as the toolkit makes it an argument."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return str(list(value)) if isinstance(value, list | tuple) else str(value)


def _prints(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    """Yield prints of a metric in several pieces, which the toolkit may log as several lines.

    The images write unbuffered, so that print(a, b) writes each argument by itself, and the toolkit ends each piece
    that it reads with a new line (process.py, ``watch``).
    """
    starts = {metric.name: _literal(metric.regex) for metric in estimator.metric_definitions}
    root = Path(estimator.source_dir or estimator.entry_point or "")
    if "://" in str(root) or isinstance(estimator, XGBoostEstimator):
        return
    for path in [root] if root.is_file() else sorted(root.glob("*.py")):
        if path.suffix != ".py":
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
            continue  # another rule reports it
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                text = " ".join(str(item.value) for item in node.args if isinstance(item, ast.Constant))
                metric = next((key for key, start in starts.items() if start and start in text), None)
                if metric is not None and len(node.args) > 1:
                    message = (
                        f"{path.name}:{node.lineno} prints {metric} with several arguments, which unbuffered Python "
                        "writes one by one: the log may have them on several lines, where no expression matches"
                    )
                    fix = 'print one string, such as print(f"loss={loss}", flush=True)'
                    where = place(name, "estimator.entry_point")
                    yield Finding("metric-print", "advice", where, message, fix)


def _literal(regex: str) -> str:
    """Return the text with which all matches of an expression begin; too short a text says nothing."""
    match = re.match(r"[^\\\[\](){}.*+?^$|]*(?![*+?{])", regex)
    text = match[0].strip() if match else ""
    return text if len(text) > 2 else ""
