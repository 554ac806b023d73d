"""The chart, rendered by helm itself and held to the schemas of the Kubernetes API."""

import tomllib
from pathlib import Path
from typing import Any

import yaml

from judge_service.settings import ServiceSettings, keys
from tests.deploy.conftest import DEPLOY, Run

CHART = DEPLOY / "helm" / "judge-service"
EVERYTHING = (
    "--set=autoscaling.kind=keda,serviceMonitor.enabled=true,ports.admin=9100,apiKeysSecret=keys",
    "--set=envFromSecrets={openai},env[0].name=AWS_REGION,env[0].value=eu-west-1",
)
TO_END_S = ServiceSettings().unready_s + ServiceSettings().drain_s
CUSTOM = {"ScaledObject", "ServiceMonitor"}
"""Kinds of operators; the schemas of Kubernetes do not know them."""


def render(run: Run, *flags: str, name: str = "rewards") -> dict[str, Any]:
    """Manifests by kind."""
    done = run("helm", "template", name, CHART, *flags)
    assert done.returncode == 0, done.stderr
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout) if manifest}


def container(manifests: dict[str, Any]) -> Any:
    return manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def test_helm_lints_the_chart(run: Run) -> None:
    done = run("helm", "lint", "--strict", CHART)

    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_rendered_is_what_kubernetes_takes(run: Run, tmp_path: Path) -> None:
    rendered = [render(run), render(run, *EVERYTHING), render(run, "--set=autoscaling.kind=none")]
    known = [m for found in rendered for kind, m in found.items() if kind not in CUSTOM]
    path = tmp_path / "rendered.yaml"
    path.write_text(yaml.safe_dump_all(known))

    done = run("kubernetes-validate", "--strict", "--kubernetes-version", "1.34", path)

    assert done.returncode == 0, done.stdout
    assert done.stdout.count("passed for resource") == len(known)
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget"} <= rendered[0].keys()


def test_the_pod_may_write_nowhere_but_in_its_volumes_and_is_nobody(run: Run) -> None:
    manifests = render(run)
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    security = container(manifests)["securityContext"]

    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False


def test_kubernetes_puts_no_variables_of_our_prefix_into_the_pod(run: Run) -> None:
    """A Service `judge-service` would give JUDGE_SERVICE_PORT=tcp://..., and no pod would start."""
    pod = render(run, name="judge-service")["Deployment"]["spec"]["template"]["spec"]

    assert pod["enableServiceLinks"] is False


def test_every_variable_that_the_chart_sets_is_a_setting(run: Run) -> None:
    variables = {entry["name"] for entry in container(render(run, *EVERYTHING))["env"]}
    known = {key.variable for key in keys()}

    assert {name for name in variables if name.startswith("JUDGE_")} <= known | {"JUDGE_CONFIG"}


def test_the_settings_file_arrives_as_it_was_given(run: Run) -> None:
    text = 'model = "m"\n\n[limits]\nstore = "redis"\n'

    given = render(run, f"--set-string=config={text}")["ConfigMap"]["data"]["judge.toml"]

    assert tomllib.loads(given) == tomllib.loads(text)


def test_a_pod_may_drain_before_it_is_killed(run: Run) -> None:
    manifests = render(run)
    grace = manifests["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    sleep = container(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert sleep + TO_END_S < grace


def test_autoscaling_follows_the_queue(run: Run) -> None:
    scaled = render(run, *EVERYTHING)["ScaledObject"]["spec"]
    autoscaler = render(run, "--set=autoscaling.podsMetric=true")["HorizontalPodAutoscaler"]["spec"]

    assert scaled["scaleTargetRef"] == {"name": "rewards-judge-service"}
    assert scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    assert "judge_waiting_calls" in scaled["triggers"][0]["metadata"]["query"]
    assert autoscaler["metrics"][1]["pods"]["metric"]["name"] == "judge_waiting_calls"


def test_an_autoscaler_that_is_none_is_refused(run: Run) -> None:
    done = run("helm", "template", "rewards", CHART, "--set=autoscaling.kind=vpa")

    assert done.returncode != 0
    assert "autoscaling.kind is vpa; it is hpa, keda or none" in done.stderr


def test_prometheus_scrapes_the_port_that_has_the_metrics(run: Run) -> None:
    manifests = render(run, *EVERYTHING)
    endpoint = manifests["ServiceMonitor"]["spec"]["endpoints"][0]
    ports = {port["name"]: port["targetPort"] for port in manifests["Service"]["spec"]["ports"]}

    assert endpoint["path"] == "/metrics"
    assert ports[endpoint["port"]] == "admin"
    assert {"name": "admin", "containerPort": 9100} in container(manifests)["ports"]


def test_a_digest_goes_before_a_tag(run: Run) -> None:
    flags = "--set=image.digest=sha256:abc,image.tag=1,image.repository=here/judge"

    assert container(render(run, flags))["image"] == "here/judge@sha256:abc"
