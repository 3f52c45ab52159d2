"""Write what is made of the chart: the golden renderings, and the table of values. `python -m tests.helm`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from tests.helm.binaries import helm_binary
from tests.helm.rendering import CASES, GOLDEN, Chart, golden_form
from tests.helm.table import README, current


def _main() -> None:
    helm = helm_binary("v4")
    README.write_text(current())
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            made = golden_form(Chart(helm, Path(folder)).case(name))
        (GOLDEN / f"{name}.yaml").write_text(yaml.safe_dump_all(made, sort_keys=True, width=120))


_main()
