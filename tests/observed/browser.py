"""A headless Chromium that is told what to do: open a page, wait for it, look into it, take its picture."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import time
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


__all__ = ["Page", "page"]


_START_SECONDS = 30.0
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-sync"),
    *("--force-device-scale-factor=1", "--font-render-hinting=none", "--remote-debugging-port=0"),
)


class Page:
    """One page of the browser, spoken to in its debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)

    async def open(self, address: str, *, width: int, height: int) -> None:
        """Go to an address, in a window of this size in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._do("Emulation.setDeviceMetricsOverride", **size)
        await self._do("Page.navigate", url=address)

    async def find(self, script: str) -> Any:
        """The value of an expression of JavaScript; raises RuntimeError where it fails."""
        answer = await self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def wait(self, script: str, *, seconds: float = 60.0) -> None:
        """Return when an expression is true; raises TimeoutError where it does not get so in time."""
        async with asyncio.timeout(seconds):
            while not await self.find(script):
                await asyncio.sleep(0.1)

    async def picture(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode((await self._do("Page.captureScreenshot", format="png"))["data"])

    async def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found


@asynccontextmanager
async def page(binary: str) -> AsyncIterator[Page]:
    """Start the browser with one page; it ends with the context."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *(binary, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await asyncio.to_thread(_port, Path(folder, "DevToolsActivePort"))
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    pages = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _port(file: Path) -> int:
    """Where the browser listens, which it writes into a file when it does; raises TimeoutError where it never does."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        if lines:
            return int(lines[0])
        time.sleep(0.05)
    raise TimeoutError("Chromium did not start")
