"""The dashboard and the alert rules: promtool can read them, and what they ask for is exposed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from console.test_exposition import full_facts, read, shown

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
METRIC = re.compile(r"\bpointsman_[a-z_]+")
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def alert_expressions() -> list[str]:
    lines = (FOLDER / "alerts.yml").read_text().splitlines()
    return [line.partition("expr: ")[2] for line in lines if "expr: " in line]


def exposed() -> set[str]:
    families = read(shown(full_facts())).values()
    return {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("expressions", [dashboard_expressions(), alert_expressions()])
def test_every_metric_that_is_asked_for_is_exposed(expressions: list[str]) -> None:
    asked = {name for expression in expressions for name in METRIC.findall(expression)}
    assert len(asked) >= 8
    assert asked <= exposed()


def check_rules(path: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_reads_the_alert_rules() -> None:
    check_rules(FOLDER / "alerts.yml")


@needs_promtool
def test_promtool_parses_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:{number}", "expr": expression}
        for number, expression in enumerate(dashboard_expressions())
    ]
    path = tmp_path / "dashboard-rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check_rules(path)
