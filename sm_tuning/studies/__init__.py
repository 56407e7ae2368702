"""Studies: tunings whose strategy runs in the client, over plain training jobs.

Decisions are records in S3 that are written once; facts are in the service. So any driver can continue a study, and
two drivers cannot start a trial twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.studies._backend import OnUpdate
    from sm_tuning.studies._control import (
        Driven,
        document,
        drive_study,
        find,
        launch,
        list_studies,
        refuse_study,
        stop_study,
    )
    from sm_tuning.studies._record import StudyRecord
    from sm_tuning.studies._remote import drive_here, driver_job, start_driver
    from sm_tuning.studies._source import StudySource, with_studies
    from sm_tuning.studies._store import Lease, LeaseLostError, Store
    from sm_tuning.studies._trials import StudyTrials, read_study
else:
    _HOMES = {
        "._backend": ("OnUpdate",),
        "._control": (
            "Driven",
            "document",
            "drive_study",
            "find",
            "launch",
            "list_studies",
            "refuse_study",
            "stop_study",
        ),
        "._record": ("StudyRecord",),
        "._remote": ("drive_here", "driver_job", "start_driver"),
        "._source": ("StudySource", "with_studies"),
        "._store": ("Lease", "LeaseLostError", "Store"),
        "._trials": ("StudyTrials", "read_study"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "Driven",
    "Lease",
    "LeaseLostError",
    "OnUpdate",
    "Store",
    "StudyRecord",
    "StudySource",
    "StudyTrials",
    "document",
    "drive_here",
    "drive_study",
    "driver_job",
    "find",
    "launch",
    "list_studies",
    "read_study",
    "refuse_study",
    "start_driver",
    "stop_study",
    "with_studies",
]
