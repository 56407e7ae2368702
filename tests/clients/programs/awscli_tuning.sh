# Tune the built-in XGBoost, wait, describe and transform, with the AWS CLI alone.
set -eu
data=$1
account=$(aws sts get-caller-identity --query Account --output text)
region=$(aws configure get region || echo "$AWS_DEFAULT_REGION")
bucket=sagemaker-$region-$account
prefix=awscli-diabetes
image=683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1
role=$(aws iam list-roles --query 'Roles[0].Arn' --output text)

aws s3 cp "$data/train.csv" "s3://$bucket/$prefix/train/" --quiet
aws s3 cp "$data/validation.csv" "s3://$bucket/$prefix/validation/" --quiet
cut -d, -f2- "$data/validation.csv" > features.csv
aws s3 cp features.csv "s3://$bucket/$prefix/test/" --quiet

cat > job.json <<JSON
{"HyperParameterTuningJobName": "awscli-tuning",
 "HyperParameterTuningJobConfig": {"Strategy": "Random",
  "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
  "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
  "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5"}]}},
 "TrainingJobDefinition": {
  "StaticHyperParameters": {"objective": "reg:squarederror", "num_round": "10"},
  "AlgorithmSpecification": {"TrainingImage": "$image", "TrainingInputMode": "File"},
  "RoleArn": "$role",
  "InputDataConfig": [
   {"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://$bucket/$prefix/train/"}}},
   {"ChannelName": "validation", "ContentType": "text/csv", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://$bucket/$prefix/validation/"}}}],
  "OutputDataConfig": {"S3OutputPath": "s3://$bucket/$prefix/output"},
  "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
  "StoppingCondition": {"MaxRuntimeInSeconds": 600}}}
JSON
aws sagemaker create-hyper-parameter-tuning-job --cli-input-json file://job.json --query HyperParameterTuningJobArn --output text
while [ "$(aws sagemaker describe-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name awscli-tuning \
    --query HyperParameterTuningJobStatus --output text)" = InProgress ]; do sleep 1; done
best=$(aws sagemaker describe-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name awscli-tuning \
    --query BestTrainingJob.TrainingJobName --output text)
aws sagemaker wait training-job-completed-or-stopped --training-job-name "$best"
model=$(aws sagemaker describe-training-job --training-job-name "$best" --query ModelArtifacts.S3ModelArtifacts --output text)
echo TRIALS "$(aws sagemaker list-training-jobs-for-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name awscli-tuning \
    --status-equals Completed --sort-by FinalObjectiveMetricValue --query 'length(TrainingJobSummaries)' --output text)"
stream=$(aws logs describe-log-streams --log-group-name /aws/sagemaker/TrainingJobs --log-stream-name-prefix "$best" \
    --query 'logStreams[0].logStreamName' --output text)
echo LOGS "$(aws logs get-log-events --log-group-name /aws/sagemaker/TrainingJobs --log-stream-name "$stream" \
    --start-from-head --output text | grep -c 'validation-rmse')"

aws sagemaker create-model --model-name awscli-model --execution-role-arn "$role" \
    --primary-container "Image=$image,ModelDataUrl=$model" > /dev/null
aws sagemaker create-transform-job --transform-job-name awscli-transform --model-name awscli-model \
    --transform-input "DataSource={S3DataSource={S3DataType=S3Prefix,S3Uri=s3://$bucket/$prefix/test/}},ContentType=text/csv,SplitType=Line" \
    --transform-output "S3OutputPath=s3://$bucket/$prefix/batch,AssembleWith=Line" \
    --transform-resources InstanceType=ml.m5.large,InstanceCount=1 > /dev/null
aws sagemaker wait transform-job-completed-or-stopped --transform-job-name awscli-transform
aws s3 cp "s3://$bucket/$prefix/batch/features.csv.out" - > out.csv
echo BATCH "$(wc -l < out.csv)"

aws sagemaker create-endpoint-config --endpoint-config-name awscli-config \
    --production-variants VariantName=all,ModelName=awscli-model,InitialInstanceCount=1,InstanceType=ml.m5.large > /dev/null
aws sagemaker create-endpoint --endpoint-name awscli-endpoint --endpoint-config-name awscli-config > /dev/null
aws sagemaker wait endpoint-in-service --endpoint-name awscli-endpoint
head -1 features.csv > row.csv
aws sagemaker-runtime invoke-endpoint --endpoint-name awscli-endpoint --content-type text/csv --body fileb://row.csv live.csv > /dev/null
[ "$(cat live.csv)" = "$(head -1 out.csv)" ] && echo LIVE same
aws sagemaker delete-endpoint --endpoint-name awscli-endpoint
aws sagemaker wait endpoint-deleted --endpoint-name awscli-endpoint
echo DONE
