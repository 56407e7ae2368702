"""Spec files: YAML or JSON in, a ``Tuning`` out, and back; and their JSON Schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sm_tuning._errors import Problem, SpecError
from sm_tuning._files import write_atomic
from sm_tuning.spec._inputs import Input
from sm_tuning.spec._tuning import TrainingDefinition, Tuning

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$(\$\{)")

_SYNTAX_FIX = "write a mapping of fields"
_UNREADABLE_FIX = "give the path of a readable spec file"


def load(
    path: str | os.PathLike[str], *, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> Tuning:
    """Read a spec file.

    Args:
        path: a ``.yaml``, ``.yml`` or ``.json`` file; paths inside are relative to it.
        overrides: ``PATH=VALUE`` strings, such as ``max_jobs=5`` or ``estimator.hyperparameters.num_round=10``;
            the value is read as YAML.
        environ: values for ``${VAR}`` and ``${VAR:-fallback}``; the process's environment when left out. ``$${`` is
            a plain ``${``.

    Raises:
        SpecError: when the file is missing, is not YAML or JSON, names an unknown variable, or breaks a rule.
    """
    path = Path(path)
    data = read_data(path)
    if not isinstance(data, dict):
        message = f"a spec file holds a mapping of fields, but this holds {type(data).__name__}"
        raise SpecError(Problem("file-syntax", "", message, _SYNTAX_FIX), source=str(path))
    data = _substitute(data, os.environ if environ is None else environ, str(path))
    for override in overrides:
        _set(data, override)
    return Tuning.parse(_map_paths(data, lambda text: _absolute(text, path.parent)), where=str(path))


def as_tuning(tuning: Tuning | str | os.PathLike[str]) -> Tuning:
    """Return a spec as it is, and the one of a file by its path.

    Raises:
        SpecError: it is neither, or as ``load``.
    """
    if isinstance(tuning, Tuning):
        return tuning
    if isinstance(tuning, str | os.PathLike):
        return load(tuning)
    raise SpecError(f"a Tuning, or the path of a spec file, is needed here, but got {type(tuning).__name__}")


def dump(tuning: Tuning, path: str | os.PathLike[str]) -> Path:
    """Write a spec file that ``load`` reads back to an equal ``Tuning``; fields at their default are left out.

    Raises:
        SpecError: when the ending is not ``.yaml``, ``.yml`` or ``.json``.
    """
    path = Path(path)
    data = _map_paths(to_data(tuning), lambda text: _relative(text, path.parent))
    data = _map_strings(data, lambda text: text.replace("${", "$${"))
    if path.suffix == ".json":
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    elif path.suffix in {".yaml", ".yml"}:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    else:
        raise SpecError(f"a spec file ends in .yaml, .yml or .json, but got {str(path)!r}")
    write_atomic(path, text)
    return path


def to_data(tuning: Tuning) -> dict[str, Any]:
    """The spec as plain data, fields at their default left out; ``Tuning.parse`` reads it back."""
    data: dict[str, Any] = tuning.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    holders: list[tuple[dict[str, Any], Tuning | TrainingDefinition]] = [(data, tuning)]
    holders += [(data["estimators"][name], definition) for name, definition in tuning.estimators.items()]
    for holder, source in holders:
        if source.estimator is not None:
            holder["estimator"] = {"type": source.estimator.type, **holder["estimator"]}
        for name, range_ in source.hyperparameter_ranges.items():
            data_range = holder["hyperparameter_ranges"][name]
            holder["hyperparameter_ranges"][name] = {"type": range_.type, **data_range}
        for name, channel in (holder.get("inputs") or {}).items():
            if set(channel) == {"uri"} or channel == _guessed(channel):
                holder["inputs"][name] = channel["uri"]
    return data


def _guessed(channel: dict[str, Any]) -> dict[str, Any]:
    """The channel that its URI alone would give."""
    if "uri" not in channel:
        return {}
    return Input(uri=channel["uri"]).model_dump(mode="json", exclude_defaults=True)


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Tuning.model_json_schema(by_alias=True),
        "title": "sm_tuning spec file",
    }


def read_data(path: Path, what: str = "spec file") -> Any:
    """What a YAML or JSON file holds; errors call it by ``what`` it is.

    Raises:
        SpecError: when the file cannot be read, or is not YAML or JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot read the {what} {str(path)!r}: {error.strerror or error}"
        raise SpecError(Problem("file-unreadable", "", message, _UNREADABLE_FIX)) from error
    except UnicodeDecodeError as error:
        message = f"a {what} is UTF-8 text, but byte {error.start} is not"
        raise SpecError(Problem("file-unreadable", "", message, _UNREADABLE_FIX), source=str(path)) from error
    try:
        return json.loads(text, object_pairs_hook=_pairs) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        message = f"this is not {kind}: {_why(error)}"
        raise SpecError(Problem("file-syntax", "", message, _SYNTAX_FIX), source=str(path)) from error


def _why(error: Exception) -> str:
    """What is wrong with a file's syntax. The line itself, which may hold a secret, is taken out of the error too."""
    if isinstance(error, yaml.MarkedYAMLError):
        for place in filter(None, (error.problem_mark, error.context_mark)):
            place.buffer = None
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return f"{said} in line {mark.line + 1}, column {mark.column + 1}" if mark else said
    return " ".join(str(error).split())


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys stand once."""
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"the key {key!r} stands twice")
        data[key] = value
    return data


class _Loader(yaml.SafeLoader):
    """YAML without surprises: ``1e-5`` is a number, and a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str | int | float | bool) else id(key))
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _map_strings(data: Any, change: Callable[[str], str]) -> Any:
    if isinstance(data, dict):
        return {key: _map_strings(value, change) for key, value in data.items()}
    if isinstance(data, list):
        return [_map_strings(value, change) for value in data]
    return change(data) if isinstance(data, str) else data


def _substitute(data: Any, environ: Mapping[str, str], where: str) -> Any:
    """Replace ``${VAR}``; a value that is nothing else is read as YAML, so that numbers stay numbers."""

    def value_of(match: re.Match[str]) -> str:
        name, fallback, escaped = match.groups()
        if escaped:
            return str(escaped)
        if name in environ:
            return environ[name]
        if fallback is None:
            message = f"the variable ${{{name}}} is not set; set it, or write ${{{name}:-fallback}}"
            fix = "set the variable, or write ${NAME:-fallback}"
            raise SpecError(Problem("variable-unset", "", message, fix), source=where)
        return str(fallback)

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        if not isinstance(node, str) or "${" not in node:
            return node
        text = _VARIABLE.sub(value_of, node)
        return _scalar(text) if _VARIABLE.fullmatch(node) else text

    return walk(data)


def _scalar(text: str) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError:
        return text
    return text if value is None or isinstance(value, dict | list) else value


def read_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """What ``PATH=VALUE`` strings say, as nested fields.

    Raises:
        SpecError: when one is not of that form.
    """
    data: dict[str, Any] = {}
    for override in overrides:
        _set(data, override)
    return data


def _set(data: dict[str, Any], override: str) -> None:
    """Apply one ``PATH=VALUE`` in place.

    Raises:
        SpecError: when it is not of that form, or the path goes through a value that is not a mapping.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        message = f"an override has the form PATH=VALUE, such as max_jobs=5, but got {override!r}"
        raise SpecError(Problem("override", "", message, "write --set PATH=VALUE"))
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError:
        value = text
    *parents, last = dotted.split(".")
    node: Any = data
    for part in parents:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        message = f"the override {dotted!r} goes through a value that has no fields"
        raise SpecError(Problem("override", "", message, "write --set PATH=VALUE"))
    node[last] = value


def _map_paths(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Apply ``change`` to every local path of a spec: sources, dependencies, and input channels."""
    data = dict(data)
    holders = [data]
    if isinstance(data.get("estimators"), dict):
        data["estimators"] = {k: dict(v) if isinstance(v, dict) else v for k, v in data["estimators"].items()}
        holders += [value for value in data["estimators"].values() if isinstance(value, dict)]
    for holder in holders:
        if isinstance(holder.get("estimator"), dict):
            holder["estimator"] = _estimator_paths(dict(holder["estimator"]), change)
        if isinstance(holder.get("inputs"), dict):
            holder["inputs"] = {name: _channel_path(value, change) for name, value in holder["inputs"].items()}
        elif isinstance(holder.get("inputs"), str):
            holder["inputs"] = change(holder["inputs"])
    return data


def _estimator_paths(estimator: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    names = ("source_dir",) if estimator.get("source_dir") else ("entry_point",)
    for name in names:
        if isinstance(estimator.get(name), str):
            estimator[name] = change(estimator[name])
    if isinstance(estimator.get("dependencies"), list):
        estimator["dependencies"] = [change(d) if isinstance(d, str) else d for d in estimator["dependencies"]]
    return estimator


def _channel_path(channel: Any, change: Callable[[str], str]) -> Any:
    if isinstance(channel, str):
        return change(channel)
    if isinstance(channel, dict) and isinstance(channel.get("uri"), str):
        return {**channel, "uri": change(channel["uri"])}
    return channel


def _absolute(text: str, folder: Path) -> str:
    if "://" in text:
        return text
    return str(Path(os.path.normpath(folder.absolute() / Path(text).expanduser())))


def _relative(text: str, folder: Path) -> str:
    if "://" in text:
        return text
    return Path(os.path.relpath(Path(text).expanduser().absolute(), folder.absolute())).as_posix()
