"""Write the table of AWS's images from the installed SageMaker SDK, or compare the two.

The table has the images of XGBoost and PyTorch, and the registries of AWS's own algorithms.

python docs/make_images.py            write sm_tuning/_images.json
python docs/make_images.py --check    print the differences, and exit with 1 if there are any

With the table, `pip install sm-tuning` does without the SDK, which takes half of the disk space and most of the time of
`sm-tuning check`. Every entry is an answer of `sagemaker.core.image_uris.retrieve`.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from generated import settle
from sagemaker.core import common_utils, fw_utils, image_uris

from sm_tuning import _images

TABLE = Path(_images.__file__).with_suffix(".json")
SCOPES = {"xgboost": ["training"], "pytorch": ["training", "inference"]}

#: The kinds of instances that images differ by: one of its instance types, and the kind whose image it shares unless
#: its own is listed. The SDK refuses p2 for newer versions, and PyTorch 1.6 had other tags on p4d.
KINDS = {
    "cpu": ("ml.m5.large", None),
    "gpu": ("ml.g5.xlarge", "cpu"),
    "p2": ("ml.p2.xlarge", "gpu"),
    "p4d": ("ml.p4d.24xlarge", "gpu"),
    "graviton": ("ml.m6g.large", "cpu"),
    "trn": ("ml.trn1.2xlarge", "cpu"),
    "inf": ("ml.inf1.xlarge", "cpu"),
}
_URI = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[^.]+)\.(?P<suffix>[^/]+)/(?P<image>.+)")

# The SDK reads both files again for each of the 80,000 calls.
image_uris.config_for_framework = functools.cache(image_uris.config_for_framework)
common_utils._botocore_resolver = functools.cache(common_utils._botocore_resolver)  # noqa: SLF001


class Table:
    """The table while it is made.

    Attributes:
        registries: the accounts of the registries by region, each different mapping once.
        suffixes: the end of the registries' host names by region, where it is not amazonaws.com.
    """

    def __init__(self) -> None:
        self.registries: list[dict[str, str]] = []
        self.suffixes: dict[str, str] = {}

    def images(self, framework: str, scope: str) -> dict[str, Any]:
        """Return the images by version and Python version.

        The entry "" is for no Python version: images by kind, or the Python version that has the same ones.
        """
        config = image_uris.config_for_framework(framework)[scope]
        found: dict[str, Any] = {}
        for version in [*config["versions"], *config.get("version_aliases", {})]:
            exact = config["versions"][config.get("version_aliases", {}).get(version, version)]
            pythons = exact.get("py_versions", [])
            entries = {python: self.kinds(framework, scope, version, python) for python in pythons or [""]}
            # Without a Python version the SDK takes the only one, which may differ between kinds of instances.
            default = self.kinds(framework, scope, version, "")
            same = next((python for python, entry in entries.items() if entry == default), None)
            if any(default.values()):
                entries[""] = entries.get("", same or default)
            found[version] = entries
        return found

    def kinds(self, framework: str, scope: str, version: str, python: str) -> dict[str, Any]:
        """Return the images by kind of instance: the number of the registries, and repository:tag; None for none."""
        all_kinds: dict[str, Any] = {}
        for kind, (instance_type, _) in KINDS.items():
            uris = list(self.answers(framework, scope, version, python or None, instance_type))
            all_kinds[kind] = None
            if uris:
                (image,) = {uri["image"] for uri in uris}
                accounts = {uri["region"]: uri["account"] for uri in uris}
                if accounts not in self.registries:
                    self.registries.append(accounts)
                all_kinds[kind] = [self.registries.index(accounts), image]
                hosts = {uri["region"]: uri["suffix"] for uri in uris if uri["suffix"] != "amazonaws.com"}
                self.suffixes |= hosts
        shared = {kind for kind, (_, other) in KINDS.items() if other and all_kinds[kind] == all_kinds[other]}
        return {kind: image for kind, image in all_kinds.items() if kind not in shared}

    def answers(
        self, framework: str, scope: str, version: str, python: str | None, instance_type: str
    ) -> Iterator[re.Match[str]]:
        """Yield the SDK's answer for each region that has one."""
        for region in regions():
            try:
                uri = image_uris.retrieve(
                    framework,
                    region,
                    version=version,
                    py_version=python,
                    instance_type=instance_type,
                    image_scope=scope,
                )
            except (ValueError, KeyError):
                continue
            match = _URI.fullmatch(uri)
            assert match is not None, uri
            yield match


@functools.cache
def regions() -> list[str]:
    """Return all regions that have a registry of one of the frameworks."""
    configs = [image_uris.config_for_framework(name) for name in SCOPES]
    versions = [version for config in configs for scope in config.values() for version in scope["versions"].values()]
    return sorted({region for version in versions for region in version["registries"]})


def algorithm_accounts() -> dict[str, list[str]]:
    """Return the accounts whose registries have AWS's own algorithm images, by region."""
    found: dict[str, set[str]] = {}

    def collect(config: Any) -> None:
        if isinstance(config, dict):
            for region, account in config.get("registries", {}).items():
                found.setdefault(region, set()).add(account)
            for value in config.values():
                collect(value)

    for repository in sorted(_images.BUILTIN_REPOSITORIES):
        collect(image_uris.config_for_framework(repository.removeprefix("sagemaker-")))
    return {region: sorted(accounts) for region, accounts in sorted(found.items())}


def make() -> dict[str, Any]:
    """Return the table."""
    table = Table()
    images = {name: {scope: table.images(name, scope) for scope in scopes} for name, scopes in SCOPES.items()}
    return {
        "about": "Facts from the SageMaker Python SDK (sagemaker-core, Apache-2.0, Copyright Amazon.com, Inc. or its "
        "affiliates), written by docs/make_images.py.",
        "source": metadata.version("sagemaker-core"),
        "kinds": {kind: other for kind, (_, other) in KINDS.items()},
        "graviton": fw_utils.GRAVITON_ALLOWED_TARGET_INSTANCE_FAMILY,
        "suffixes": dict(sorted(table.suffixes.items())),
        "algorithms": algorithm_accounts(),
        "registries": table.registries,
        "images": images,
    }


def text_of(table: dict[str, Any]) -> str:
    """Return the table as JSON with a line for each version, so that changes are easy to read."""
    lines = []
    for name, value in table.items():
        if name == "images":
            lines.append(f' "images": {indented(value, depth=3)}')
        elif name == "algorithms":
            lines.append(f' "algorithms": {indented(value, depth=1)}')
        elif name == "registries":
            lines.append(' "registries": [\n' + ",\n".join(f"  {json.dumps(accounts)}" for accounts in value) + "\n ]")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def indented(value: Any, *, depth: int, margin: str = "  ") -> str:
    """Return JSON whose objects are spread over lines down to a depth."""
    if not depth:
        return json.dumps(value)
    members = [
        f"{margin}{json.dumps(key)}: {indented(item, depth=depth - 1, margin=margin + ' ')}"
        for key, item in value.items()
    ]
    return "{\n" + ",\n".join(members) + f"\n{margin[1:]}}}"


if __name__ == "__main__":
    sys.exit(settle(TABLE, text_of(make()), sys.argv[1:]))
