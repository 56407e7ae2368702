#!/usr/bin/env python3
"""A stack that tunes every Monday, and registers the best model when it is good enough: ``npx aws-cdk synth``."""

import os
from pathlib import Path

import aws_cdk as cdk

from sm_tuning.deploy.cdk import TuningJob, TuningJobProps

SPEC = Path(__file__).with_name("tuning.yaml")

app = cdk.App()
env = cdk.Environment(
    account=os.environ.get("CDK_DEFAULT_ACCOUNT"),
    region=os.environ.get("CDK_DEFAULT_REGION", "us-east-1"),  # the training image depends on it
)
stack = cdk.Stack(app, "DiabetesTuning", env=env)
tuning = TuningJob(
    stack,
    "Tuning",
    TuningJobProps(
        spec=SPEC,
        threshold=70,  # validation:rmse is minimized: at most 70
        model_package_group="diabetes",
        approval="PendingManualApproval",
        schedule="cron(0 6 ? * MON *)",
    ),
)
cdk.CfnOutput(stack, "StateMachine", value=tuning.state_machine.state_machine_arn)
app.synth()
