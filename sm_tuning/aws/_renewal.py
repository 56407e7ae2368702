"""Credentials that have expired and were renewed where they came from.

A boto3 session reads ``~/.aws`` once. A tool, or the user, may renew the file, the environment or the sign-in while a
wait lasts for days, so the source is read again when a service refuses the credentials.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from sm_tuning._errors import ServiceError
from sm_tuning.aws._errors import is_expired

_log = logging.getLogger(__name__)


def may_be_renewed(session: Any, error: ServiceError) -> bool:
    """Return whether the credentials have expired, and their source may have new ones soon."""
    return is_expired(error) and not _are_given(session.get_credentials())


def renewed_keys(session: Any, used: Any) -> Any:
    """Return the keys that the source of a session's credentials has now; None if they have not changed.

    Args:
        session: the boto3 session.
        used: the keys that were refused; None for those of the session.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.session import Session  # noqa: PLC0415

    # A profile that is named takes precedence over keys in the environment, so only a given one is named.
    ambient = ("default", os.environ.get("AWS_PROFILE"), os.environ.get("AWS_DEFAULT_PROFILE"))
    profile = None if session.profile_name in ambient else session.profile_name
    try:
        credentials = session.get_credentials()
        if _are_given(credentials):
            return None
        fresh = Session(profile=profile).get_credentials()
        keys = None if fresh is None else fresh.get_frozen_credentials()
    except (BotoCoreError, ClientError, RuntimeError) as error:
        _log.info("the credentials cannot be renewed: %s", error)
        return None
    if used is None and credentials is not None:
        try:
            used = credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError):
            used = None  # they cannot be refreshed, so that any keys are new
    return None if keys == used else keys


def _are_given(credentials: Any) -> bool:
    """Return whether the caller gave the keys, so that there is no source to read again."""
    return getattr(credentials, "method", None) == "explicit"
