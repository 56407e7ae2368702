"""A notebook that uses the SageMaker SDK v3 before, inside and after ``connect()``, in one process.

Run as ``python _connected.py FIRST_STATE_DIR SECOND_STATE_DIR``; prints one JSON object on its last line.
"""

import json
import sys

from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import HyperParameterTuningJob
from sagemaker.core.utils.logs import CloudWatchLogsClient

import sm_tuning as smt

said = []
for folder in sys.argv[1:]:
    with smt.local.connect(folder) as connection:
        session = Session()
        said.append(
            {
                "bucket": session.default_bucket() == connection.info.bucket,
                "role": get_execution_role() == connection.info.role_arn,
                "jobs": [job.hyper_parameter_tuning_job_name for job in HyperParameterTuningJob.get_all()],
            }
        )
        said[-1]["logs"] = CloudWatchLogsClient().client.meta.endpoint_url == connection.info.endpoint_url
        uri = session.upload_data(__file__, key_prefix="connected")
        assert uri.startswith(f"s3://{connection.info.bucket}/connected"), uri
print(json.dumps(said))
