"""The configuration's reference, made from the models: `python -m config.reference` writes its page and its schema."""

from __future__ import annotations

from pathlib import Path

from config.reference.page import page
from config.reference.schema import document


__all__ = ["files"]


_ROOT = Path(__file__).parents[2]


def files() -> dict[Path, str]:
    """What each of its files holds."""
    return {_ROOT / "docs" / "configuration.md": page(), _ROOT / "config" / "schema.json": document()}


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")
