"""The trials of a study as training jobs of SageMaker, for the loop ``drive``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sm_tuning._errors import (
    InvalidRequestError,
    JobNotFoundError,
    NameTakenError,
    QuotaError,
    ServiceError,
    WaitTimeoutError,
)
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import from_float32
from sm_tuning.aws import CLOCK, STUDY_INTERVAL, Aws, Clock, is_transient, mapped, split_uri
from sm_tuning.description import job_of, trial_of
from sm_tuning.results import ObjectiveValues
from sm_tuning.strategies import Outcome, PlannedTrial, Search, Suggestion, TrialState
from sm_tuning.studies._description import TrialJob, summary_of
from sm_tuning.studies._record import FORMAT, trial_data, trial_key
from sm_tuning.studies._store import RENEWAL, Lease
from sm_tuning.studies._trials import StudyTrials

_log = logging.getLogger(__name__)

#: The most seconds between two looks while AWS throttles.
_LONGEST_POLL = 60.0

T = TypeVar("T")

OnUpdate = Callable[[Mapping[str, Any]], object]


class SageMakerBackend:
    """Starts, follows and stops the trials of one study. Its methods raise once another driver has taken over.

    Args:
        aws: the connection.
        trials: the trials of the study.
        lease: held by this driver.
        search: of the study; it decides whether the curves of running trials are read.
        poll: seconds between two looks; 10 by default, or 0.5 with a server on this machine.
        timeout: seconds after which ``wait`` gives up; None waits without a limit.
        on_update: called with a description of the study after each pass.
        clock: the clock.
    """

    def __init__(
        self,
        aws: Aws,
        trials: StudyTrials,
        lease: Lease,
        search: Search,
        *,
        poll: float | None = None,
        timeout: float | None = None,
        on_update: OnUpdate | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self._aws = aws
        self._trials = trials
        self._lease = lease
        self._clock = clock
        self._curves = ObjectiveValues(aws, longest=None) if search.needs_curves else None
        self._poll = (aws.poll_interval if aws.is_local else STUDY_INTERVAL) if poll is None else poll
        self._until = math.inf if timeout is None else clock.monotonic() + timeout
        self._on_update = on_update
        self._has_records = False
        self._is_delayed = False
        self._delays = 0
        self._cancelled: set[str] = set()
        self._values: dict[str, tuple[float, ...] | None] = {}  # of trials that have ended

    def now(self) -> float:
        """Return epoch seconds by the clock of S3, since a client's clock may be wrong."""
        return self._trials.store.now()

    def stop_requested(self) -> bool:
        """Return whether somebody has asked to stop the study."""
        requested = self._patiently(self._trials.stop_requested)
        if requested:
            self._lease.acknowledge_stop()
        return requested

    def trials(self) -> Sequence[PlannedTrial]:
        """Read the trials; transient errors are retried as long as the connection's policy says."""
        self._patiently(self._read)
        return [self._planned(job) for job in self._trials.jobs]

    def start(self, suggestion: Suggestion) -> None:
        """Record a decision and create its training job; a recorded decision of another driver wins.

        A quota, throttling or a lost answer delays the start: the record remains, and the next pass continues.
        """
        # The instances of a trial that has just ended become a warm pool, for which this one waits.
        if self._is_delayed or any(job.pool in (None, "InUse") for job in self._trials.open_pools()):
            return
        self._lease.keep()
        try:
            if not self._trials.store.create(trial_key(suggestion.number), trial_data(suggestion)):
                suggestion = self._trials.read_record(suggestion.number)
            job = self._trials.add(suggestion)
            if self._copy_checkpoints(suggestion) == 0 and suggestion.why not in ("new", "retried"):
                self._give_up(suggestion)
                self._is_delayed = True  # what else this pass would start
                return
            request = self._trials.study.training_request(suggestion)
            self._aws.call("sagemaker", "create_training_job", **request)
        except NameTakenError:
            _log.info("trial %d has been started before", suggestion.number)
        except ServiceError as error:
            if not (isinstance(error, QuotaError) or is_transient(error)):
                raise
            _log.warning("trial %d starts later: %s", suggestion.number, error)
            self._is_delayed = True
            return
        self._trials.created(job.suggestion.number)

    def stop(self, name: str) -> None:
        """Stop a training job; a trial that was never started is not started any more."""
        self._lease.keep()
        job = next(job for job in self._trials.jobs if job.name == name)
        if job.training is None:
            self._cancelled.add(name)
        else:
            self._patiently(lambda: stop_training_job(self._aws, name))

    def end(self, outcome: Outcome) -> Outcome:
        """Record the outcome and return it; that of a driver that gave up was recorded with its request to stop."""
        self._lease.keep()
        outcome = self._trials.outcome_of_stop or outcome
        data = {"format": FORMAT, "status": str(outcome.status), "reason": outcome.reason}
        self._patiently(lambda: self._trials.store.create("end.json", data))
        release_pools(self._aws, self._trials)
        self._trials.read()
        self._report()
        return outcome

    def wait(self) -> None:
        """Sleep until the next look, and keep the lease.

        Raises:
            WaitTimeoutError: the time of ``timeout`` is over; the trials go on.
        """
        self._report()
        self._delays = self._delays + 1 if self._is_delayed else 0
        longest = max(_LONGEST_POLL, self._poll)
        pause = min(self._poll * 2.0 ** min(self._delays, 16), longest)
        self._is_delayed = False
        self._sleep(pause)

    def _report(self) -> None:
        if self._on_update is not None:
            self._on_update(self._trials.describe())

    def _sleep(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            remaining = self._until - self._clock.monotonic()
            if remaining <= 0:
                name = self._trials.study.name
                message = f"the study {name} had not ended in time; its trials go on: wait again to drive it"
                raise WaitTimeoutError(message, job_name=name)
            self._clock.sleep(min(left, remaining, RENEWAL / 2))
            self._lease.keep()

    def _patiently(self, call: Callable[[], T]) -> T:
        """Return the result of a call, which is repeated after transient errors."""
        retry, begun, failures = self._aws.policy.waiting, self._clock.monotonic(), 0
        while True:
            try:
                return call()
            except ServiceError as error:
                failures += 1
                pause = retry.pause(error, failures, self._clock.monotonic() - begun)
                if pause is None:
                    raise
                _log.info("still driving %s: %s", self._trials.study.name, error)
                self._sleep(pause)

    def _read(self) -> None:
        self._lease.keep()
        if not self._has_records:
            self._trials.read_records()
            self._has_records = True
        self._trials.refresh()
        jobs = [job for job in self._trials.jobs if job.training is not None and "CreationTime" in job.training]
        if self._curves is not None and jobs:
            study = job_of(self._trials.describe())
            self._curves.read(study, [trial_of(summary_of(self._trials.study, job)) for job in jobs])

    def _planned(self, job: TrialJob) -> PlannedTrial:
        training = job.training or {}
        if job.ended and job.name not in self._values:
            values = job.values(self._trials.study.objectives(job.suggestion.definition))
            # A tuning job decides with the number as the script printed it, not with the nearest 32-bit float.
            self._values[job.name] = None if values is None else tuple(map(from_float32, values))
        ended = training.get("TrainingEndTime") or training.get("LastModifiedTime")
        is_cancelled = job.training is None and job.name in self._cancelled
        final = self._values.get(job.name)
        state = TrialState(
            name=job.name,
            status=TrainingStatus.STOPPED if is_cancelled else job.status,
            value=None if final is None else final[0],
            curve=() if self._curves is None else self._curves.values(job.name),
            ended_at=ended.timestamp() if job.ended and ended is not None else None,
            values=final or (),
            violations=self._trials.study.violations(job.metrics) if final is not None else (),
        )
        hourly = self._trials.study.hourly(self._trials.study.definition(job.suggestion.definition))
        cost = job.dollars(hourly, self._trials.store.now()) if hourly else 0.0
        return PlannedTrial(
            job.suggestion, state, is_started=job.training is not None, was_fault=job.was_fault, cost=cost
        )

    def _copy_checkpoints(self, suggestion: Suggestion) -> int:
        """Copy the parent's checkpoints to the trial's own prefix, before its training job exists; return their number.

        An object that is there already is left: a driver before has copied it, or the training job has written it.
        """
        config = self._trials.study.definition(suggestion.definition).get("CheckpointConfig")
        if suggestion.parent is None or not config:
            return 0
        bucket, prefix = split_uri(f"{config['S3Uri'].rstrip('/')}/")
        names = [f"{prefix}{self._trials.study.training_job_name(n)}/" for n in (suggestion.parent, suggestion.number)]
        found, present = (
            {key.removeprefix(name) for key in self._trials.store.keys_of(bucket, name)} for name in names
        )
        for key in sorted(found - present):
            self._lease.keep()
            with mapped("CopyObject", f"s3://{bucket}/{names[1]}{key}"):
                self._aws.s3.copy({"Bucket": bucket, "Key": f"{names[0]}{key}"}, bucket, f"{names[1]}{key}")
        return len(found)

    def _give_up(self, suggestion: Suggestion) -> None:
        """Stop the study: it may not train a trial anew where its checkpoint was meant to be continued."""
        uri = self._trials.study.definition(suggestion.definition)["CheckpointConfig"]["S3Uri"].rstrip("/")
        reason = (
            f"trial {suggestion.parent} has left no checkpoint below "
            f"{uri}/{self._trials.study.training_job_name(suggestion.parent or 0)}, so that trial {suggestion.number} "
            "cannot continue it: the script must save one before it exits (see sm-tuning check --smoke)"
        )
        self._trials.store.create("stop.json", {"format": FORMAT, "status": str(TuningStatus.FAILED), "reason": reason})


def stop_training_job(aws: Aws, name: str) -> None:
    """Stop a training job; one that has ended, or does not exist, is left unchanged.

    Raises:
        ServiceError: the service refused.
    """
    try:
        aws.call("sagemaker", "stop_training_job", TrainingJobName=name)
    except (InvalidRequestError, JobNotFoundError) as error:
        # The service refuses to stop a job that has ended; the next look says how.
        _log.info("%s is not stopped: %s", name, error)


def release_pools(aws: Aws, trials: StudyTrials) -> None:
    """Give back the instances that ended trials have left as warm pools.

    Raises:
        ServiceError: the service refused.
    """
    for job in trials.open_pools():
        try:
            released = {"KeepAlivePeriodInSeconds": 0}
            aws.call("sagemaker", "update_training_job", TrainingJobName=job.name, ResourceConfig=released)
        except InvalidRequestError as error:
            _log.info("the warm pool of %s is not released: %s", job.name, error)
