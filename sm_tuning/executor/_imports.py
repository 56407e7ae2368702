"""The imports with which a script begins, read from its source without running it.

A template may execute them before a trial only if nothing that the script does before them could change what they do: a
script that sets ``OMP_NUM_THREADS`` or a warning filter between two imports has its first import read, and no more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

#: Packages that read the training job's folders or variables when they are imported.
_TIED_TO_A_JOB = ("sagemaker", "smdebug", "smdistributed", "smexperiments")
#: What a package imports when a part of it is first used, in a second or more, and the word for that use.
_LATER = {"torch": ("optim", "import torch._dynamo")}
#: Code that sets environment variables, which a later import may read.
_SETS_VARIABLES = re.compile(
    r"environ\s*\[[^\]]*\]\s*=(?!=)|environ\s*\|=|environ\.(clear|pop|setdefault|update)|\bdel\b.*environ|dotenv|setenv|putenv"
)
#: Expressions without effects. Of calls, only those below.
_EFFECTLESS = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.Set),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.Starred),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.comprehension, ast.Call, ast.keyword),
    *(ast.Lambda, ast.arguments, ast.arg, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_CALLS = frozenset(
    {
        *("dataclass", "dataclasses.dataclass", "field", "dataclasses.field", "namedtuple", "collections.namedtuple"),
        *("re.compile", "logging.getLogger", "Path", "pathlib.Path", "TypeVar", "typing.TypeVar"),
        *("dict", "frozenset", "list", "set", "tuple", "range", "cache", "lru_cache", "functools.cache"),
        *("functools.lru_cache", "property", "staticmethod", "classmethod", "contextmanager"),
        *("contextlib.contextmanager", "torch.no_grad", "torch.inference_mode"),
    }
)


def leading_imports(program: Path) -> tuple[str, ...]:
    """Return the import statements of other packages that a script executes before anything else with an effect.

    Modules in the script's folder are followed, as they belong to the script. A file that cannot be read or parsed has
    none.
    """
    found: list[str] = []
    _collect(program, found, set())
    return tuple(dict.fromkeys(found))


def later_imports(program: Path, imports: Sequence[str]) -> tuple[str, ...]:
    """Return what the packages of these statements import when the script uses them, as import statements.

    If code of the script's folder sets variables, these imports may read them, so that nothing is imported.
    """
    packages = {statement.split()[1].partition(".")[0] for statement in imports}
    wanted = [_LATER[package] for package in sorted(packages & _LATER.keys())]
    texts = [path.read_text("utf-8", "replace") for path in program.parent.rglob("*.py") if path.is_file() and wanted]
    if any(map(_SETS_VARIABLES.search, texts)):
        return ()
    return tuple(statement for word, statement in wanted if any(word in text for text in texts))


def _collect(path: Path, found: list[str], seen: set[Path]) -> bool:
    """Add the imports of a file; return whether all its statements are without other effects."""
    seen.add(path)
    try:
        imports, is_effectless = _imports(path.read_bytes())
    except OSError:
        return False
    return all(_add(module, statement, path.parent, found, seen) for module, statement in imports) and is_effectless


@lru_cache(maxsize=256)  # all trials of a tuning job have the same files
def _imports(source: bytes) -> tuple[Sequence[tuple[str, str]], bool]:
    """Return the modules and statements of the imports before any other effect, and whether there is no such effect."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return (), False
    found: list[tuple[str, str]] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [(alias.name, f"import {alias.name}") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            names = [alias.name for alias in node.names]
            statement = f"import {node.module}" if "*" in names else f"from {node.module} import {', '.join(names)}"
            found += [(node.module, statement)] * (node.module != "__future__")
        elif not _is_effectless(node):
            return found, False
    return found, True


def _add(module: str, statement: str, folder: Path, found: list[str], seen: set[Path]) -> bool:
    top = module.partition(".")[0]
    file = folder / f"{top}.py"
    if file.is_file():
        return file in seen or _collect(file, found, seen)
    if top.startswith(_TIED_TO_A_JOB) or (folder / top).is_dir() or any(folder.glob(f"{top}.*")):
        return False
    found.append(statement)
    return True


def _is_effectless(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = node.args
        evaluated = [*arguments.defaults, *filter(None, arguments.kw_defaults), *filter(None, [node.returns])]
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        evaluated += [argument.annotation for argument in every if argument is not None and argument.annotation]
        return _have_no_effect(evaluated) and all(map(_is_known_decorator, node.decorator_list))
    if isinstance(node, ast.ClassDef):
        bases = [*node.bases, *(keyword.value for keyword in node.keywords)]
        known = all(map(_is_known_decorator, node.decorator_list))
        return known and _have_no_effect(bases) and all(map(_is_effectless, node.body))
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets) and _have_no_effect([node.value])
    if isinstance(node, ast.AnnAssign):
        values = [node.annotation, *([node.value] if node.value else [])]
        return isinstance(node.target, ast.Name) and _have_no_effect(values)
    if isinstance(node, ast.If):  # ``if TYPE_CHECKING:`` does nothing when the script runs
        test = node.test
        name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
        return name == "TYPE_CHECKING" and not node.orelse
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _have_no_effect(expressions: Sequence[ast.expr]) -> bool:
    nodes = [node for expression in expressions for node in ast.walk(expression)]
    return all(
        isinstance(node, _EFFECTLESS) and (not isinstance(node, ast.Call) or ast.unparse(node.func) in _CALLS)
        for node in nodes
    )


def _is_known_decorator(node: ast.expr) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(function) in _CALLS and _have_no_effect([node])
