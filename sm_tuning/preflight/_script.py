"""What the files of script mode show before a trial runs: whether a script can start, and what it prints and reads.

Framework images carry aws/sagemaker-training-toolkit, the XGBoost image its predecessor aws/sagemaker-containers. Which
version an image carries is not published, so that what some versions do is advice.
"""

from __future__ import annotations

import ast
import importlib.util
import posixpath
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from re import _parser as regex_parser  # type: ignore[attr-defined]  # what re.compile parses with has no public name
from typing import NamedTuple

from sm_tuning._errors import Problem, SpecError
from sm_tuning.preflight._finding import Finding, in_order, place
from sm_tuning.request import source_files
from sm_tuning.spec import AnyEstimator, CategoricalParameter, Estimator, TrainingDefinition, Tuning, XGBoostEstimator

_IMPORTS = "local-imports"

#: Extras that install what scripts import.
_EXTRAS = {"torch": "torch", "xgboost": "local", "sklearn": "local", "scipy": "local", "pyarrow": "parquet"}

#: Packages that print no metrics and read no channels by themselves: what a script prints stands in its own text.
_QUIET = {
    *("boto3", "botocore", "joblib", "matplotlib", "numpy", "pandas", "PIL", "pyarrow", "scipy", "sklearn", "torch"),
    *("torchvision", "yaml"),
}

#: Packages that print metrics, but read no channels by themselves.
_LOUD = {
    *("accelerate", "catboost", "datasets", "evaluate", "fastai", "keras", "lightgbm", "lightning", "peft", "timm"),
    *("pytorch_lightning", "tensorflow", "torchmetrics", "tqdm", "transformers", "ultralytics", "xgboost"),
}

#: Ways to run code that is in none of the files.
_RUNNERS = {"importlib", "runpy", "subprocess"}
_RUNS = re.compile(r"\bos\.(system|exec|popen|spawn)|(?<![.\w])(exec|eval|__import__)\(")

#: With any of these words a script may find its channels (aws/sagemaker-training-toolkit; the container contract).
#: The last one stands for names that are put together, such as f"SM_CHANNEL_{name}".
_CHANNEL_WORDS = re.compile(
    r"SM_CHANNELS|SM_INPUT_DIR|SM_TRAINING_ENV|SM_INPUT_DATA_CONFIG|/opt/ml/input|input/data|inputdataconfig"
    r"|Environment\(|SM_CHANNEL_?(?![A-Z0-9_])"
)

#: What a POSIX shell splits, expands or takes for syntax.
_SHELL = re.compile(r"""[\s'"\\$`;&|<>()*?#~!]""")

_ENTRY_FIX = "move the script to the top of source_dir, and name it like a Python module with the ending .py"


def script_problems(tuning: Tuning) -> Iterator[Finding]:
    """Yield what the toolkit of an image would do otherwise than the user expects, as the spec alone shows it."""
    for name, definition in tuning.definitions:
        estimator = definition.estimator
        if estimator.is_script_mode:
            yield from _entry_point(name, estimator)
            yield from _arguments(name, definition)


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


def source_problems(tuning: Tuning) -> Iterator[Finding]:
    """Yield what the files of scripts show.

    Raises:
        SpecError: if they cannot be read.
    """
    for name, definition in tuning.definitions:
        source = _Source.of(definition.estimator)
        if source is None:
            continue
        yield from _syntax(name, definition.estimator, source)
        yield from _missing_imports(name, source)
        yield from _short_names(name, definition, source)
        yield from _split_prints(name, definition.estimator, source)
        yield from _unprinted_metrics(name, definition, source)
        yield from _unread_channels(name, definition, source)


def for_this_machine(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings as they count for a run on this machine: what it lacks makes the script fail."""
    return in_order(
        item._replace(severity="error", message=f"{item.message}: {item.fix}") if item.code == _IMPORTS else item
        for item in findings
    )


def refuse_missing_imports(tuning: Tuning) -> None:
    """Refuse a tuning job on this machine whose script imports what is not installed: every trial would fail.

    Raises:
        SpecError: names the packages, and what installs them; or the files cannot be read.
    """
    sources = {name: _Source.of(definition.estimator) for name, definition in tuning.definitions}
    found = [
        finding for name, source in sources.items() if source is not None for finding in _missing_imports(name, source)
    ]
    if found:
        raise SpecError([Problem(item.code, item.where, f"{item.message}: {item.fix}", item.fix) for item in found])


class _Source(NamedTuple):
    """The files of a script on this machine.

    Attributes:
        script: the name of the script.
        files: contents by name; empty for what is neither code nor settings.
        code: the Python files that can be parsed.
        beside: names of modules that the script can import from its folder.
    """

    script: str
    files: Mapping[str, bytes]
    code: Mapping[str, ast.Module]
    beside: frozenset[str]

    @classmethod
    def of(cls, estimator: AnyEstimator) -> _Source | None:
        """Return the files of an estimator; None without a script, or if it is in S3.

        Raises:
            SpecError: if they cannot be read.
        """
        if not estimator.is_script_mode or (estimator.source_dir or "").startswith("s3://"):
            return None
        path, files = Path(str(estimator.entry_point)).expanduser(), source_files(estimator)
        names = set(files) | (set() if estimator.source_dir else {item.name for item in path.parent.iterdir()})
        code = {}
        for name in [name for name in files if name.endswith(".py")]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # such as invalid escapes, which are the script's own matter
                    code[name] = ast.parse(files[name])
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # of the script itself, a finding of its own
        modules = {posixpath.basename(name).partition(".")[0] for name in names}
        modules |= {name.partition("/")[0] for name in names}
        script = posixpath.normpath(str(estimator.entry_point)) if estimator.source_dir else path.name
        return cls(script, files, code, frozenset(modules))

    @property
    def text(self) -> str:
        """The text of all files."""
        return "\n".join(content.decode(errors="replace") for content in self.files.values())

    def runs_only(self, packages: set[str]) -> bool:
        """Return whether all code that runs is in the files, in Python's library, or in some packages."""
        nodes = [node for tree in self.code.values() for node in ast.walk(tree)]
        modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        imported = {module.partition(".")[0] for module in modules} - self.beside
        known = (packages | sys.stdlib_module_names) - _RUNNERS
        return self.script in self.code and imported <= known and not _RUNS.search(self.text)


def _imported(statement: ast.stmt) -> list[str]:
    """Return the top-level names of the packages that a statement imports."""
    if isinstance(statement, ast.Import):
        return [alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
        return [statement.module.partition(".")[0]]
    return []


def _syntax(name: str | None, estimator: Estimator, source: _Source) -> Iterator[Finding]:
    """Yield a Python script that Python cannot compile; the container would fail in its first second."""
    if not source.script.endswith(".py"):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source.files[source.script], source.script, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno} of " if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        message = f"{line}{Path(source.script).name} cannot be compiled by Python {own}: {reason}"
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


def _missing_imports(name: str | None, source: _Source) -> Iterator[Finding]:
    """Yield packages that a script imports, and this machine does not have.

    Only imports that run in every case count: those at the top level of the script. What pip installs from
    requirements.txt before the script starts is not known, so that a script with such a file is taken to be complete.
    """
    if source.script not in source.code or "requirements" in source.beside:
        return
    script = Path(source.script).name
    for module in dict.fromkeys(module for item in source.code[source.script].body for module in _imported(item)):
        if module in source.beside or module in sys.stdlib_module_names or sys.modules.get(module) is not None:
            continue
        # A module that is None in sys.modules cannot be imported.
        if module in sys.modules or importlib.util.find_spec(module) is None:
            package = f"'sm-tuning[{_EXTRAS[module]}]'" if module in _EXTRAS else module
            message = f"{script} imports {module}, which is not installed here, so that it cannot run on this machine"
            fix = f"for a run on this machine, pip install {package}"
            yield Finding(_IMPORTS, "not-checked", place(name, "estimator.entry_point"), message, fix)


def _short_names(name: str | None, definition: TrainingDefinition, source: _Source) -> Iterator[Finding]:
    """Yield hyperparameters of one letter that the script seems to expect with two hyphens."""
    fields = {"estimator.hyperparameters": definition.estimator.hyperparameters}
    for field, keys in {**fields, "hyperparameter_ranges": definition.hyperparameter_ranges}.items():
        for key in (key for key in keys if len(key) == 1):
            # A script may also read SM_HPS, or SM_HP_ and the name.
            if not re.search(rf"[\"']-{re.escape(key)}[\"']|SM_HP", source.text):
                message = f"{key} has one letter, so that the images start the script with -{key}, not --{key}"
                fix = f"let the script accept -{key} too, or give a longer name"
                yield Finding("short-hyperparameter", "advice", place(name, f"{field}.{key}"), message, fix)


def _split_prints(name: str | None, estimator: Estimator, source: _Source) -> Iterator[Finding]:
    """Yield prints of a metric in several pieces, which the toolkit may log as several lines.

    The images write unbuffered, so that print(a, b) writes each argument by itself, and the toolkit ends each piece
    that it reads with a new line (process.py, ``watch``).
    """
    if isinstance(estimator, XGBoostEstimator):
        return
    texts = {metric.name: max(_required(metric.regex), key=len, default="") for metric in estimator.metric_definitions}
    starts = {key: text.strip() for key, text in texts.items() if len(text.strip()) > 2}  # less says nothing
    for file, tree in source.code.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                text = " ".join(str(item.value) for item in node.args if isinstance(item, ast.Constant))
                metric = next((key for key, start in starts.items() if start in text), None)
                if metric is not None and len(node.args) > 1:
                    message = (
                        f"{file}:{node.lineno} prints {metric} with several arguments, which unbuffered Python "
                        "writes one by one: the log may have them on several lines, where no expression matches"
                    )
                    fix = 'print one string, such as print(f"loss={loss}", flush=True)'
                    where = place(name, "estimator.entry_point")
                    yield Finding("metric-print", "advice", where, message, fix)


def _required(regex: str) -> list[str]:
    """Return texts that each match of a regular expression has, as far as its outermost level shows them."""
    parsed = regex_parser.parse(regex)
    if parsed.state.flags & re.IGNORECASE:
        return []
    runs = [""]
    for operation, value in parsed:
        if str(operation) == "LITERAL":
            runs[-1] += chr(value)
        elif str(operation) != "AT":  # an edge such as \b or ^ has no text of its own
            runs.append("")
    return [run for run in runs if run]


def _unprinted_metrics(name: str | None, definition: TrainingDefinition, source: _Source) -> Iterator[Finding]:
    """Yield metrics whose expression needs a word that is nowhere in the script, nor in what the spec gives it.

    Only scripts whose packages print nothing by themselves are judged. Words are compared, and not whole texts, since a
    script may put a name together: f"{part}_loss".
    """
    estimator = definition.estimator
    if not source.runs_only(_QUIET):
        return
    choices = {key: getattr(range_, "values", ()) for key, range_ in definition.hyperparameter_ranges.items()}
    given = (estimator.hyperparameters, estimator.environment, choices)
    text = f"{source.text} {given}".lower()
    for metric in estimator.metric_definitions:
        words = [word for run in _required(metric.regex) for word in re.findall(r"[A-Za-z][A-Za-z0-9]{2,}", run)]
        missing = next((word for word in words if word.lower() not in text), None)
        if missing is not None:
            message = f"the expression {metric.regex!r} needs the word {missing!r}, which the script never prints"
            fix = "print a line that it matches, or correct it; check --smoke shows what is printed"
            where = place(name, f"estimator.metric_definitions.{metric.name}")
            yield Finding("metric-unprinted", "advice", where, message, fix)


def _unread_channels(name: str | None, definition: TrainingDefinition, source: _Source) -> Iterator[Finding]:
    """Yield channels that no line of the script seems to read."""
    text = source.text
    if _CHANNEL_WORDS.search(text) or not (source.script.endswith(".sh") or source.runs_only(_QUIET | _LOUD)):
        return
    for channel in definition.inputs or {}:
        variable = f"SM_CHANNEL_{channel.upper()}"
        # Libraries for settings read the variable for a field such as channel_train.
        if f"channel_{channel}".lower() not in text.lower() and not re.search(rf"--{re.escape(channel)}\b", text):
            message = f"the script names neither {variable} nor the channel's folder"
            fix = f"read the data from os.environ['{variable}'], or leave the channel out"
            yield Finding("channel-unread", "advice", place(name, f"inputs.{channel}"), message, fix)
