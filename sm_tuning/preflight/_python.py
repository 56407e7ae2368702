"""What the Python of a training script shows: whether it compiles, and whether it could run on this machine."""

from __future__ import annotations

import ast
import importlib.util
import posixpath
import re
import sys
import tarfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from sm_tuning._errors import Problem, SpecError
from sm_tuning.preflight._finding import Finding, in_order, place
from sm_tuning.spec import Estimator, Tuning

_IMPORTS = "local-imports"

#: Extras that install what scripts import.
_EXTRAS = {"torch": "torch", "xgboost": "local", "sklearn": "local", "scipy": "local", "pyarrow": "parquet"}


def syntax_problems(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    """Yield a Python script that Python cannot compile; the container would fail in its first second."""
    found = _script(estimator)
    if found is None:
        return
    script, code = str(estimator.entry_point), found[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escapes, which are the script's own matter
            compile(code, script, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno} of " if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        message = f"{line}{Path(script).name} cannot be compiled by Python {own}: {reason}"
        # A newer Python, or an unknown one in an image of the user's, may accept it.
        version = re.fullmatch(r"py3(\d+)", getattr(estimator, "py_version", None) or "py30")
        is_sure = (
            getattr(estimator, "image_uri", None) is None
            and version is not None
            and int(version[1]) <= sys.version_info.minor
        )
        fix = "correct the script" if is_sure else "correct the script, unless the Python of the container accepts it"
        yield Finding(
            "script-syntax", "error" if is_sure else "advice", place(name, "estimator.entry_point"), message, fix
        )


def import_findings(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    """Yield packages that the script imports and this machine lacks; the image of the container may have them.

    Only imports that run in every case count: those at the top level of the script. What pip installs from
    requirements.txt before the script starts is not known, so that a script with such a file is taken to be complete.
    """
    found = _script(estimator)
    if found is None or "requirements" in found[1]:
        return
    code, beside = found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # a finding of its own
    modules: dict[str, None] = {}
    for statement in statements:
        if isinstance(statement, ast.Import):
            modules |= dict.fromkeys(alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            modules[statement.module.partition(".")[0]] = None
    script = Path(str(estimator.entry_point)).name
    for module in modules:
        if module in beside or module in sys.stdlib_module_names or sys.modules.get(module) is not None:
            continue
        # A module that is None in sys.modules cannot be imported.
        if module in sys.modules or importlib.util.find_spec(module) is None:
            package = f"'sm-tuning[{_EXTRAS[module]}]'" if module in _EXTRAS else module
            message = f"{script} imports {module}, which is not installed here, so that it cannot run on this machine"
            fix = f"for a run on this machine, pip install {package}"
            yield Finding(_IMPORTS, "not-checked", place(name, "estimator.entry_point"), message, fix)


def for_this_machine(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings as they count for a run on this machine: what it lacks makes the script fail."""
    return in_order(
        item._replace(severity="error", message=f"{item.message}: {item.fix}") if item.code == _IMPORTS else item
        for item in findings
    )


def refuse_missing_imports(tuning: Tuning) -> None:
    """Refuse a tuning job on this machine whose script imports what is not installed: every trial would fail.

    Raises:
        SpecError: names the packages, and what installs them.
    """
    found = [
        finding for name, definition in tuning.definitions for finding in import_findings(name, definition.estimator)
    ]
    if found:
        raise SpecError([Problem(item.code, item.where, f"{item.message}: {item.fix}", item.fix) for item in found])


def _script(estimator: Estimator) -> tuple[bytes, set[str]] | None:
    """Return the code of a Python script that is on this machine, and the names of the modules beside it."""
    script, source = str(estimator.entry_point), estimator.source_dir or ""
    if not estimator.is_script_mode or not script.endswith(".py") or source.startswith("s3://"):
        return None
    if source.endswith(".tar.gz"):
        with tarfile.open(source) as archive:
            members = {posixpath.normpath(member.name): member for member in archive.getmembers()}
            file = archive.extractfile(members[script]) if script in members else None
            code, names = file.read() if file is not None else b"", set(members)
    else:
        path = Path(source, script)
        code, names = path.read_bytes(), {item.name for item in path.parent.iterdir()}
    names |= {Path(path).name for path in estimator.dependencies}
    return code, {posixpath.basename(name).partition(".")[0] for name in names} | {
        name.partition("/")[0] for name in names
    }
