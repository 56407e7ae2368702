"""Tuning jobs in folders: an executor writes their documents and logs, and ``Archive`` answers from them.

All names are imported on first use: a worker that writes does not need what reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.archive._archive import Archive, open_archive, with_archive
    from sm_tuning.archive._layout import (
        JOB_FILE,
        TRAINING_JOBS_FOLDER,
        Files,
        FolderFiles,
        LogEntry,
        S3Files,
        files_at,
        log_file,
        output_folder,
        path_of,
        place_of,
        read_log,
        training_job_file,
        write_job,
        write_log,
        write_training_job,
    )
else:
    _HOMES = {
        "._archive": ("Archive", "open_archive", "with_archive"),
        "._layout": (
            "JOB_FILE",
            "TRAINING_JOBS_FOLDER",
            "Files",
            "FolderFiles",
            "LogEntry",
            "S3Files",
            "files_at",
            "log_file",
            "output_folder",
            "path_of",
            "place_of",
            "read_log",
            "training_job_file",
            "write_job",
            "write_log",
            "write_training_job",
        ),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "JOB_FILE",
    "TRAINING_JOBS_FOLDER",
    "Archive",
    "Files",
    "FolderFiles",
    "LogEntry",
    "S3Files",
    "files_at",
    "log_file",
    "open_archive",
    "output_folder",
    "path_of",
    "place_of",
    "read_log",
    "training_job_file",
    "with_archive",
    "write_job",
    "write_log",
    "write_training_job",
]
