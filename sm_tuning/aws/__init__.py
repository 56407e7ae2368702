"""The wire: the only place that makes clients, calls AWS, and knows its errors."""

from sm_tuning.aws._answers import BrokenAnswerError, check_subject, parse_answer
from sm_tuning.aws._aws import Aws, connect
from sm_tuning.aws._errors import REGION_ADVICE, is_missing, is_transient, mapped, was_retried
from sm_tuning.aws._identity import (
    BUCKET_VARIABLE,
    ROLE_VARIABLE,
    STUDIO_METADATA,
    Bucket,
    ensure_bucket,
    find_account,
    find_bucket,
    find_role,
    is_role_arn,
)
from sm_tuning.aws._poll import CLOCK, PATIENCE, STUDY_INTERVAL, Clock, Policy, Retry
from sm_tuning.aws._price_list import PriceList, find_prices
from sm_tuning.aws._upload import Uploaded, UploadLike, UploadOptions, split_uri, upload

__all__ = [
    "BUCKET_VARIABLE",
    "CLOCK",
    "PATIENCE",
    "REGION_ADVICE",
    "ROLE_VARIABLE",
    "STUDIO_METADATA",
    "STUDY_INTERVAL",
    "Aws",
    "BrokenAnswerError",
    "Bucket",
    "Clock",
    "Policy",
    "PriceList",
    "Retry",
    "UploadLike",
    "UploadOptions",
    "Uploaded",
    "check_subject",
    "connect",
    "ensure_bucket",
    "find_account",
    "find_bucket",
    "find_prices",
    "find_role",
    "is_missing",
    "is_role_arn",
    "is_transient",
    "mapped",
    "parse_answer",
    "split_uri",
    "upload",
    "was_retried",
]
