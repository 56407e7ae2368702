"""Write docs/spec.md from the classes that read a spec file, or compare the two.

python docs/make_spec.py            write the page
python docs/make_spec.py --check    say what differs, and leave with 1 if something does
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generated import settle

import sm_tuning as smt

PAGE = Path(__file__).with_name("spec.md")

INTRODUCTION = """\
# The spec file

Written by `python docs/make_spec.py` from the classes that read it: change their docstrings, not this page.

A spec file is YAML or JSON; `sm-tuning schema` prints its JSON Schema, with which an editor completes and checks it.
In Python the same fields are the arguments of [`smt.Tuning`](quickstart-notebook.md) and of the estimators.

```yaml
estimator:
  type: xgboost
  version: 1.7-1
  instance_type: ml.m5.large
  hyperparameters: {objective: reg:squarederror, num_round: 100}
inputs: {train: data/train.csv, validation: s3://my-bucket/validation.csv}
objective_metric_name: validation:rmse
objective_type: Minimize
hyperparameter_ranges:
  eta: {type: continuous, min_value: 0.01, max_value: 0.5, scaling_type: Logarithmic}
  max_depth: {type: integer, min_value: 2, max_value: 10}
max_jobs: ${JOBS:-20}
max_parallel_jobs: 2
```

- **Paths** are relative to the file. What is local is uploaded when the job is launched.
- **Unknown keys** are errors that name the nearest key.
- **Variables**: `${NAME}` is replaced by the environment variable, `${NAME:-text}` falls back to the text, and `$${`
  is a plain `${`. This is how a secret gets into a job without standing in the file.
- **Overrides**: `--set estimator.hyperparameters.num_round=10` on the command line, `overrides=` in `smt.load`.
- **What rules hold across fields**, and the code of each, is in [Preflight](preflight.md).
"""

#: Class, heading, and what stands before its fields.
SECTIONS: tuple[tuple[str, str, str], ...] = (
    ("Tuning", "The tuning job", "The fields of the file itself."),
    ("XGBoostEstimator", "estimator: xgboost", ""),
    ("PyTorchEstimator", "estimator: pytorch", ""),
    ("ContainerEstimator", "estimator: container", ""),
    ("TrainingDefinition", "estimators", "Several algorithms share a job: `estimators: {NAME: {...}, ...}`."),
    ("ContinuousParameter", "hyperparameter_ranges: continuous", ""),
    ("IntegerParameter", "hyperparameter_ranges: integer", ""),
    ("CategoricalParameter", "hyperparameter_ranges: categorical", ""),
    ("Input", "inputs", "A path or URI alone stands for an `Input` with only `uri`."),
    ("FileSystemInput", "inputs from EFS or FSx", ""),
    ("DatasetInput", "inputs from a dataset", ""),
    ("MetricDefinition", "metric_definitions", "A map of names to expressions does as well."),
    ("InstanceConfig", "instance_configs", ""),
    ("HyperbandConfig", "strategy_config", ""),
    ("CompletionCriteria", "completion_criteria", ""),
    ("WarmStart", "warm_start", ""),
)

ESTIMATORS = ("XGBoostEstimator", "PyTorchEstimator", "ContainerEstimator")
SHARED = "All estimators"

#: What fields say whose name says it to readers of the code.
SAID = {
    "accept_eula": "accepts the licence of a gated model's data.",
    "allocation_strategy": "how to choose among `instance_configs`.",
    "attribute_names": "the JSON attributes to read from an augmented manifest.",
    "auto_parameters": "hyperparameter name -> hint, for which autotune chooses the range.",
    "checkpoint_local_path": "the folder in the container; `/opt/ml/checkpoints` when left out.",
    "code_location": "`s3://` prefix for script archives; the default bucket when left out.",
    "compression": "whether the objects are compressed.",
    "content_type": "MIME type of the data.",
    "dataset_arn": "the dataset.",
    "dependencies": "files and folders that are packed beside the script.",
    "directory_path": "the folder within the file system.",
    "disable_output_compression": "leaves the model as files in place of `model.tar.gz`.",
    "enable_network_isolation": "the containers reach no network.",
    "encrypt_inter_container_traffic": "encrypts what the hosts of one training job send to each other.",
    "entry_point": "the script: its path, or its name within `source_dir`.",
    "estimator": "what is trained.",
    "estimators": "several algorithms by name, in place of `estimator`.",
    "file_system_access_mode": "read only, or read and write.",
    "file_system_id": "such as `fs-0123456789abcdef0`.",
    "file_system_type": "which service it is of.",
    "hyperparameter_ranges": "hyperparameter name -> range.",
    "ignore_patterns": "names that are left out of the script archive, as shell patterns.",
    "input_mode": "how data reaches the container; that of the estimator when a channel has none.",
    "inputs": "channel name -> data; that of the job when left out.",
    "instance_count": "how many machines each training job takes.",
    "instance_type": "such as `ml.m5.large`.",
    "max_value": "largest value that is tried.",
    "metric_definitions": "how metrics are read from the log.",
    "min_value": "smallest value that is tried.",
    "name": "the metric's name.",
    "objective_metric_name": "the metric that is optimised; that of the job when left out.",
    "objective_type": "the direction.",
    "output_kms_key": "encrypts models and uploads.",
    "py_version": "such as `py312`.",
    "record_wrapping": "wraps each object as a RecordIO record.",
    "regex": "the expression, with one group around the value.",
    "scaling_type": "how the range is searched.",
    "security_group_ids": "with `subnets`: the training jobs run in that VPC.",
    "shuffle_seed": "shuffles the order of the objects each epoch.",
    "source_dir": "the script's folder, a `.tar.gz`, or an `s3://` URI of one.",
    "subnets": "with `security_group_ids`: the training jobs run in that VPC.",
    "use_spot_instances": "takes spare capacity at a lower price, which may be interrupted.",
    "volume_kms_key": "encrypts the machines' volumes.",
    "volume_size": "GB of storage for each instance.",
}

_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_SECTION = re.compile(r"^(Args|Attributes):\n((?:    .*\n?|\n)+)", re.MULTILINE)


def page() -> str:
    """The whole page."""
    schema = smt.schema()
    missing = set(schema["$defs"]) - {name for name, _, _ in SECTIONS}
    if missing:
        raise LookupError(f"SECTIONS has no place for {', '.join(sorted(missing))}")
    shared = shared_fields(schema)
    parts = [INTRODUCTION]
    for name, title, said in SECTIONS:
        if name == ESTIMATORS[0]:
            base = schema["$defs"][name]
            fields = {field: base["properties"][field] for field in shared}
            text = "What `estimator` may have, of whichever type it is. The names are the SageMaker SDK's."
            parts.append(section(SHARED, text, rows(getattr(smt, name), fields, base)))
        kind = getattr(smt, name)
        own = schema if name == "Tuning" else schema["$defs"][name]
        left_out = shared if name in ESTIMATORS else []
        fields = {field: about for field, about in own["properties"].items() if field not in (*left_out, "type")}
        more = f"Beside the fields of [{SHARED.lower()}](#{_anchor(SHARED)}):" if left_out else said
        text = " ".join(filter(None, [_code(" ".join(inspect.cleandoc(kind.__doc__).split("\n\n")[0].split())), more]))
        parts.append(section(title, text, [*_tag(own), *rows(kind, fields, own)]))
    return "\n".join(parts)


def shared_fields(schema: Mapping[str, Any]) -> list[str]:
    """The fields that all estimators have alike, in their order."""
    first, *others = ESTIMATORS

    def same(field: str, other: str) -> bool:
        there = schema["$defs"][other]["properties"].get(field) == schema["$defs"][first]["properties"][field]
        return there and described(getattr(smt, other)).get(field) == described(getattr(smt, first)).get(field)

    return [field for field in schema["$defs"][first]["properties"] if all(same(field, other) for other in others)]


def section(title: str, text: str, lines: list[str]) -> str:
    """A heading, a paragraph and a table."""
    return "\n".join(
        [f"## {title}", "", text, "", "| field | value | default | |", "| --- | --- | --- | --- |", *lines, ""]
    )


def rows(kind: type, fields: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """A row a field.

    Raises:
        LookupError: nothing says what a field is.
    """
    words = SAID | described(kind)
    found = []
    for field, about in fields.items():
        name = field.lower() if field in ("Name", "Regex") else field
        if name not in words:
            raise LookupError(f"nothing says what {kind.__name__}.{name} is: add it to the docstring, or to SAID")
        default = "required" if field in own.get("required", ()) else _plain(about.get("default"))
        found.append(f"| `{name}` | {type_of(about)} | {default} | {words[name]} |")
    return found


def _tag(own: Mapping[str, Any]) -> list[str]:
    """The row of ``type``, where a class has one."""
    tag = own["properties"].get("type")
    return [f"| `type` | {type_of(tag)} | required | which kind it is. |"] if tag else []


def described(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of those above it say about each argument."""
    words: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        text = inspect.cleandoc(one.__doc__ or "") + "\n"
        for block in _SECTION.finditer(text):
            for name, said in _ARGUMENT.findall(block.group(2)):
                words[name] = _code(" ".join(said.split())).replace("|", "\\|")
    return words


def type_of(about: Mapping[str, Any]) -> str:
    """A JSON Schema as words."""
    return " or ".join(dict.fromkeys(_types(about)))


def _types(about: Mapping[str, Any]) -> Iterator[str]:
    for one in about.get("anyOf") or about.get("oneOf") or ():
        yield from _types(one)
    if "$ref" in about:
        name = about["$ref"].rsplit("/", 1)[1]
        title = next(title for kind, title, _ in SECTIONS if kind == name)
        yield f"[{title.partition(': ')[2] or title}](#{_anchor(title)})"
    elif "const" in about or "enum" in about:
        yield " or ".join(f"`{value}`" for value in about.get("enum") or [about["const"]])
    elif about.get("type") == "array":
        inside = about.get("items") or {}
        yield f"list of {type_of(inside)}" if inside else "list"
    elif about.get("type") == "object":
        inner = about.get("additionalProperties") or next(iter(about.get("patternProperties", {}).values()), True)
        yield f"map of names to {type_of(inner)}" if isinstance(inner, dict) else "map"
    elif about.get("type") not in (None, "null"):
        yield _NAMES[about["type"]] + _limits(about)
    elif not {"anyOf", "oneOf"} & set(about) and about.get("type") != "null":
        yield "any value"


_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def _limits(about: Mapping[str, Any]) -> str:
    low, high = about.get("minimum"), about.get("maximum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if low is not None:
        return f", {low:,} or more"
    if "maxLength" in about:
        return f", up to {about['maxLength']:,} characters"
    return " that begins with `s3://`" if about.get("pattern") == "^s3://" else ""


def _anchor(title: str) -> str:
    """The identifier that Markdown's table of contents gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def _plain(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _code(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    sys.exit(settle(PAGE, page(), sys.argv[1:]))
