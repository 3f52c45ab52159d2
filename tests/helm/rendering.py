"""The chart with the values of a test, what helm makes of them, and the form in which that is kept as golden."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import consumer


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["CASES", "CHART", "GOLDEN", "ROOT", "VALUES", "Chart", "golden_form", "host_chart"]


ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "moderation-consumer"
VALUES = Path(__file__).parent / "values"
GOLDEN = Path(__file__).parent / "golden"

CASES = tuple(sorted(path.stem for path in VALUES.glob("*.yaml")))
"""The sets of values with a golden rendering; `sidecar` are those of a chart that has ours among its dependencies."""

_FILE = re.compile(r"^```\w*\n# (?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class _Strict(yaml.SafeLoader):
    """Reads no key twice, where YAML's own reader would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # PyYAML's
        names = [self.construct_object(key) for key, _ in node.value]
        assert len(names) == len(set(names)), f"{names}{node.start_mark}"
        return super().construct_mapping(node, deep=deep)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart in the hands of one helm."""

    helm: Path
    folder: Path
    path: Path = CHART

    def tried(self, *command: str, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run a command of helm on the chart with these values."""
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        return subprocess.run(
            [self.helm, *command, self.path, "--values", file], capture_output=True, text=True, timeout=50, check=False
        )

    def run(self, *command: str, **values: Any) -> str:
        """The same, where nothing is wrong; what it says."""
        done = self.tried(*command, values=values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, **values: Any) -> str:
        """Why these values cannot be rendered."""
        done = self.tried("template", "release", values=values)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def documents(self, **values: Any) -> list[dict[str, Any]]:
        """What is applied to the cluster."""
        text = self.run("template", "release", **values)
        return [one for one in yaml.load_all(text, _Strict) if one is not None]

    def objects(self, **values: Any) -> dict[str, Any]:
        """The same by kind, where there is one of each."""
        return {one["kind"]: one for one in self.documents(**values)}

    def pod(self, **values: Any) -> dict[str, Any]:
        """The template of the pods."""
        template: dict[str, Any] = self.objects(**values)["Deployment"]["spec"]["template"]
        return template

    def case(self, name: str) -> list[dict[str, Any]]:
        """What is applied to the cluster with the values of a case."""
        values = yaml.safe_load((VALUES / f"{name}.yaml").read_text())
        return (host_chart(self) if name == "sidecar" else self).documents(**values)


def host_chart(ours: Chart) -> Chart:
    """The chart that the README shows as an example of one that takes ours in, with ours as it is here."""
    host = ours.folder / "host"
    text = (CHART / "README.md").read_text()
    for found in _FILE.finditer(text):
        path = host / found["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["text"])
    shutil.copytree(CHART, host / "charts" / CHART.name, dirs_exist_ok=True)
    return Chart(ours.helm, ours.folder, host)


def golden_form(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is kept: sorted, without the version, and without the files that go in as they are.

    Those have tests of their own, and change for other reasons than the chart.
    """
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for one in documents:
        form = _without_version(one)
        if form["kind"] == "PrometheusRule":
            form["spec"] = "<rules/moderation-consumer.yaml>"
        elif any(name.endswith(".json") for name in form.get("data", ())):
            form["metadata"]["name"] = re.sub("-dashboard-.*", "-dashboard-<name>", form["metadata"]["name"])
            form["data"] = "<dashboards/*.json>"
        elif "config.yaml" in form.get("data", ()):
            form["data"] = {"config.yaml": yaml.safe_load(form["data"]["config.yaml"])}
        kept[form["kind"], form["metadata"]["name"]] = form
    return [kept[key] for key in sorted(kept)]


def _without_version(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _without_version(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_without_version(value) for value in part]
    return part.replace(consumer.__version__, "<version>") if isinstance(part, str) else part
