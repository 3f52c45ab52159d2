"""The status page in a real browser: its policy lets its own style in, nothing is refused, and all of it is shown."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from consumer.admin import AdminServer, Health
from consumer.metrics import Metrics
from tests.app.test_status import everything


if TYPE_CHECKING:
    from pathlib import Path


QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        reason = "chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class _Watched:
    """A consumer that has everything to show."""

    def live(self) -> Health:
        return Health(ok=True)

    def ready(self) -> Health:
        return Health(ok=True)

    def status(self) -> dict[str, Any]:
        return everything("<b>word</b>")


def test_the_page_is_shown_as_it_is_meant(chromium: str, tmp_path: Path) -> None:
    """A browser applies the page's style, refuses nothing of it for its policy, and shows names as they are."""

    async def main() -> tuple[str, str]:
        async with AdminServer(host="127.0.0.1", port=0, metrics=Metrics(), watched=_Watched()) as admin:
            browser = await asyncio.create_subprocess_exec(
                chromium,
                *QUIET.split(),
                "--no-first-run",
                f"--user-data-dir={tmp_path}",
                "--enable-logging=stderr",
                "--dump-dom",
                f"http://127.0.0.1:{admin.port}/status",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await browser.communicate()
        return out.decode(), err.decode()

    out, err = asyncio.run(main())
    assert "<h2>Last errors</h2>" in out
    assert "&lt;b&gt;word&lt;/b&gt;" in out
    assert "<b>word" not in out
    assert "Content Security Policy" not in err
