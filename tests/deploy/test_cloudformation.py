"""The CloudFormation templates of `deploy/aws`."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from judge_service.settings import ServiceSettings, keys
from tests.deploy.conftest import DEPLOY, Run

TEMPLATES = sorted((DEPLOY / "aws").glob("*.yaml"))


class Loader(yaml.SafeLoader):
    """Reads `!Ref x` and the like as what they hold."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", _plain)


def resources(name: str) -> dict[str, Any]:
    found = yaml.load((DEPLOY / "aws" / f"{name}.yaml").read_text(), Loader)["Resources"]
    return {key: resource["Properties"] for key, resource in found.items()}


def settings_named(name: str) -> set[str]:
    """Variables of ours that a template sets."""
    if name == "sagemaker":
        variables = set(resources(name)["JudgeModel"]["PrimaryContainer"]["Environment"])
    else:
        container = resources(name)["Task"]["ContainerDefinitions"][0]
        variables = {entry["Name"] for entry in container["Environment"]}
    return {variable for variable in variables if variable.startswith("JUDGE_")}


def test_cfn_lint_has_nothing_to_say(run: Run) -> None:
    done = run(str(Path(sys.executable).with_name("cfn-lint")), *TEMPLATES)

    assert (done.stdout, done.returncode) == ("", 0)


def test_there_is_a_template_for_each_platform() -> None:
    assert [template.stem for template in TEMPLATES] == ["ecs", "sagemaker"]


@pytest.mark.parametrize("name", ["ecs", "sagemaker"])
def test_every_variable_that_a_template_sets_is_a_setting(name: str) -> None:
    assert settings_named(name)
    assert settings_named(name) <= {key.variable for key in keys()}


def test_the_task_may_write_nowhere_but_in_its_volumes_and_is_nobody() -> None:
    container = resources("ecs")["Task"]["ContainerDefinitions"][0]

    assert container["ReadonlyRootFilesystem"] is True
    assert container["User"] == "10001:10001"
    assert {mount["ContainerPath"] for mount in container["MountPoints"]} == {
        "/tmp",
        "/var/lib/judge",
    }


def test_the_task_may_drain_before_it_is_killed() -> None:
    service = ServiceSettings()
    grace = resources("ecs")["Task"]["ContainerDefinitions"][0]["StopTimeout"]

    assert service.unready_s + service.drain_s < grace


def test_the_endpoint_scales_on_requests_at_work() -> None:
    policy = resources("sagemaker")["Scaling"]["TargetTrackingScalingPolicyConfiguration"]
    variant = resources("sagemaker")["EndpointConfig"]["ProductionVariants"][0]["VariantName"]

    assert policy["PredefinedMetricSpecification"]["PredefinedMetricType"] == (
        "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    )
    assert resources("sagemaker")["ScalableTarget"]["ResourceId"].endswith(f"/variant/{variant}")
