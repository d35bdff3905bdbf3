"""cluster.yaml and docs/clusters/aws.yaml against a simulated AWS: roles, image, what is open, what is started."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
ROOT = Path(__file__).parents[2]
REGION = "us-west-2"


@pytest.fixture
def account(tmp_path, monkeypatch):
    """An account in which docs/clusters/aws.yaml was deployed once."""
    for key, value in {"AWS_ACCESS_KEY_ID": "-", "AWS_SECRET_ACCESS_KEY": "-", "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps the key for SSH there
    text = (ROOT / "docs" / "clusters" / "aws.yaml").read_text()
    newest = text.partition("Default: ")[2].split()[0]
    with moto.mock_aws():
        image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
        boto3.client("ssm").put_parameter(Name="/newest", Type="String", Value=image)
        boto3.client("cloudformation").create_stack(
            StackName="orch",
            TemplateBody=text.replace(newest, "/newest"),
            Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "bucket"}],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        yield image


def test_ray_starts_nodes_with_the_image_the_profile_and_nothing_open_but_ssh(account):
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = bootstrap_aws(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text())))
    nodes = {name: node["node_config"] for name, node in config["available_node_types"].items()}
    pinned = boto3.client("ssm").get_parameters(Names=["/orch/image"])["Parameters"][0]
    assert {node["ImageId"] for node in nodes.values()} == {f"resolve:ssm:{pinned['Name']}"}
    assert (pinned["Value"], pinned["DataType"]) == (account, "aws:ec2:image")

    (group,) = {name for node in nodes.values() for name in node["SecurityGroupIds"]}
    rules = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in rules if rule["IpRanges"]] == [(22, 22)]

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node in nodes.items():
        tags = {"ray-node-kind": "worker", "ray-node-name": name, "ray-user-node-type": name}
        provider.create_node({**node, "ImageId": pinned["Value"]}, tags, 1)  # moto does not resolve it
    launched = boto3.client("ec2").describe_instances()["Reservations"]
    found = {
        next(tag["Value"] for tag in instance["Tags"] if tag["Key"] == "ray-user-node-type"): instance
        for reservation in launched
        for instance in reservation["Instances"]
    }
    assert {name for name, node in found.items() if node.get("InstanceLifecycle") == "spot"} == {"cpu-spot", "gpu-spot"}
    profiles = {name: node["IamInstanceProfile"]["Arn"].rpartition("/")[2] for name, node in found.items()}
    assert profiles == {name: "orch-head" if name == "head" else "orch-worker" for name in nodes}


def test_the_head_may_hand_on_the_workers_role_and_no_other(account):
    iam = boto3.client("iam")
    document = iam.get_role_policy(RoleName="orch-head", PolicyName="start-workers")["PolicyDocument"]
    statements = yaml.safe_load(str(document))["Statement"]  # moto gives it as text
    (passed,) = [statement for statement in statements if statement["Action"] == "iam:PassRole"]
    assert passed["Resource"] == iam.get_role(RoleName="orch-worker")["Role"]["Arn"]
    for name in ("orch-head", "orch-worker"):
        roles = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        assert [role["RoleName"] for role in roles] == [name]
