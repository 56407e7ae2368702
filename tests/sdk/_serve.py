"""A user's program that serves, transforms and processes with the SageMaker SDK v3: it knows nothing of sm_tuning.

Run as ``python _serve.py FOLDER BUCKET ROLE``; prints one JSON object on its last line. The folder has a model archive
and rows.
"""

import json
import sys
from pathlib import Path

import boto3
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProcessingOutput, ProcessingS3Output, ProductionVariant
from sagemaker.core.transformer import Transformer

folder, bucket, role = sys.argv[1:]
session = Session(default_bucket=bucket)
uri = session.upload_data(folder, bucket=bucket, key_prefix="sdk-serve")
rows = Path(folder, "rows.csv").read_text()
machine = {"instance_type": "ml.m5.large", "instance_count": 1, "sagemaker_session": session}
image = image_uris.retrieve("xgboost", "us-east-1", version="1.7-1")
s3 = boto3.client("s3")


def read(key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


container = ContainerDefinition(image=image, model_data_url=f"{uri}/model.tar.gz")
Model.create(model_name="sdk-model", primary_container=container, execution_role_arn=role)
variant = ProductionVariant(
    variant_name="all", model_name="sdk-model", instance_type="ml.m5.large", initial_instance_count=1
)
EndpointConfig.create(endpoint_config_name="sdk-config", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name="sdk-endpoint", endpoint_config_name="sdk-config")
endpoint.wait_for_status("InService")
predicted = endpoint.invoke(body=rows, content_type="text/csv", accept="text/csv").body.read().decode()
endpoint.delete()

transformer = Transformer(
    model_name="sdk-model", output_path=f"s3://{bucket}/sdk-out", assemble_with="Line", accept="text/csv", **machine
)
transformer.transform(f"{uri}/rows.csv", content_type="text/csv", split_type="Line", wait=True, logs=False)

script = Path("job.py")
script.write_text("import pathlib\npathlib.Path('/opt/ml/processing/out/a.txt').write_text('processed')\n")
place = ProcessingS3Output(
    s3_uri=f"s3://{bucket}/sdk-processed", local_path="/opt/ml/processing/out", s3_upload_mode="EndOfJob"
)
processor = ScriptProcessor(
    role=role,
    image_uri=image_uris.retrieve("sklearn", "us-east-1", version="1.2-1", instance_type="ml.m5.large"),
    command=["python3"],
    **machine,
)
processor.run(code=str(script), outputs=[ProcessingOutput(output_name="out", s3_output=place)], wait=True, logs=False)

print(
    json.dumps(
        {
            "model": Model.get("sdk-model").model_name,
            "endpoint": predicted.split(),
            "transform": read("sdk-out/rows.csv.out").split(),
            "processed": read("sdk-processed/a.txt"),
        }
    )
)
