"""Where the local SageMaker keeps its state, and what a client needs to talk to it."""

from __future__ import annotations

import json
import os
import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sm_tuning._errors import LocalServerError
from sm_tuning._files import write_atomic
from sm_tuning.local._identity import Identity

ACCOUNT_ID = "123456789012"
ROLE_NAME = "SmTuningLocal"
DEFAULT_REGION = "us-east-1"
_STATE_DIR_VARIABLE = "SM_TUNING_STATE_DIR"


@dataclass(frozen=True)
class StateDir:
    """The files of one local SageMaker."""

    root: Path

    @property
    def server_json(self) -> Path:
        """What a client needs, written by the server once it answers, readable by its owner alone."""
        return self.root / "server.json"

    @property
    def keys(self) -> Path:
        """Region and keys, made once for a state dir."""
        return self.root / "keys.json"

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "sagemaker.sqlite"

    @property
    def log(self) -> Path:
        """What the server has to say, tracebacks included."""
        return self.root / "server.log"

    @property
    def lock(self) -> Path:
        """Held by the one server that uses this state dir."""
        return self.root / "lock"

    @property
    def s3(self) -> Path:
        """The S3 objects."""
        return self.root / "s3"

    @property
    def jobs(self) -> Path:
        """One work folder for each training job."""
        return self.root / "jobs"

    @property
    def tmp(self) -> Path:
        """Temporary files of the server, emptied when it starts."""
        return self.root / "tmp"


@dataclass(frozen=True)
class Keys:
    """The credentials that open this server, and the region that it is."""

    region: str
    access_key_id: str
    secret_access_key: str

    def identity(self) -> Identity:
        """Return the account, role and bucket that go with the region."""
        return Identity(
            region=self.region,
            account_id=ACCOUNT_ID,
            role_arn=f"arn:aws:iam::{ACCOUNT_ID}:role/{ROLE_NAME}",
            bucket=f"sagemaker-{self.region}-{ACCOUNT_ID}",
        )


@dataclass(frozen=True)
class ServerInfo:
    """A running local SageMaker, as ``sm-tuning local start`` prints it."""

    endpoint_url: str
    region: str
    account_id: str
    access_key_id: str
    secret_access_key: str
    bucket: str
    role_arn: str
    state_dir: str
    pid: int

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in asdict(self).items() if key != "secret_access_key")
        return f"ServerInfo({shown})"

    def env(self) -> dict[str, str]:
        """Return the environment with which boto3, the AWS CLI and the SageMaker SDK talk to this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SM_TUNING_ROLE": self.role_arn,
        }

    def as_dict(self) -> dict[str, str | int]:
        """Return the members as plain values."""
        return asdict(self)


def resolve_state_dir(state_dir: str | Path | None, environ: Mapping[str, str] = os.environ) -> StateDir:
    """Return the state dir that is meant: the argument, else SM_TUNING_STATE_DIR, else ~/.sm-tuning/local."""
    named = state_dir or environ.get(_STATE_DIR_VARIABLE) or Path.home() / ".sm-tuning" / "local"
    return StateDir(Path(named).expanduser().resolve())


def make_state_dir(state: StateDir) -> None:
    """Make the folders, for their owner alone.

    Raises:
        LocalServerError: that is not possible there.
    """
    try:
        for folder in (state.root, state.s3, state.jobs, state.tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise LocalServerError(f"the state dir {state.root} cannot be made: {e}") from e


def load_keys(state: StateDir, environ: Mapping[str, str] = os.environ) -> Keys:
    """Return the state dir's region and keys, making them when it is new.

    A new state dir takes AWS_REGION or AWS_DEFAULT_REGION; afterwards the region stays, since the names and
    ARNs of its jobs carry it.

    Raises:
        LocalServerError: the file is there and cannot be read.
    """
    if state.keys.exists():
        return Keys(**_read(state.keys, tuple(field.name for field in fields(Keys))))
    alphabet = string.ascii_uppercase + "234567"
    keys = Keys(
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION,
        access_key_id="AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
        secret_access_key=secrets.token_urlsafe(30),
    )
    write_atomic(state.keys, json.dumps(asdict(keys)), private=True)
    return keys


def read_server_info(state: StateDir) -> ServerInfo | None:
    """Return what the last server wrote, or None; it does not say that the server still runs.

    Raises:
        LocalServerError: the file is there and cannot be read.
    """
    if not state.server_json.exists():
        return None
    read = _read(state.server_json, tuple(field.name for field in fields(ServerInfo)))
    return ServerInfo(**{**read, "pid": int(read["pid"])})  # type: ignore[arg-type]  # JSON: all but pid are str


def _read(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    try:
        members = json.loads(path.read_text())
        return {name: members[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise LocalServerError(
            f"the state in {path} cannot be read ({type(e).__name__}: {e}); remove that file, or name another state dir"
        ) from e
