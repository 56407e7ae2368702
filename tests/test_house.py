"""Rules of the house that a machine can hold: sizes, where clients are made, what stays out of the code."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from sm_tuning import _statuses as statuses

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "sm_tuning").rglob("*.py"))

#: Files of more than 500 lines: one class that is one subject; the file says so at its top.
LONGER = {"sm_tuning/_handle.py": 820}


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of a file, which is parsed once for all rules."""
    return list(ast.walk(ast.parse(text_of(path))))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Keep the garbage collector from half a million parsed objects, and forget them afterwards."""
    gc.disable()
    yield
    nodes_of.cache_clear()
    gc.enable()


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in nodes_of(path) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files_functions_and_signatures_stay_small() -> None:
    names = {path: str(path.relative_to(ROOT)) for path in PACKAGE}
    lines = {name: text_of(path).count("\n") for path, name in names.items()}
    bodies = {f"{name}: {f.name}": body_lines(f) for path, name in names.items() for f in functions(path)}

    assert [(name, count) for name, count in lines.items() if count > LONGER.get(name, 500)] == []
    assert [(name, count) for name, count in bodies.items() if count > 50] == []


@pytest.mark.parametrize("name", ["_best", "_handle", "_launch"])
def test_methods_of_a_job_have_many_options_as_keywords_only(name: str) -> None:
    """The linter's limit on parameters does not hold for these files; it does for parameters without a keyword."""
    found = functions(ROOT / "sm_tuning" / f"{name}.py")

    assert [f.name for f in found if len(f.args.args) > 8] == []


def test_clients_are_made_in_one_place_on_our_side_of_the_wire() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for path in PACKAGE
        if "local" not in path.relative_to(ROOT).parts
        and re.search(r"boto3\.(client|resource|Session|session)|\.client\(", text_of(path))
    }

    assert len(makers) == 1
    assert next(iter(makers)).startswith("sm_tuning/aws/")


def test_statuses_are_spelled_in_one_module() -> None:
    kinds = (statuses.TuningStatus, statuses.TrainingStatus, statuses.ObjectiveStatus, statuses.EndpointStatus)
    words = {str(status) for kind in kinds for status in kind}
    found = []
    for path in (path for path in PACKAGE if path.name != "_statuses.py"):
        lines = text_of(path).splitlines()
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
            for node in nodes_of(path)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value in words
            # A column, a counter or the name of a state may be the same word; its line says so.
            and "# not a status" not in lines[node.lineno - 1]
        ]

    assert found == []


def test_packages_see_the_public_names_of_each_other() -> None:
    private = re.compile(r"from sm_tuning\.(\w+)(?:\.\w+)*\._\w+ import|from sm_tuning\.(\w+)(?:\.\w+)* import _")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in PACKAGE
        for line in text_of(path).splitlines()
        for match in private.finditer(line)
        if (match[1] or match[2]) not in path.relative_to(ROOT).parts
    ]

    # The lazy names of the package itself may come from any module.
    assert [line for line in found if not line.startswith("sm_tuning/__init__.py")] == []


def test_no_placeholder_is_left() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in PACKAGE
        if re.search(r"NotImplementedError|[Pp]laceholder|TODO|FIXME|\bXXX\b", text_of(path))
    ]

    assert found == []


def test_percentages_have_one_form() -> None:
    """``5%``, as Python formats it and the gate reads it: two forms in one sentence look like two things."""
    texts = [*(ROOT / "sm_tuning").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    assert [str(path) for path in texts if re.search(r"[0-9}] %", text_of(path))] == []


def test_no_test_replaces_our_own_code() -> None:
    own = re.compile(r"(patch(\.object)?\(|setattr\()\s*[\"']?sm_tuning|MagicMock\(|\bMock\(")
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path != Path(__file__) and own.search(text_of(path))
    ]

    assert found == []


#: Packages whose private modules a folder of tests may import, where they are not the package of its name.
TESTED = {
    "deploy_cdk": ("deploy",),
    "exports": ("views.exports",),
    "local": ("local", "executor", "strategies"),
    "sdk": ("deploy",),
}
#: What is imported beside these and beside the small shared facts. A test that can use public names is not among them.
BESIDE: dict[str, set[str]] = {
    "": {"local._moto", "local._server"},
    "cases": {"executor._metrics"},
    "clients": {"executor._command", "executor._hosts"},
    "deploy_cdk": {"cli._init"},
    "gate": {"cli._init", "cli._jobs"},
    "notebooks": {"preflight._finding", "results._failures", "results._schema"},
    "preflight": {"request._model"},
    "results": {"cli._output", "views._watch"},
    "sdk": {"executor._environment"},
    "studies": {"cli._main", "views._lineage"},
    "views": {"results._schema", "results._trials"},
}


def private_modules(path: Path) -> set[str]:
    """The private modules of the package that a file imports: ``local._config``, ``_wire``."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sm_tuning":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "sm_tuning"]
        else:
            continue
        for parts in (name.split(".")[1:] for name in names):
            private = [place for place, part in enumerate(parts) if re.match("_[^_]", part)]
            if private:
                found.add(".".join(parts[: private[0] + 1]))
    return found


def test_tests_import_the_private_modules_that_they_test_and_no_others() -> None:
    tests = ROOT / "tests"
    found: dict[str, set[str]] = {}
    for path in tests.rglob("*.py"):
        folder = path.relative_to(tests).parts[0] if path.parent != tests else ""
        own = tuple(f"{package}." for package in TESTED.get(folder, (folder,)))
        for name in private_modules(path):
            if "." in name and not name.startswith(own) and name not in BESIDE.get(folder, ()):
                found.setdefault(folder, set()).add(name)

    assert found == {}


def test_programs_that_no_type_checker_reads_import_names_that_exist() -> None:
    missing = []
    for path in (ROOT / "benchmarks").rglob("*.py"):
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchmarks":
                home = ROOT.joinpath(*str(node.module).split("."))
                source = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
                known = {*top_level(source), *(module.stem for module in home.glob("*"))}
                missing += [f"{path.relative_to(ROOT)}: {a.name}" for a in node.names if a.name not in known]

    assert missing == []


def top_level(path: Path) -> Iterator[str]:
    """The names that a module defines or imports, at its top."""
    for node in ast.parse(text_of(path)).body if path.exists() else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))


def test_modules_that_tests_share_are_told_apart_by_their_names() -> None:
    helpers = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    importers = [
        str(path.relative_to(ROOT))
        for path in helpers
        if re.search(r"^(from|import) conftest\b", text_of(path), re.MULTILINE)
    ]

    assert importers == []
    assert sorted({path.name for path in helpers}) == sorted(path.name for path in helpers)


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        name
        for extra, names in project["optional-dependencies"].items()
        if extra not in ("dev", "test")
        for name in names
    ]
    declared = {re.split(r"[\[<>=]", text)[0].lower().replace("_", "-") for text in [*project["dependencies"], *extras]}
    known = {"sm_tuning", "_typeshed", *declared, *sys.stdlib_module_names}
    for name in declared:
        with contextlib.suppress(metadata.PackageNotFoundError):
            known |= {file.parts[0].removesuffix(".py") for file in metadata.files(name) or ()}
    imported = set()
    for path in PACKAGE:
        for node in nodes_of(path):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported |= {str(name).partition(".")[0] for name in names}

    assert imported - known == set()
