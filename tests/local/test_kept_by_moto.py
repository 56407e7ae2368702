"""What moto keeps, it gives back: each operation that is passed to moto is called here, and its effect is read."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from kept_services import kept, server, tags_of
from test_operations import value_of

from sm_tuning.local.http._passed import Kind, passed_operations

__all__ = ["kept", "server"]  # fixtures


def answer(call, **params):
    told = call(**params)
    told.pop("ResponseMetadata", None)
    return told


def test_every_empty_list_is_empty(server):
    expected = {
        "GetBucketLifecycleConfiguration": "NoSuchLifecycleConfiguration",
        "GetBucketReplication": "ReplicationConfigurationNotFoundError",
        "GetObjectLockConfiguration": "ObjectLockConfigurationNotFoundError",
        "ListExecutions": "StateMachineDoesNotExist",
        "ListPipelineExecutions": "ValidationException",
        "DescribeImages": "RepositoryNotFoundException",
        "ListImages": "RepositoryNotFoundException",
    }
    params = {
        "DescribeAlarmsForMetric": {"MetricName": "m", "Namespace": "n"},
        "ListRuleNamesByTarget": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"},
        "ListExecutions": {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:none"},
        "ListPipelineExecutions": {"PipelineName": "none"},
        "ListImages": {"repositoryName": "none"},
        "DescribeImages": {"repositoryName": "none"},
        "DescribeSubscriptionFilters": {"logGroupName": "group-for-filters"},
    }
    server.logs.create_log_group(logGroupName="group-for-filters")
    for (service, name), kind in passed_operations().items():
        if kind is not Kind.EMPTY:
            continue
        given = params.get(name, {"Bucket": server.info.bucket} if service == "s3" else {})
        call = getattr(server.client(service), xform_name(name))
        if name in expected:
            with pytest.raises(ClientError, match=expected[name]):
                call(**given)
        else:
            told = answer(call, **given)
            assert not any(told.values()), (service, name, told)


SAGEMAKER_RECORDS = (
    "DataQualityJobDefinition",
    "ModelBiasJobDefinition",
    "ModelCard",
    "ModelQualityJobDefinition",
    "Pipeline",
)


def test_moto_gives_back_the_sagemaker_resources_that_it_keeps(kept):
    client = kept("sagemaker")
    model = client.meta.service_model
    for kind in SAGEMAKER_RECORDS:
        given = value_of(model.operation_model(f"Create{kind}").input_shape, whole=True)
        given.pop("PipelineDefinitionS3Location", None)
        given.pop("PipelineVersionAliases", None)
        for member in ("PipelineDefinition", "Content"):
            if member in given:
                given[member] = "{}"
        made = answer(getattr(client, f"create_{xform_name(kind)}"), **given)
        arn = next(value for name, value in made.items() if name.endswith("Arn"))
        describe = model.operation_model(f"Describe{kind}")
        names = describe.input_shape.required_members
        name = {member: given[member] for member in names}
        told = getattr(client, xform_name(describe.name))(**name)
        for member in given.keys() & describe.output_shape.members.keys():
            assert told[member] == given[member], (kind, member)
        if kind != "ModelCard":
            assert answer(client.list_tags, ResourceArn=arn)["Tags"] == given["Tags"], kind
            client.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": "1"}])
            client.delete_tags(ResourceArn=arn, TagKeys=[given["Tags"][0]["Key"]])
            assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "more", "Value": "1"}], kind
        assert given[names[0]] in json.dumps(getattr(client, f"list_{xform_name(kind)}s")(), default=str)
        if kind == "Pipeline":
            client.update_pipeline(PipelineName=given["PipelineName"], PipelineDefinition='{"a": 1}')
            assert client.describe_pipeline(PipelineName=given["PipelineName"])["PipelineDefinition"] == '{"a": 1}'
        if kind == "ModelCard":
            client.update_model_card(ModelCardName=given["ModelCardName"], Content='{"a": 1}')
            assert client.describe_model_card(ModelCardName=given["ModelCardName"])["Content"] == '{"a": 1}'
            versions = client.list_model_card_versions(ModelCardName=given["ModelCardName"])
            assert len(versions["ModelCardVersionSummaryList"]) == 2
        getattr(client, f"delete_{xform_name(kind)}")(**name)
        with pytest.raises(ClientError):
            getattr(client, xform_name(describe.name))(**name)


def test_s3(kept):
    s3, bucket = kept("s3"), "a-bucket-that-keeps"
    s3.create_bucket(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None  # us-east-1
    assert bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    settings = {
        "bucket_cors": {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}},
        "bucket_encryption": {
            "ServerSideEncryptionConfiguration": {
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            }
        },
        "bucket_ownership_controls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}},
        "bucket_policy": {"Policy": json.dumps({"Version": "2012-10-17", "Statement": []})},
        "bucket_tagging": {"Tagging": {"TagSet": tags_of({"a": "1"})}},
        "public_access_block": {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "IgnorePublicAcls": False}},
    }
    for name, given in settings.items():
        getattr(s3, f"put_{name}")(Bucket=bucket, **given)
        told = getattr(s3, f"get_{name}")(Bucket=bucket)
        assert json.dumps(next(iter(next(iter(given.values())))))[1:-1] in json.dumps(told), name
        getattr(s3, f"delete_{name}")(Bucket=bucket)
        with pytest.raises(ClientError, match=r"NotFound|NoSuch"):
            getattr(s3, f"get_{name}")(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert len(s3.get_bucket_acl(Bucket=bucket)["Grants"]) == 2
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"22")["VersionId"]
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(one["VersionId"], one["Size"], one["IsLatest"]) for one in versions] == [
        (second, 2, True),
        (first, 1, False),
    ]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 2
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags_of({"a": "1"})})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags_of({"a": "1"})
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])["ObjectSize"] == 2
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert s3.head_object(Bucket=bucket, Key="copy")["ContentLength"] == 2
    assert len(s3.list_objects(Bucket=bucket)["Contents"]) == s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    place = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    part = s3.upload_part(**place, PartNumber=1, Body=bytes(5 * 1024**2))["ETag"]
    copied = s3.upload_part_copy(**place, PartNumber=2, CopySource={"Bucket": bucket, "Key": "k"})
    listed = s3.list_parts(**place)["Parts"]
    assert [one["ETag"] for one in listed] == [part, copied["CopyPartResult"]["ETag"]]
    parts = [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in listed]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=bucket, Key="parts")["ContentLength"] == 5 * 1024**2 + 2
    other = s3.create_multipart_upload(Bucket=bucket, Key="aborted")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=other)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key="k")
    gone = s3.list_object_versions(Bucket=bucket)
    doomed = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in gone["Versions"] + gone["DeleteMarkers"]]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    s3.delete_bucket(Bucket=bucket)
    assert bucket not in [one["Name"] for one in s3.list_buckets()["Buckets"]]


def test_logs(kept):
    logs, group = kept("logs"), "/a/group"
    logs.create_log_group(logGroupName=group)
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    [told] = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert told["retentionInDays"] == 7
    logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    logs.tag_log_group(logGroupName=group, tags={"a": "1", "b": "2"})
    logs.untag_log_group(logGroupName=group, tags=["a"])
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {"b": "2"}
    arn = told["arn"].removesuffix(":*")
    logs.tag_resource(resourceArn=arn, tags={"c": "3"})
    logs.untag_resource(resourceArn=arn, tagKeys=["b"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "3"}
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = told["creationTime"]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": now, "message": "hello"}])
    assert logs.get_log_events(logGroupName=group, logStreamName="s")["events"][0]["message"] == "hello"
    assert [one["message"] for one in logs.filter_log_events(logGroupName=group)["events"]] == ["hello"]
    assert [one["logStreamName"] for one in logs.describe_log_streams(logGroupName=group)["logStreams"]] == ["s"]
    logs.delete_log_stream(logGroupName=group, logStreamName="s")
    assert logs.describe_log_streams(logGroupName=group)["logStreams"] == []
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []


def test_cloudwatch(kept):
    client, now = kept("cloudwatch"), dt.datetime.now(dt.UTC)
    client.put_metric_data(Namespace="N", MetricData=[{"MetricName": "m", "Value": 2.0, "Timestamp": now}])
    window = {"StartTime": now - dt.timedelta(hours=1), "EndTime": now + dt.timedelta(hours=1)}
    assert [one["MetricName"] for one in client.list_metrics(Namespace="N")["Metrics"]] == ["m"]
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    told = client.get_metric_data(MetricDataQueries=[{"Id": "a", "MetricStat": stat}], **window)
    assert told["MetricDataResults"][0]["Values"] == [2.0]
    points = client.get_metric_statistics(Namespace="N", MetricName="m", Period=60, Statistics=["Sum"], **window)
    assert [one["Sum"] for one in points["Datapoints"]] == [2.0]
    body = json.dumps({"widgets": [{"type": "text", "properties": {"markdown": "hi"}}]})
    client.put_dashboard(DashboardName="d", DashboardBody=body)
    assert json.loads(client.get_dashboard(DashboardName="d")["DashboardBody"]) == json.loads(body)
    assert [one["DashboardName"] for one in client.list_dashboards()["DashboardEntries"]] == ["d"]
    client.delete_dashboards(DashboardNames=["d"])
    assert client.list_dashboards()["DashboardEntries"] == []


def test_roles_and_policies(kept):
    iam = kept("iam")
    principal = {"Service": "sagemaker.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    made = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust), Tags=tags_of({"a": "1"}))["Role"]
    assert iam.get_role(RoleName="r")["Role"]["Arn"] == made["Arn"]
    assert made["Arn"] in [one["Arn"] for one in iam.list_roles()["Roles"]]
    iam.tag_role(RoleName="r", Tags=tags_of({"b": "2"}))
    iam.untag_role(RoleName="r", TagKeys=["a"])
    assert iam.list_role_tags(RoleName="r")["Tags"] == tags_of({"b": "2"})
    iam.update_role(RoleName="r", MaxSessionDuration=7200)
    iam.update_role_description(RoleName="r", Description="d")
    told = iam.get_role(RoleName="r")["Role"]
    assert (told["MaxSessionDuration"], told["Description"]) == (7200, "d")
    trust["Statement"][0]["Principal"]["Service"] = "lambda.amazonaws.com"
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(trust))
    assert iam.get_role(RoleName="r")["Role"]["AssumeRolePolicyDocument"] == trust
    iam.put_role_policy(RoleName="r", PolicyName="inline", PolicyDocument=json.dumps(policy))
    assert iam.get_role_policy(RoleName="r", PolicyName="inline")["PolicyDocument"] == policy
    assert iam.list_role_policies(RoleName="r")["PolicyNames"] == ["inline"]
    iam.delete_role_policy(RoleName="r", PolicyName="inline")
    assert iam.list_role_policies(RoleName="r")["PolicyNames"] == []
    arn = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
    assert [one["Arn"] for one in iam.list_policies(Scope="Local")["Policies"]] == [arn]
    iam.tag_policy(PolicyArn=arn, Tags=tags_of({"a": "1", "b": "2"}))
    iam.untag_policy(PolicyArn=arn, TagKeys=["a"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == tags_of({"b": "2"})
    other = json.dumps(policy).replace("s3:*", "sqs:*")
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=other)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == policy
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    assert [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v2"]
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    assert [one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"]] == [arn]
    assert [one["RoleName"] for one in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]] == ["r"]
    assert iam.list_instance_profiles_for_role(RoleName="r")["InstanceProfiles"] == []
    iam.detach_role_policy(RoleName="r", PolicyArn=arn)
    assert iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"] == []
    iam.delete_policy(PolicyArn=arn)
    iam.delete_role(RoleName="r")
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName="r")


def test_state_machines(kept, server):
    states = kept("stepfunctions")
    definition = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})
    role = server.info.role_arn
    arn = states.create_state_machine(name="m", definition=definition, roleArn=role)["stateMachineArn"]
    assert states.describe_state_machine(stateMachineArn=arn)["definition"] == definition
    assert [one["name"] for one in states.list_state_machines()["stateMachines"]] == ["m"]
    other = definition.replace('"a"', '"b"')
    states.update_state_machine(stateMachineArn=arn, definition=other)
    assert states.describe_state_machine(stateMachineArn=arn)["definition"] == other
    states.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    states.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert states.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    with pytest.raises(ClientError, match="does not support stepfunctions:StartExecution: it keeps state machines"):
        states.start_execution(stateMachineArn=arn)
    assert states.list_executions(stateMachineArn=arn)["executions"] == []
    states.delete_state_machine(stateMachineArn=arn)
    assert states.list_state_machines()["stateMachines"] == []


def test_repositories(kept):
    ecr = kept("ecr")
    arn = ecr.create_repository(repositoryName="images")["repository"]["repositoryArn"]
    assert [one["repositoryArn"] for one in ecr.describe_repositories()["repositories"]] == [arn]
    assert ecr.list_images(repositoryName="images")["imageIds"] == []
    assert ecr.describe_images(repositoryName="images")["imageDetails"] == []
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:GetDownloadUrlForLayer"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    ecr.set_repository_policy(repositoryName="images", policyText=json.dumps(policy))
    assert json.loads(ecr.get_repository_policy(repositoryName="images")["policyText"]) == policy
    ecr.delete_repository_policy(repositoryName="images")
    ecr.tag_resource(resourceArn=arn, tags=tags_of({"a": "1", "b": "2"}))
    ecr.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == tags_of({"b": "2"})
    ecr.delete_repository(repositoryName="images")
    assert ecr.describe_repositories()["repositories"] == []


def test_parameters(kept):
    ssm = kept("ssm")
    ssm.put_parameter(Name="/a/b", Value="1", Type="String")
    ssm.put_parameter(Name="/a/b", Value="2", Type="String", Overwrite=True)
    ssm.put_parameter(Name="/a/c", Value="secret", Type="SecureString")
    assert ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == "2"
    told = ssm.get_parameters(Names=["/a/b", "/a/c"], WithDecryption=True)["Parameters"]
    assert {one["Name"]: one["Value"] for one in told} == {"/a/b": "2", "/a/c": "secret"}
    assert len(ssm.get_parameters_by_path(Path="/a")["Parameters"]) == len(ssm.describe_parameters()["Parameters"]) == 2
    assert [one["Value"] for one in ssm.get_parameter_history(Name="/a/b")["Parameters"]] == ["1", "2"]
    place = {"ResourceType": "Parameter", "ResourceId": "/a/b"}
    ssm.add_tags_to_resource(**place, Tags=tags_of({"a": "1", "b": "2"}))
    ssm.remove_tags_from_resource(**place, TagKeys=["a"])
    assert ssm.list_tags_for_resource(**place)["TagList"] == tags_of({"b": "2"})
    ssm.delete_parameter(Name="/a/b")
    assert ssm.delete_parameters(Names=["/a/c", "/none"])["InvalidParameters"] == ["/none"]


def test_secrets(kept):
    client = kept("secretsmanager")
    client.create_secret(Name="s", SecretString="one")
    client.put_secret_value(SecretId="s", SecretString="two")
    assert client.get_secret_value(SecretId="s")["SecretString"] == "two"
    assert client.get_secret_value(SecretId="s", VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    client.update_secret(SecretId="s", SecretString="three", Description="d")
    assert client.batch_get_secret_value(SecretIdList=["s"])["SecretValues"][0]["SecretString"] == "three"
    assert client.describe_secret(SecretId="s")["Description"] == "d"
    assert [one["Name"] for one in client.list_secrets()["SecretList"]] == ["s"]
    assert len(client.list_secret_version_ids(SecretId="s")["Versions"]) >= 2
    client.tag_resource(SecretId="s", Tags=tags_of({"a": "1", "b": "2"}))
    client.untag_resource(SecretId="s", TagKeys=["a"])
    assert client.describe_secret(SecretId="s")["Tags"] == tags_of({"b": "2"})
    client.delete_secret(SecretId="s")
    client.restore_secret(SecretId="s")
    assert client.get_secret_value(SecretId="s")["SecretString"] == "three"
    assert len(client.get_random_password(PasswordLength=20)["RandomPassword"]) == 20


def test_keys(kept):
    kms = kept("kms")
    key = kms.create_key(Description="k")["KeyMetadata"]["KeyId"]
    assert key in [one["KeyId"] for one in kms.list_keys()["Keys"]]
    kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
    assert kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["KeyId"] == key
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName="alias/mine", TargetKeyId=other)
    assert {one["AliasName"]: one.get("TargetKeyId") for one in kms.list_aliases()["Aliases"]}["alias/mine"] == other
    kms.delete_alias(AliasName="alias/mine")
    sealed = kms.encrypt(KeyId=key, Plaintext=b"text")["CiphertextBlob"]
    assert sealed != b"text"
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"text"
    again = kms.re_encrypt(CiphertextBlob=sealed, DestinationKeyId=other)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=again)["KeyId"].endswith(other)
    data = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    blind = kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256")
    assert len(kms.decrypt(CiphertextBlob=blind["CiphertextBlob"])["Plaintext"]) == 32
    kms.update_key_description(KeyId=key, Description="new")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "new"
    policy = {"Version": "2012-10-17", "Statement": []}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == policy
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "1"}, {"TagKey": "b", "TagValue": "2"}])
    kms.untag_resource(KeyId=key, TagKeys=["a"])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "b", "TagValue": "2"}]
    kms.schedule_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    kms.cancel_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


def test_tables(kept):
    table, client = "t", kept("dynamodb")
    arn = client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]["TableArn"]
    assert client.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    assert client.list_tables()["TableNames"] == [table]
    key = {"id": {"S": "1"}}
    client.put_item(TableName=table, Item={**key, "n": {"N": "1"}})
    client.update_item(
        TableName=table, Key=key, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}
    )
    assert client.get_item(TableName=table, Key=key)["Item"]["n"] == {"N": "2"}
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.put_item(TableName=table, Item=key, ConditionExpression="attribute_not_exists(id)")
    client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": {"id": {"S": "2"}}}}]})
    client.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": {"id": {"S": "3"}}}}])
    assert len(client.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": key}}])["Responses"]) == 1
    assert len(client.batch_get_item(RequestItems={table: {"Keys": [key]}})["Responses"][table]) == 1
    assert client.scan(TableName=table)["Count"] == 3
    asked = {"KeyConditionExpression": "id = :id", "ExpressionAttributeValues": {":id": {"S": "2"}}}
    assert client.query(TableName=table, **asked)["Count"] == 1
    client.tag_resource(ResourceArn=arn, Tags=tags_of({"a": "1", "b": "2"}))
    client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert client.list_tags_of_resource(ResourceArn=arn)["Tags"] == tags_of({"b": "2"})
    client.delete_item(TableName=table, Key=key)
    assert client.scan(TableName=table)["Count"] == 2
    client.delete_table(TableName=table)
    assert client.list_tables()["TableNames"] == []


def test_each_service_that_is_passed_to_moto_is_shown_here():
    here = Path(__file__)
    source = "".join(path.read_text(encoding="utf-8") for path in here.parent.glob("test_kept_*.py"))
    lists_only = {"events"}
    assert {service for service, _ in passed_operations() if f'kept("{service}")' not in source} == lists_only
