"""One shortened trial of a spec on a SageMaker that costs nothing, and what it proves.

The caller brings the connection, to the SageMaker on this machine: the same script and container contract, data and
request, but one trial, few epochs, and this machine's storage.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sm_tuning._errors import InvalidRequestError, SpecError
from sm_tuning._masking import Redactor, secrets_in
from sm_tuning.aws import Aws, ensure_bucket, find_bucket, find_role
from sm_tuning.preflight._files import problems_of, settled
from sm_tuning.preflight._finding import Finding, ordered, place
from sm_tuning.preflight._shorten import lengths, obstacles, shortened
from sm_tuning.preflight._smoke_judge import judge, judge_resumed, unread_channels
from sm_tuning.preflight._smoke_run import Clock, Place, Run, run, run_again
from sm_tuning.spec import TrainingDefinition, Tuning, to_data

#: Seconds that a trial may take, and the epochs or rounds that it trains.
TIMEOUT, EPOCHS = 600.0, 2


class SmokeOptions(NamedTuple):
    """How a smoke test is shortened.

    Attributes:
        epochs: static hyperparameters such as epochs and num_round are lowered to this.
        inputs: channel -> local path, in place of data that is only in S3.
        timeout: seconds that each trial may take.
    """

    epochs: int = EPOCHS
    inputs: Mapping[str, str] = {}
    timeout: float = TIMEOUT


class SmokeReport(NamedTuple):
    """What the trial showed.

    Attributes:
        findings: what went wrong, and what could not be tried.
        proofs: what was seen to work, one sentence each, such as the log line that a metric matched.
    """

    findings: tuple[Finding, ...]
    proofs: tuple[str, ...]


_DEFAULTS, _CLOCK = SmokeOptions(), Clock()


def _token() -> str:
    return secrets.token_hex(4)


def smoke(
    tuning: Tuning,
    aws: Aws,
    *,
    options: SmokeOptions = _DEFAULTS,
    base_dir: str | Path | None = None,
    clock: Clock = _CLOCK,
    new_token: Callable[[], str] = _token,
) -> SmokeReport:
    """Run one shortened trial of each algorithm of a spec; two where checkpoints are configured.

    Args:
        tuning: what is to be tuned.
        aws: a connection to the SageMaker on this machine.
        options: how far it is shortened.
        base_dir: the folder that relative paths start from; the working directory when left out.
        clock: tells the time and waits.
        new_token: gives the random part of the jobs' names.

    Raises:
        ServiceError: the SageMaker on this machine could not be reached.
    """
    whole = settled(tuning, Path(base_dir) if base_dir is not None else Path())
    known = tuple(secrets_in(to_data(tuning)))
    clear = Redactor(known)
    role = find_role(aws, None)
    bucket = find_bucket(aws, role)
    ensure_bucket(aws, bucket)
    findings: list[Finding] = []
    proofs: list[str] = []
    for key, definition in whole.definitions:
        root = f"s3://{bucket.name}/sm-tuning/smoke/{new_token()}"
        trial = _Trial(aws, whole, key, definition, options)
        for item in trial.go(Place(root, role), clock):
            if isinstance(item, Finding):
                findings.append(item)
            else:
                proofs.append(f"{key}: {item}" if key else item)
    return SmokeReport(tuple(ordered(findings, known)), tuple(map(clear, proofs)))


class _Trial:
    """The trials of one algorithm."""

    def __init__(
        self, aws: Aws, tuning: Tuning, key: str | None, definition: TrainingDefinition, options: SmokeOptions
    ) -> None:
        self._aws = aws
        self._tuning = tuning
        self._key = key
        self._definition = definition
        self._options = options

    def go(self, where: Place, clock: Clock) -> Iterator[Finding | str]:
        """Findings, and sentences about what works."""
        blocked = list(obstacles(self._key, self._definition, self._options.inputs))
        if blocked:
            yield from blocked
            return
        yield from unread_channels(self._key, self._definition)
        try:
            first = self._run(where, clock)
        except SpecError as error:
            yield from problems_of(error, "smoke-spec")
            return
        except InvalidRequestError as error:
            message = f"the SageMaker on this machine refused the trial: {error}"
            yield Finding("smoke-refused", "not-checked", place(self._key, "estimator"), message, "try it on AWS")
            return
        yield from judge(self._aws, self._key, self._definition, first, self._options.epochs)
        if first.is_complete and self._definition.estimator.checkpoint_s3_uri:
            yield from self._resume(where, clock, first)

    def _resume(self, where: Place, clock: Clock, first: Run) -> Iterator[Finding | str]:
        if not self._definition.estimator.is_script_mode:
            message = "whether the algorithm resumes from its checkpoints"
            yield Finding("smoke-resume", "not-checked", place(self._key, "estimator"), message, "try it on AWS")
            return
        longer = dict.fromkeys(lengths(self._definition), self._options.epochs + 1)
        timeout = self._options.timeout
        second = run_again(self._aws, first, longer, where, timeout=timeout, clock=clock)
        yield from judge_resumed(self._key, self._definition, (first, second), has_length=bool(longer))

    def _run(self, where: Place, clock: Clock) -> Run:
        tuning = shortened(
            self._tuning,
            self._definition,
            epochs=self._options.epochs,
            inputs=self._options.inputs,
            checkpoints=f"{where.root}/checkpoints",
        )
        name = f"smoke-{where.root.rpartition('/')[2]}"
        return run(self._aws, tuning, name, where, timeout=self._options.timeout, clock=clock)
