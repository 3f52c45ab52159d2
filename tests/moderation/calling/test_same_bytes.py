"""The official SDK and our client, given the same content, put the same bytes on the wire."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from alibabacloud_green20220302 import models
from alibabacloud_green20220302.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

from consumer.batching.thread import plan
from consumer.event import Event, Image
from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
from consumer.moderation.calling.lean import LeanTransport
from consumer.moderation.protocol.multimodal import prepared, result_query, submission
from consumer.moderation.protocol.requests import calls
from consumer.moderation.protocol.services import KNOWN
from consumer.moderation.protocol.signing import Credentials, Signer
from consumer.settings.models import Timeouts


if TYPE_CHECKING:
    from consumer.moderation.protocol.requests import Call


# No space in it: the SDK writes one as `+` in a query and signs it as `%20`, which is what we send.
TEXT = "hello世界a+b=c&d~*/?#é😀\"'<>"
EVENT = Event("a b/1", "post", TEXT, "title", (Image(url="https://example.com/a.jpg?x=1&y=2"),), thread="t")
SIGNED_BY_BOTH = ("host", "x-acs-action", "x-acs-version", "x-acs-content-sha256", "content-type")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came."""

    target: str
    headers: dict[str, str]
    body: bytes


class Recorder:
    """A server that keeps what it is sent, to the byte, and answers with code 200."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Recorded(first.split(" ")[1], headers, body))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"Code":200}')
        await writer.drain()
        writer.close()


def our_call(operation: str) -> Call:
    """What we send for this operation."""
    match operation:
        case "TextModerationPlus":
            return calls(Event("t1", "message", TEXT), [KNOWN["ugc_moderation_byllm_pro"]])[0]
        case "ImageModeration":
            return calls(Event("i1", "image", images=EVENT.images), [KNOWN["baselineCheck_global"]])[0]
        case "MultimodalAsyncModeration":
            service = KNOWN["post_text_image_detection"]
            return submission(plan([prepared(EVENT, service)])[0], service, EVENT.id)
        case _:
            return result_query(KNOWN["post_text_image_detection"], "task_1713942548822_1t4qI8")


def sdk_call(client: Any, operation: str, parameters: dict[str, str]) -> None:
    """The same by the official SDK."""
    options = RuntimeOptions()
    own = {"service": parameters.get("Service"), "service_parameters": parameters.get("ServiceParameters")}
    match operation:
        case "TextModerationPlus":
            client.text_moderation_plus_with_options(models.TextModerationPlusRequest(**own), options)
        case "ImageModeration":
            client.image_moderation_with_options(models.ImageModerationRequest(**own), options)
        case "MultimodalAsyncModeration":
            client.multimodal_async_moderation_with_options(models.MultimodalAsyncModerationRequest(**own), options)
        case _:
            request = models.DescribeMultimodalModerationResultRequest(req_id=parameters["ReqId"])
            client.describe_multimodal_moderation_result_with_options(request, options)


@pytest.mark.parametrize(
    "operation",
    ["TextModerationPlus", "ImageModeration", "MultimodalAsyncModeration", "DescribeMultimodalModerationResult"],
)
@pytest.mark.parametrize("transport_of", [AiohttpTransport, LeanTransport])
def test_the_same_content_makes_the_same_request(
    operation: str, transport_of: type[AiohttpTransport | LeanTransport]
) -> None:
    """Target, body and the headers that both sign are equal to the byte for each operation, over both transports."""

    async def main() -> list[Recorded]:
        recorder = Recorder()
        async with await asyncio.start_server(recorder.serve, "127.0.0.1", 0) as server:
            host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            call = our_call(operation)
            signer = Signer(host, Credentials("testid", "testsecret"))
            headers = signer.sign(
                operation, date="2026-01-02T03:04:05Z", nonce="0" * 32, body=call.body, query=call.query
            )
            async with transport_of(Timeouts()) as transport:
                url = f"http://{host}/?{call.query}" if call.query else f"http://{host}/"
                await transport.post(url, headers, call.body)
            client = Client(
                Config(
                    access_key_id="testid",
                    access_key_secret="testsecret",
                    region_id="cn-shanghai",
                    endpoint=host,
                    protocol="http",
                )
            )
            parameters = dict(parse_qsl(call.query or call.body.decode(), keep_blank_values=True))
            await asyncio.to_thread(sdk_call, client, operation, parameters)
        return recorder.requests

    ours, theirs = asyncio.run(main())
    assert ours.body == theirs.body
    assert (ours.target or "/") == theirs.target
    assert bool(ours.body) != bool(urlsplit(ours.target).query)
    for name in SIGNED_BY_BOTH:
        assert ours.headers.get(name) == theirs.headers.get(name)
    for name in ("content-length", "accept", "accept-encoding"):
        assert ours.headers[name] == theirs.headers[name]
