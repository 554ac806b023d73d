"""Alert rules and the Grafana dashboard: their language, their types, and that the metrics exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from judge_service.telemetry.prometheus import METRICS
from tests.deploy.conftest import DEPLOY, Run

ALERTS = DEPLOY / "monitoring" / "alerts.yaml"
DASHBOARD = DEPLOY / "monitoring" / "grafana.json"
TYPED = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
print(JSONEncoder().encode(Dashboard.from_json(json.load(sys.stdin))))
"""


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def kept(given: Any, back: Any, path: str = "$") -> None:
    """Asserts that nothing of `given` is missing or different in `back`."""
    if isinstance(given, dict):
        for key, value in given.items():
            assert key in back, f"Grafana's types have no {path}.{key}"
            kept(value, back[key], f"{path}.{key}")
    elif isinstance(given, list):
        assert len(given) == len(back), path
        for place, (one, other) in enumerate(zip(given, back, strict=True)):
            kept(one, other, f"{path}[{place}]")
    else:
        assert given == back, path


def files_that_name_metrics() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.suffix in {".yaml", ".json", ".tpl"}]


def test_promtool_takes_the_rules(run: Run) -> None:
    done = run("promtool", "check", "rules", ALERTS)

    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_before(run: Run) -> None:
    done = run("promtool", "test", "rules", Path(__file__).with_name("alerts_test.yaml"))

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_of_the_dashboard_is_promql(run: Run, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{place}", "expr": expression.replace("$__rate_interval", "1m")}
        for place, expression in enumerate(expressions())
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = run("promtool", "check", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_dashboard_is_made_of_what_grafana_knows(run: Run) -> None:
    run("hadolint", "--version")  # skips where the environment of the linters is absent
    python = DEPLOY.parent / ".venv-deploy" / "bin" / "python"
    done = run(str(python), "-c", TYPED, stdin=DASHBOARD.read_text())

    assert done.returncode == 0, done.stderr
    kept(dashboard(), json.loads(done.stdout))


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


@pytest.mark.parametrize("path", files_that_name_metrics(), ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"\bjudge_[a-z_]+\b(?!:)", path.read_text()))
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}

    assert named - {"judge_service"} <= METRICS.keys()


def test_the_dashboard_shows_every_metric_but_the_sizes_of_the_quotas() -> None:
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for expression in expressions()
        for name in re.findall(r"\bjudge_[a-z_]+", expression)
    }

    assert METRICS.keys() - shown == {"judge_quota_per_minute"}
