"""The dependencies' licences: `python -m tools.licences` writes their table, docs/licences.md."""

from __future__ import annotations

import re

from tools.dependencies import PARTS, ROOT, installed, licence


__all__ = ["ALLOWED", "PAGE", "page", "refused"]


PAGE = ROOT / "docs" / "licences.md"
ALLOWED = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PSF-2.0"})
"""What may be installed beside the program: each lets a company use and ship it, and asks no source code of theirs."""

_HEAD = """\
# Licences

What an installation of `moderation-consumer` (Apache-2.0) consists of, and under which licences. It is made from the
locks and the packages' own metadata by `make licences`, and a test fails where it is stale. Each extra is named only
where it adds a package to the runtime. [Supply chain](supply-chain.md) says which licences are let in.

| package | version | licence | part of |
|---|---|---|---|
"""


def refused(expression: str) -> set[str]:
    """The licences in an SPDX expression that are not in `ALLOWED`; all its words where it is no expression."""
    return set(re.findall(r"[^\s()]+", expression)) - ALLOWED - {"AND", "OR"}


def page() -> str:
    """The page as it should be.

    Raises:
        UnlikeTheLock: What is installed is not what the locks name.
    """
    packages = {part: installed(part) for part in PARTS}
    rows = {}
    for part in PARTS:
        for name, package in packages[part].items():
            where = [other for other in PARTS if name in packages[other]]
            shown = "runtime" if "runtime" in where else ", ".join(f"extra `{other}`" for other in where)
            rows[name] = f"| {name} | {package.version} | {licence(name)} | {shown} |\n"
    return _HEAD + "".join(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
