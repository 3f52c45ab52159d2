"""A working configuration to spoil, and how to load one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.settings import Loaded, load


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


__all__: list[str] = []


_GOOD = """\
kafka:
  bootstrap_servers: [broker:9092]
  topics: [ugc]
  group_id: moderation
  start: latest
moderation:
  region: ap-southeast-1
  credentials:
    access_key_id: LTAI-example
    access_key_secret: planted-secret
"""


@pytest.fixture
def good() -> str:
    return _GOOD


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """`read(text, environ)` loads `config.yaml` with this text, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def read(text: str, environ: Mapping[str, str] | None = None) -> Loaded:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        return load(["config.yaml"], environ or {})

    return read


@pytest.fixture
def problems(read: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """`problems(text, environ)` are the lines of the error that `read` ends with."""

    def problems(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            read(text, environ)
        return caught.value.problems

    return problems
