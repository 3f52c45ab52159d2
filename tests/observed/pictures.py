"""Pictures of the dashboards, drawn by Grafana's own components from what the product did in a bad minute.

usage: python -m tests.observed.pictures [--check]

Without options they go into docs/pictures, and take some minutes. With --check a short run is drawn into a folder that
is thrown away. Either way it fails where a panel shows an error, or nothing. Needs Java 17, Maven, Prometheus, Node.js
and Chromium; the components are fetched into .cache/dashboards.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.broker.cluster import KafkaCluster
from tests.observed.browser import page
from tests.observed.prometheus import Prometheus
from tests.observed.scenario import bad_minute, observed


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.observed.browser import Page


__all__ = ["built", "drawn", "main"]


ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tools" / "dashboards"
CACHE = ROOT / ".cache" / "dashboards"
DASHBOARDS = ROOT / "helm" / "moderation-consumer" / "dashboards"
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 1280
SCRAPE_SECONDS = 1.0
REST_SECONDS = 10.0
MOST_BYTES = 300_000

# What stands above the panels, what surrounds them, and each row of the grid, in pixels.
_HEADER, _PADDING, _ROW = 76, 16, 38
_HALF_MARK_SECONDS = 7.5

_STATES = """
[...document.querySelectorAll("[data-panel]")].map((panel) => ({
  title: panel.dataset.panel, kind: panel.dataset.kind, state: panel.dataset.state, error: panel.dataset.error,
  cut: [...panel.querySelectorAll("h2")].some((title) => title.scrollWidth > title.clientWidth),
  hidden: [...panel.querySelectorAll("*")].some((part) => part.scrollHeight > part.clientHeight + 2
    && ["auto", "scroll"].includes(getComputedStyle(part).overflowY)),
  drawn: panel.querySelectorAll("canvas").length + panel.innerText.length > panel.dataset.panel.length,
}))
"""


def built() -> Path:
    """The folder of the page that draws a dashboard, made anew where its sources have changed.

    Raises:
        subprocess.CalledProcessError: a package cannot be fetched, or the page cannot be built.
    """
    files = sorted(path for path in SOURCE.rglob("*") if path.is_file())
    state = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    stamp = CACHE / "dist" / "built"
    if stamp.exists() and stamp.read_text() == state:
        return stamp.parent
    shutil.copytree(SOURCE, CACHE, dirs_exist_ok=True)
    # Not `ci`: it refuses locks that were made where packages for other systems could not be seen.
    npm = ["npm", "install", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent"]
    lock = CACHE / "node_modules" / ".lock"
    if not lock.exists() or lock.read_bytes() != (SOURCE / "package-lock.json").read_bytes():
        subprocess.run(npm, cwd=CACHE, check=True)
        shutil.copy(SOURCE / "package-lock.json", lock)
    subprocess.run(["npx", "--no-install", "vite", "build", "--logLevel", "error"], cwd=CACHE, check=True)
    stamp.write_text(state)
    return stamp.parent


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The page and the dashboards on a port; its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            if path.startswith("/dashboards/"):
                return str(DASHBOARDS / Path(path).name)
            return super().translate_path(path)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def drawn(folder: Path, into: Path, *, prometheus: str, from_seconds: float, to_seconds: float) -> list[str]:
    """Draw every dashboard into PNGs; what is wrong with any panel.

    When cancelled, the browser ends, and pictures that were taken stay.

    Args:
        folder: the page, as `built` gives it.
        into: where the pictures go.
        prometheus: where the data are.
        from_seconds: the begin of the time shown, in seconds since the epoch.
        to_seconds: its end.
    """
    step = max(1, round((to_seconds - from_seconds) / 300))
    over = {"from": from_seconds, "to": to_seconds, "step": step, "window": max(10, 4 * step), "prometheus": prometheus}
    wrong: list[str] = []
    with _served(folder) as address:
        async with page(shutil.which("chromium") or "chromium") as browser:
            for path in sorted(DASHBOARDS.glob("*.json")):
                board = json.loads(path.read_text())
                asked = urlencode({**over, "dashboard": path.stem})
                await browser.open(f"{address}/index.html?{asked}", width=WIDTH, height=_height(board))
                wrong += [f"{path.stem}: {one}" for one in await _faults(browser, board)]
                picture = base64.b64encode(await browser.picture()).decode()
                smaller = await browser.find(f"smaller('{picture}')")
                (into / f"{path.stem}.png").write_bytes(base64.b64decode(smaller))
    return wrong


async def _faults(browser: Page, board: dict[str, Any]) -> list[str]:
    await browser.wait("document.body && (document.body.dataset.done || document.body.dataset.error)")
    if error := await browser.find("document.body.dataset.error"):
        return [str(error)]
    states = await browser.find(_STATES)
    titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
    wrong = [] if [one["title"] for one in states] == titles else ["panels are missing"]
    for one in states:
        if one["state"] != "data":
            wrong.append(f"{one['title']}: {one['error'] or 'no data'}")
        elif not one["drawn"]:
            wrong.append(f"{one['title']}: nothing is drawn")
        if one["cut"]:
            wrong.append(f"{one['title']}: the title is cut off")
        if one["hidden"]:
            wrong.append(f"{one['title']}: some of its legend is out of sight")
    return wrong


def _height(board: dict[str, Any]) -> int:
    rows: int = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    return _HEADER + 2 * _PADDING + rows * _ROW


def main() -> int:
    """Play, draw and say what is wrong; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="a short run, whose pictures are thrown away")
    check = parser.parse_args().check
    missing = [name for name in ("java", "prometheus", "chromium", "npm") if shutil.which(name) is None]
    if missing:
        sys.stderr.write(f"{', '.join(missing)}: not installed, so no dashboard can be drawn\n")
        return 1 if os.environ.get("CI") or not check else 0
    folder = built()
    with tempfile.TemporaryDirectory() as thrown_away, KafkaCluster() as kafka, observed(kafka) as product:
        into = Path(thrown_away) if check else PICTURES
        into.mkdir(exist_ok=True)
        with Prometheus(product.targets, scrape_seconds=SCRAPE_SECONDS) as prometheus:
            began = time.time()
            bad_minute(product, rest_seconds=0.0 if check else REST_SECONDS)
            # The first and the last mark of the time axes have room before the edges.
            time.sleep((_HALF_MARK_SECONDS - time.time()) % (2 * _HALF_MARK_SECONDS))
            began -= (began - _HALF_MARK_SECONDS) % (2 * _HALF_MARK_SECONDS)
            shown = drawn(folder, into, prometheus=prometheus.url, from_seconds=began, to_seconds=time.time())
            wrong = asyncio.run(shown)
        sizes = {path.stem: (into / f"{path.stem}.png").stat().st_size for path in sorted(DASHBOARDS.glob("*.json"))}
    for name, size in sizes.items():
        sys.stdout.write(f"{name}.png: {size / 1000:.0f} kB\n")
        if size > MOST_BYTES:
            wrong.append(f"{name}: the picture is larger than {MOST_BYTES / 1000:.0f} kB")
    sys.stdout.writelines(f"{one}\n" for one in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
