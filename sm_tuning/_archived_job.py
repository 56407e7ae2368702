"""The handle of a tuning job that is read from a folder."""

from __future__ import annotations

from sm_tuning._handle import TuningJob
from sm_tuning.archive import Archive, with_archive
from sm_tuning.aws import Aws
from sm_tuning.spec import Tuning


class ArchivedJob(TuningJob):
    """A tuning job that ran elsewhere, such as on Ray, read from the folder that it wrote. ``attach`` returns it.

    Frames, plots, report, exports and ``gate`` read the folder alone, also while the job runs. What needs SageMaker,
    such as ``best.evaluate`` and ``deploy``, uses the connection. ``stop`` raises SpecError, since a job is stopped
    where it runs.
    """

    def __init__(self, archive: Archive, aws: Aws) -> None:
        super().__init__(archive.name, with_archive(aws, archive))
        self._archive = archive

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self.uri!r}, status={self._last_status()!r})"

    @property
    def uri(self) -> str:
        """The URI of the folder."""
        return self._archive.uri

    @property
    def region(self) -> str:
        """The region of the connection; ``none`` without a region, which reading does not need."""
        return super().region

    def spec(self) -> Tuning:
        """Return the spec of the job, with its local paths and the block ``ray``.

        Raises:
            SpecError: the folder does not have it.
        """
        return self._archive.spec()
