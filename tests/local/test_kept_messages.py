"""Queues and topics that moto keeps: each operation that is passed to moto is called, and its effect is read."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from kept_services import kept, server, tags_of

__all__ = ["kept", "server"]  # fixtures


def test_queues(kept):
    sqs = kept("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    assert sqs.get_queue_url(QueueName="q")["QueueUrl"] == url
    assert sqs.list_queues()["QueueUrls"] == [url]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["VisibilityTimeout"] == "5"
    sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}
    sqs.send_message(QueueUrl=url, MessageBody="one")
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "two"}, {"Id": "2", "MessageBody": "three"}]
    )
    taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [one["Body"] for one in taken] == ["one", "two", "three"]
    handles = [one["ReceiptHandle"] for one in taken]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handles[0], VisibilityTimeout=0)
    entries = [{"Id": "1", "ReceiptHandle": handles[1], "VisibilityTimeout": 0}]
    sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    again = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [one["Body"] for one in again] == ["one", "two"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": again[1]["ReceiptHandle"]}])
    sqs.purge_queue(QueueUrl=url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)
    assert "QueueUrls" not in sqs.list_queues()


def test_topics_deliver_to_queues(kept, server):
    sns, sqs = kept("sns"), server.client("sqs")
    topic = sns.create_topic(Name="t")["TopicArn"]
    assert [one["TopicArn"] for one in sns.list_topics()["Topics"]] == [topic]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="d")
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "d"
    url = sqs.create_queue(QueueName="of-topic")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscribed = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
    assert [one["SubscriptionArn"] for one in sns.list_subscriptions()["Subscriptions"]] == [subscribed]
    assert len(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]) == 1
    sns.set_subscription_attributes(
        SubscriptionArn=subscribed, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    told = sns.get_subscription_attributes(SubscriptionArn=subscribed)["Attributes"]
    assert told["RawMessageDelivery"] == "true"
    sns.publish(TopicArn=topic, Message="one")
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "1", "Message": "two"}])
    assert [one["Body"] for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]] == [
        "one",
        "two",
    ]
    sns.tag_resource(ResourceArn=topic, Tags=tags_of({"a": "1", "b": "2"}))
    sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == tags_of({"b": "2"})
    with pytest.raises(ClientError, match="does not support subscriptions with protocol email: subscribe an SQS"):
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.org")
    with pytest.raises(ClientError, match="does not support text messages to a PhoneNumber"):
        sns.publish(PhoneNumber="+15550100", Message="m")
    sns.unsubscribe(SubscriptionArn=subscribed)
    sns.delete_topic(TopicArn=topic)
    assert sns.list_topics()["Topics"] == []
