"""The environment in which programs that do not import this package use the local SageMaker.

``AWS_ENDPOINT_URL`` is enough for most clients. The SageMaker SDK calls STS at its public address, whatever the
environment; a rule set that botocore finds by ``AWS_DATA_PATH`` takes precedence over that address. The SDK also
reports its use to AWS, with requests of its own, unless a configuration file opts out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from sm_tuning._files import write_atomic
from sm_tuning.local._config import ServerInfo, StateDir

# Variables that take precedence over those of the local server, disable them, or belong to other keys.
_REMOVED = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ACCOUNT_ID",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "SAGEMAKER_TRAINING_SESSION_ENDPOINT",
    "SAGEMAKER_TRAINING_SESSION_RUNTIME_ENDPOINT",
)
_DATA_PATH = "AWS_DATA_PATH"
# The administrator's file: the user's own defaults stay in effect. The second name is for those who have one.
_SDK_CONFIGS = ("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", "SAGEMAKER_USER_CONFIG_OVERRIDE")
_SDK_CONFIG = """\
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


def write_files(state: StateDir, endpoint_url: str) -> None:
    """Write the files that the environment names, before clients learn the address of the server."""
    rules = {
        "version": "1.0",
        # botocore checks that it knows the parameters that clients give, so they are declared and not used.
        "parameters": {
            "Region": {"builtIn": "AWS::Region", "required": False, "documentation": "", "type": "String"},
            "UseDualStack": _flag("AWS::UseDualStack"),
            "UseFIPS": _flag("AWS::UseFIPS"),
            "Endpoint": {"builtIn": "SDK::Endpoint", "required": False, "documentation": "", "type": "String"},
            "UseGlobalEndpoint": _flag("AWS::STS::UseGlobalEndpoint"),
        },
        "rules": [
            {
                "conditions": [],
                "endpoint": {"url": endpoint_url, "properties": {}, "headers": {}},
                "type": "endpoint",
            }
        ],
    }
    folder = state.botocore / "sts" / "2011-06-15"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(folder / "endpoint-rule-set-1.json", json.dumps(rules, indent=1), private=True)
    write_atomic(state.sdk_config, _SDK_CONFIG, private=True)


def _flag(builtin: str) -> dict[str, object]:
    return {"builtIn": builtin, "required": True, "default": False, "documentation": "", "type": "Boolean"}


def client_environment(info: ServerInfo, environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return the variables to change in an environment; None for one to remove.

    Other data paths, proxies and SDK configurations of the environment are kept.

    Args:
        info: the server to use.
        environ: the environment to change.
    """
    # The endpoint of a single service takes precedence over that of all, and a proxy would get the requests.
    specific = [name for name in environ if name.startswith("AWS_ENDPOINT_URL_")]
    removed = [name for name in (*_REMOVED, *specific) if name in environ]
    own = info.env()
    files = (own[_DATA_PATH], *environ.get(_DATA_PATH, "").split(os.pathsep))
    direct = ("127.0.0.1", *(environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(","))
    proxies = ",".join(dict.fromkeys(filter(None, direct)))
    wanted: dict[str, str | None] = {
        **dict.fromkeys(removed),
        **own,
        _DATA_PATH: os.pathsep.join(dict.fromkeys(filter(None, files))),
        "NO_PROXY": proxies,
        "no_proxy": proxies,
    }
    config = own[_SDK_CONFIGS[0]]
    given = [name for name in _SDK_CONFIGS if environ.get(name) not in (None, "", config)]
    if _SDK_CONFIGS[0] in given:
        del wanted[_SDK_CONFIGS[0]]
        if _SDK_CONFIGS[1] not in given:
            wanted[_SDK_CONFIGS[1]] = config
    return wanted
