"""Specs through the SDK against the local SageMaker: run as ``python _edge_run.py STEM FILE...``.

Starts each spec with the SDK's tuner (job ``STEM-sdk-N``), trains the last one's estimator with the SDK's trainer,
and makes a pipeline. Prints one JSON object on its last line.
"""

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

from sagemaker.core.workflow.pipeline_context import PipelineSession  # noqa: E402
from sagemaker.mlops.workflow.pipeline import Pipeline  # noqa: E402

import sm_tuning as smt  # noqa: E402
from sm_tuning import deploy, jobs  # noqa: E402
from sm_tuning.deploy._to_sdk import step_arguments  # noqa: E402
from sm_tuning.request import resolved  # noqa: E402

stem, *files = sys.argv[1:]
aws = smt.connect(environ=os.environ)
same, definitions = [], []
for number, file in enumerate(files):
    tuning = smt.load(file).replace(max_jobs=2, base_tuning_job_name="base")
    tuner = deploy.to_sdk_tuner(tuning, aws=aws)
    planned = jobs.plan(aws, tuning)
    wanted = resolved(planned.staged.tuning, role=planned.role, output_path=planned.output_path)
    same.append(deploy.from_sdk(tuner) == wanted)
    tuner.tune(job_name=f"{stem}-sdk-{number}", wait=False)
    step = deploy.tuning_step(f"Tune{number}", tuning, aws=aws, display_name="tune", description="it")
    pipeline = Pipeline(name="p", steps=[step], sagemaker_session=PipelineSession())
    (written,) = json.loads(pipeline.definition())["Steps"]
    request = step_arguments(planned.request("p", aws.region))
    definitions.append({"type": written["Type"], "same": written["Arguments"] == json.loads(json.dumps(request))})
    top = step.get_top_model_s3_uri(0, "bucket", "prefix")
    definitions[-1]["top"] = json.loads(json.dumps(top.expr, default=lambda one: one.expr))

# A trainer takes what a tuner would drop.
estimator = tuning.estimator.replace(encrypt_inter_container_traffic=True, max_retry_attempts=2, tags={"team": "a"})
trainer = deploy.to_model_trainer(estimator, inputs=tuning.inputs, aws=aws)
trainer.train(wait=True, logs=False)
trained = trainer._latest_training_job
print(json.dumps({"same": same, "definitions": definitions, "training": trained.training_job_name}))
