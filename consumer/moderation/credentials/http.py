"""One small request to a place that gives out credentials."""

from __future__ import annotations

import aiohttp

from consumer.errors import CallError


__all__ = ["MAX_BYTES", "ask"]


MAX_BYTES = 65_536


async def ask(
    method: str, url: str, *, headers: dict[str, str], form: dict[str, str] | None = None, seconds: float
) -> tuple[int, bytes]:
    """Send one request and return the status and the body. When cancelled it closes its connection.

    A session of its own: credentials are fetched once an hour, and a connection kept for that would be dead by then.

    Raises:
        CallError: no whole answer came within `seconds`, or one that is too large.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds), trust_env=False) as session,
            session.request(method, url, headers=headers, data=form, allow_redirects=False) as response,
        ):
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES + 1)):
                body += more
            if len(body) > MAX_BYTES:
                raise CallError(f"the answer is larger than {MAX_BYTES} bytes")
            return response.status, body
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CallError(type(error).__name__) from error
