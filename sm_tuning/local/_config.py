"""The state dir of a local SageMaker: its files, its keys, its lock, and the data that clients need."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import string
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from sm_tuning._errors import LocalServerError, SpecError, did_you_mean
from sm_tuning._files import write_atomic

ACCOUNT_ID = "123456789012"
ROLE_NAME = "SmTuningLocal"
DEFAULT_REGION = "us-east-1"

_STATE_DIR_VARIABLE = "SM_TUNING_STATE_DIR"
# A process that only looks (``holder``) has the lock for an instant.
_PATIENCE_SECONDS = 1.0
# A child that a killed server was just starting has the lock until it runs its own program.
_PATIENCE_AFTER_DEATH_SECONDS = 10.0


@dataclass(frozen=True)
class StateDir:
    """The files of a local SageMaker."""

    root: Path

    @property
    def server_json(self) -> Path:
        """The data that clients need, written when the server answers; readable only by its owner."""
        return self.root / "server.json"

    @property
    def keys(self) -> Path:
        """Region and keys, created once for a state dir."""
        return self.root / "keys.json"

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "sagemaker.sqlite"

    @property
    def telemetry(self) -> Path:
        """The logs and metrics of the training jobs."""
        return self.root / "cloudwatch.sqlite"

    @property
    def environments(self) -> Path:
        """The installed requirements, one environment for each content."""
        return self.root / "envs"

    @property
    def log(self) -> Path:
        """The log of the server, with tracebacks."""
        return self.root / "server.log"

    @property
    def lock(self) -> Path:
        """The lock of the server that uses this state dir."""
        return self.root / "lock"

    @property
    def clients(self) -> Path:
        """The lock that each open connection shares."""
        return self.root / "clients"

    @property
    def s3(self) -> Path:
        """The S3 objects."""
        return self.root / "s3"

    @property
    def jobs(self) -> Path:
        """The work folders of the training jobs."""
        return self.root / "jobs"

    @property
    def models(self) -> Path:
        """The folders of the model processes, deleted when it starts."""
        return self.root / "models"

    @property
    def processing(self) -> Path:
        """The folders of the processing jobs."""
        return self.root / "processing"

    @property
    def botocore(self) -> Path:
        """A botocore data path by which calls of STS reach the server."""
        return self.root / "botocore"

    @property
    def sdk_config(self) -> Path:
        """Defaults of the SageMaker SDK, which turn its telemetry off."""
        return self.root / "sagemaker-sdk.yaml"

    @property
    def tmp(self) -> Path:
        """Temporary files of the server, deleted when it starts."""
        return self.root / "tmp"


@dataclass(frozen=True)
class Identity:
    """Account and region of a local SageMaker, and the role and bucket that exist from the start.

    Attributes:
        region: such as ``us-east-1``.
        account_id: twelve digits.
        role_arn: the execution role for requests.
        bucket: SageMaker's default bucket of the account and region.
    """

    region: str
    account_id: str
    role_arn: str
    bucket: str

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a SageMaker resource."""
        # The service lower-cases the name inside an ARN, while the name itself keeps its case.
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"


@dataclass(frozen=True)
class Keys:
    """The credentials of a local SageMaker, and its region."""

    region: str
    access_key_id: str
    secret_access_key: str

    def identity(self) -> Identity:
        """Return account, role and bucket in this region."""
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
        """Return the environment variables with which boto3, the AWS CLI and the SageMaker SDK use this server."""
        state = StateDir(Path(self.state_dir))
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            # botocore refuses these together with an endpoint; "false" also overrides the user's profile.
            "AWS_USE_FIPS_ENDPOINT": "false",
            "AWS_USE_DUALSTACK_ENDPOINT": "false",
            # Else the requests of some operations, such as StartLiveTail, go to stream-127.0.0.1.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_DATA_PATH": str(state.botocore),
            "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(state.sdk_config),
            "SM_TUNING_ROLE": self.role_arn,
        }

    def session(self) -> Any:
        """Return a ``boto3.Session`` with this server's credentials and region."""
        import boto3  # noqa: PLC0415  (the state is read without it)

        return boto3.Session(self.access_key_id, self.secret_access_key, region_name=self.region)

    def as_dict(self) -> dict[str, str | int]:
        """Return the members as plain values."""
        return asdict(self)


def resolve_state_dir(state_dir: str | Path | None, environ: Mapping[str, str] = os.environ) -> StateDir:
    """Return the state dir: the argument, else SM_TUNING_STATE_DIR, else ~/.sm-tuning/local."""
    named = state_dir or environ.get(_STATE_DIR_VARIABLE) or Path.home() / ".sm-tuning" / "local"
    return StateDir(Path(named).expanduser().resolve())


def make_state_dir(state: StateDir) -> None:
    """Create the folders and the log, and make all that is in the state dir accessible only to its owner.

    Raises:
        LocalServerError: the folders cannot be created, or other users share the state dir.
    """
    try:
        for folder in (state.root, state.s3, state.jobs, state.tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if state.root.stat().st_mode & stat.S_ISVTX:  # /tmp and its like
            raise LocalServerError(f"other users share the state dir {state.root}: name a folder of your own")
        state.log.touch(mode=0o600)
        # Earlier versions and other programs may have created them with other modes.
        for path in (state.root, *state.root.iterdir()):
            if not path.is_symlink():
                with suppress(FileNotFoundError):  # SQLite deletes files of its own when a server ends
                    path.chmod(0o700 if path.is_dir() else 0o600)
    except OSError as e:
        raise LocalServerError(f"the state dir {state.root} cannot be created: {e}") from e


def load_keys(state: StateDir, environ: Mapping[str, str] = os.environ) -> Keys:
    """Return region and keys of a state dir; they are created with it.

    A new state dir takes its region from AWS_REGION or AWS_DEFAULT_REGION and keeps it, since names and ARNs of its
    jobs contain the region.

    Raises:
        SpecError: the region of a new state dir does not exist.
        LocalServerError: the file exists and cannot be read, or its region does not exist.
    """
    if state.keys.exists():
        keys = Keys(**_read(state.keys, tuple(field.name for field in fields(Keys))))
        if not _is_region(keys.region):
            raise LocalServerError(
                f"the state dir {state.root} is of the region {keys.region!r}, which AWS does not have: "
                "delete it, or name another state dir"
            )
        return keys
    region = check_region(state, environ)
    alphabet = string.ascii_uppercase + "234567"
    keys = Keys(
        region=region,
        access_key_id="AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
        secret_access_key=secrets.token_urlsafe(30),
    )
    write_atomic(state.keys, json.dumps(asdict(keys)), private=True)
    return keys


def check_region(state: StateDir, environ: Mapping[str, str] = os.environ) -> str:
    """Return the region that a new state dir gets; the region of an existing one is not looked at.

    Raises:
        SpecError: the state dir is new, and there is no such region.
    """
    name = next((name for name in ("AWS_REGION", "AWS_DEFAULT_REGION") if environ.get(name)), "")
    region = environ[name] if name else DEFAULT_REGION
    if not state.keys.exists() and not _is_region(region):
        raise SpecError(f"{name} is {region!r}, which is not a region of AWS: {did_you_mean(region, _regions())}")
    return region


def _is_region(region: str) -> bool:
    return region == DEFAULT_REGION or region in _regions()


def _regions() -> list[str]:
    from botocore.session import Session  # noqa: PLC0415  (reading the list takes half a second)

    session = Session()
    # CloudWatch Logs is in all regions.
    found = (session.get_available_regions("logs", partition) for partition in session.get_available_partitions())
    return [region for regions in found for region in regions]


def read_server_info(state: StateDir) -> ServerInfo | None:
    """Return the data of the last server, which may have ended, or None.

    Raises:
        LocalServerError: the file exists and cannot be read.
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
            f"the state in {path} cannot be read ({type(e).__name__}: {e}); delete that file, or name another state dir"
        ) from e


def hold_lock(path: Path) -> IO[str]:
    """Take the lock of a state dir and return it; it is held until it is closed.

    The kernel releases the lock when its holder dies, in whichever way.

    Raises:
        LocalServerError: another server holds the lock.
    """
    file = path.open("a+")
    begun = time.monotonic()
    while not try_lock(file, fcntl.LOCK_EX):
        other = lock_holder(path)
        patience = _PATIENCE_AFTER_DEATH_SECONDS if other is None else _PATIENCE_SECONDS
        if time.monotonic() - begun > patience:
            file.close()
            raise LocalServerError(
                f"another local SageMaker (pid {other}) uses the state dir {path.parent}; "
                "stop it, or name another state dir"
            )
        time.sleep(0.02)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def lock_holder(path: Path) -> int | None:
    """Return the process id of the live server that holds a lock, or None; 0 while the server starts."""
    try:
        file = path.open("r")
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        if try_lock(file, fcntl.LOCK_SH):
            return None
        text = file.read().strip()
    pid = int(text) if text.isdigit() else 0
    if pid:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
    return pid


def try_lock(file: IO[str], kind: int) -> bool:
    """Take a lock of a kind of ``fcntl.flock``; return False if another process has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
