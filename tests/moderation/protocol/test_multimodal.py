"""Submissions and queries of the multimodal operations are those of the official SDK, and hold all of their events."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.thread import plan
from consumer.errors import ContentRefused, RouteError
from consumer.event import Author, Event, Image, OssObject
from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
from consumer.moderation.protocol.multimodal import post_time, prepared, result_query, submission
from consumer.moderation.protocol.services import KNOWN
from consumer.moderation.protocol.signing import Credentials, Signer
from consumer.moderation.tasks.seeds import CallbackAddress
from consumer.settings.models import Timeouts


POST = KNOWN["post_text_image_detection"]
PROFILE = KNOWN["profile_text_image_detection"]
FILE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "signature_vectors.json").read_bytes())
VECTORS = {vector["action"]: vector for vector in FILE["vectors"] if vector["credentials"] == "AK"}
VECTOR_POST = Event(
    "mm-1",
    "post",
    title="标题",
    text="a+b ~*/",
    images=(Image("https://aliyun.com/240308/test001.jpg?x=1&y=2"),),
)


def parameters(*events: Event, callback: CallbackAddress | None = None) -> dict[str, Any]:
    """What a submission of these events holds."""
    (batch,) = plan([prepared(event, POST) for event in events])
    call = submission(batch, POST, events[0].id, callback)
    (text,) = parse_qs(call.query)["ServiceParameters"]
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_submission_is_that_of_the_vector() -> None:
    """The parameters, and their order, are those of the vector that the official SDK signed."""
    vector = VECTORS["MultimodalAsyncModeration"]["query"]
    expected = json.loads(vector["ServiceParameters"])
    assert json.dumps(parameters(VECTOR_POST)) == json.dumps(expected)
    (batch,) = plan([VECTOR_POST])
    call = submission(batch, POST, VECTOR_POST.id)
    assert (parse_qs(call.query)["Service"], call.body) == ([vector["Service"]], b"")


def test_a_submission_in_ascii_is_the_sdks_to_the_byte() -> None:
    """A submission whose JSON needs no escapes is the same target as the SDK's canonical query of that JSON."""
    event = Event("mm-1", "post", text="a+b ~*/", images=VECTOR_POST.images)
    (batch,) = plan([event])
    image = '{"imageUrl":"https://aliyun.com/240308/test001.jpg?x=1&y=2"}'
    text = '{"dataId":"mm-1","mainData":{"mainContent":"a+b ~*/","mainImages":[' + image + "]}}"
    expected = f"Service=post_text_image_detection&ServiceParameters={quote(text, safe='~')}"
    assert submission(batch, POST, "mm-1").query == expected


def test_a_query_is_that_of_the_vector() -> None:
    """The query for a result, and its signature, equal those of the official SDK."""
    vector = VECTORS["DescribeMultimodalModerationResult"]
    call = result_query(POST, vector["query"]["ReqId"])
    signer = Signer(FILE["host"], Credentials(FILE["access_key_id"], FILE["access_key_secret"]))
    headers = signer.sign(call.service.operation, date=FILE["date"], nonce=FILE["nonce"], query=call.query)
    assert headers["authorization"] == vector["authorization_minimal"]
    assert (call.query, call.body) == ("ReqId=AAAAA-BBBBB-AIXI-1314-CCCCC", b"")


def test_the_target_goes_over_the_wire_as_it_was_signed() -> None:
    """What the server reads is the canonical query, byte for byte, without a body."""
    (batch,) = plan([VECTOR_POST])
    call = submission(batch, POST, "mm-1")
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, AiohttpTransport(Timeouts()) as transport:
            port = server.sockets[0].getsockname()[1]
            await transport.post(f"http://127.0.0.1:{port}/?{call.query}", {"host": "h"}, call.body)

    asyncio.run(main())
    head = seen[0].split(b"\r\n")
    assert head[0] == f"POST /?{call.query} HTTP/1.1".encode()
    names = {line.split(b":")[0].lower() for line in head[1:] if line}
    assert b"content-type" not in names
    assert b"content-length: 0" in {line.lower() for line in head}


def test_a_thread_is_one_tree() -> None:
    """The post is the main data, comments and their replies stand below it, each with its images and its time."""
    bucket = OssObject("bucket_01", "2023/04/24/test.jpg", "cn-beijing")
    found = parameters(
        Event("p", "post", title="T", text="post", posted_at="2025-06-18T20:20:20Z", thread="t"),
        Event("c1", "comment", text="one", images=(Image("https://h/1.jpg"),), thread="t", parent="p"),
        Event("c2", "comment", text="two", thread="t", parent="p"),
        Event("r1", "comment", text="reply", images=(Image(oss=bucket),), thread="t", parent="c1", posted_at="0"),
        callback=CallbackAddress("https://c.example/events/0/1", "abc_123"),
    )
    assert found == {
        "dataId": "p",
        "mainData": {
            "mainTitle": "T",
            "mainContent": "post",
            "mainImages": [],
            "mainPostTime": "2025-06-18 20:20:20",
        },
        "commentDatas": [
            {
                "content": "one",
                "images": [{"imageUrl": "https://h/1.jpg"}],
                "commentDatas": [
                    {
                        "content": "reply",
                        "images": [
                            {
                                "ossBucketName": "bucket_01",
                                "ossObjectName": "2023/04/24/test.jpg",
                                "ossRegionId": "cn-beijing",
                            }
                        ],
                    }
                ],
            },
            {"content": "two"},
        ],
        "callback": "https://c.example/events/0/1",
        "seed": "abc_123",
    }


def test_a_profile() -> None:
    """A profile's nickname is the content, its description the title, its avatar the image."""
    event = Event("u", "profile", title="about me", images=(Image("https://h/a.jpg"),), author=Author("u", "nick"))
    (batch,) = plan([prepared(event, PROFILE)])
    call = submission(batch, PROFILE, "u")
    assert json.loads(parse_qs(call.query)["ServiceParameters"][0])["mainData"] == {
        "mainTitle": "about me",
        "mainContent": "nick",
        "mainImages": [{"imageUrl": "https://h/a.jpg"}],
    }
    assert (call.characters, call.images) == (12, 1)


def test_what_is_billed_is_what_is_sent() -> None:
    """All texts count, the dash of a wordless image too, in code points; so does each image."""
    events = [
        Event("p", "post", title="Tt", text="世😀", images=(Image("https://h/1.jpg"),)),
        Event("c", "comment", images=(Image("https://h/2.jpg"), Image("https://h/2.jpg"), Image("https://h/3.jpg"))),
    ]
    (batch,) = plan([prepared(event, POST) for event in events])
    call = submission(batch, POST, "p")
    assert (call.characters, call.images) == (5, 3)


def test_a_data_id_has_128_characters_at_most() -> None:
    """The event's id becomes the data id, cleaned and cut as the multimodal page wants it."""
    assert parameters(Event("a/" + "b" * 200, "post", text="x"))["dataId"] == "a_" + "b" * 126


@pytest.mark.parametrize(
    ("text", "length"),
    [("世界" * 50, 8 * 100), ("Ωμέγα" * 20, 6 * 100), ("😀" * 100, 12 * 100)],
)
def test_the_shorter_target_is_taken(text: str, length: int) -> None:
    """Chinese is escaped in the JSON and Greek and emojis are not, since that makes the shorter URL."""
    (batch,) = plan([Event("p", "post", text=text)])
    short = len(submission(plan([Event("p", "post", text="x")])[0], POST, "p").query) - 1
    assert len(submission(batch, POST, "p").query) == short + length


def test_half_a_character_is_judged_as_unreadable() -> None:
    """A text that an old client cut within a character is sent with a replacement for the half."""
    assert parameters(Event("p", "post", text="世\ud83d"))["mainData"]["mainContent"] == "世\ufffd"


@pytest.mark.parametrize(
    ("posted_at", "expected"),
    [
        ("2025-06-18T20:20:20Z", "2025-06-18 20:20:20"),
        ("2025-06-18T20:20:20.123+08:00", "2025-06-18 12:20:20"),
        ("2025-06-18 20:20:20", "2025-06-18 20:20:20"),
        ("2025-06-18", "2025-06-18 00:00:00"),
        ("1750278020", "2025-06-18 20:20:20"),
        ("1750278020.5", "2025-06-18 20:20:20"),
        ("1750278020500", "2025-06-18 20:20:20"),
        ("0001-01-01T00:00:00+09:00", None),
        ("0001-01-01", None),
        ("99999999999999", None),
        ("20250618202020", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read_where_they_can_be(posted_at: str | None, expected: str | None) -> None:
    """ISO 8601 and epochs are sent as the page writes times, in UTC; anything else is left out."""
    assert post_time(posted_at) == expected


@given(st.text() | st.integers().map(str))
def test_no_time_is_too_odd(posted_at: str) -> None:
    """Whatever a platform writes as its time, the event is sent, with a time of the page's form or without one."""
    found = post_time(posted_at)
    assert found is None or (len(found) == 19 and found[10] == " ")


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (Image("https://h/" + "x" * 2039), "image_url"),
        (Image("ftp://h/1.jpg"), "image_url"),
        (Image(oss=OssObject("", "o", "r")), "image_missing"),
        (Image(file="/images/1.jpg"), "image_local"),
        (Image(content=b"GIF89a"), "image_local"),
    ],
)
def test_an_unusable_image_is_refused_before_it_joins_others(image: Image, code: str) -> None:
    """An image that the service would not take, or one that is no URL, refuses its own event and nothing is sent."""
    with pytest.raises(ContentRefused) as caught:
        prepared(Event("1", "comment", text="x", images=(image,)), POST)
    assert caught.value.reason == code


def test_nothing_to_judge() -> None:
    """An event with neither words nor images is not sent; neither is a profile without a name."""
    with pytest.raises(RouteError):
        prepared(Event("1", "post", text=" \n"), POST)
    with pytest.raises(RouteError):
        prepared(Event("1", "profile"), PROFILE)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip())))
def test_every_text_arrives_as_it_was_written(text: str) -> None:
    """Whatever is written reaches the service unchanged, and the target has nothing in it but safe characters."""
    (batch,) = plan([Event("p", "post", text=text)])
    query = submission(batch, POST, "p").query
    assert query.isascii()
    assert urlsplit(f"http://h/?{query}").query == query
    assert json.loads(parse_qs(query)["ServiceParameters"][0])["mainData"]["mainContent"] == text
