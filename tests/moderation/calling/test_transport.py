"""A request goes over the wire byte for byte, and each way it can fail says whether it was sent."""

from __future__ import annotations

import asyncio

import pytest

from consumer.errors import NoAnswer, NotSent, Withheld
from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
from consumer.moderation.calling.choice import LeanWithUploads, transport_for
from consumer.moderation.calling.lean import LeanTransport
from consumer.moderation.calling.transport import MAX_ANSWER_BYTES, HttpAnswer
from consumer.quota import OpenGuard
from consumer.quota.wire import expect
from consumer.settings.models import Moderation, Timeouts
from tests.moderation.calling.wire import FAST, HEAD, PATIENT, Handler, Side, host, read_request, replies, whole
from tests.moderation.support import Door


def post(side: Side, handler: Handler, timeouts: Timeouts = PATIENT) -> HttpAnswer:
    """What comes of one request to a server that does this."""

    async def main() -> HttpAnswer:
        async with host(handler) as at, side.open(timeouts) as transport:
            return await transport.post(at.url, {"content-type": "text/plain"}, b"body")

    return side.run(main())


def test_an_answer_is_read_whatever_its_status(side: Side) -> None:
    """Status, body and headers come back, and headers are found by their lower-case names."""
    answer = post(side, replies(b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno"))
    assert (answer.status, answer.body, answer.headers.get("retry-after")) == (503, b"no", "3")


def test_of_headers_with_the_same_name_the_first_counts(side: Side) -> None:
    """Two headers of a name do not become a third thing that nobody wrote."""
    answer = post(side, replies(whole(b"", b"Retry-After: 3", b"retry-after: 4")))
    assert answer.headers["retry-after"] == "3"


def test_a_request_is_sent_as_it_was_signed(side: Side) -> None:
    """The URL is not encoded anew, and the signed headers arrive as they are, beside three of our own."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(whole(b"{}"))

    async def main() -> None:
        async with host(handler) as at, side.open() as transport:
            await transport.post(at.url + "?a=%2A%3A%20%7E", {"host": "green", "x-acs-date": "d"}, b"")

    side.run(main())
    lines = seen[0].lower().split(b"\r\n")
    assert seen[0].startswith(b"POST /?a=%2A%3A%20%7E HTTP/1.1\r\n")
    names = sorted(line.split(b":")[0] for line in lines[1:] if line)
    assert names == [b"accept", b"accept-encoding", b"content-length", b"host", b"user-agent", b"x-acs-date"]
    assert b"host: green" in lines


@pytest.mark.parametrize("ending", ["", "/", "?a=b", "/?a=b"])
def test_a_url_without_a_path_asks_for_the_root(side: Side, ending: str) -> None:
    """Whatever stands behind the host of a URL, what is asked for begins with a slash, and the host has the port."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(whole(b"{}"))

    async def main() -> int:
        async with host(handler) as at, side.open() as transport:
            await transport.post(at.url.rstrip("/") + ending, {}, b"")
        return at.port

    port = side.run(main())
    assert seen[0].startswith(b"POST /%s HTTP/1.1\r\n" % ending.lstrip("/").encode())
    assert b"\r\nhost: 127.0.0.1:%d\r\n" % port in seen[0].lower()


def test_redirects_are_not_followed(side: Side) -> None:
    """A redirect is an answer like any other: a signed request goes nowhere else."""
    head = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
    assert post(side, replies(head)).status == 302


@pytest.mark.parametrize("evil", ["\r\nx: y", "\n", "\r", "\0"])
@pytest.mark.parametrize("place", ["url", "header", "name"])
def test_nothing_gets_into_the_head_that_would_end_it(side: Side, evil: str, place: str) -> None:
    """A line end in a URL, a header or its name is refused before anything is sent, or does not get through as one."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(whole(b"{}"))

    async def main() -> None:
        async with host(handler) as at, side.open() as transport:
            url = f"{at.url}?a={evil if place == 'url' else ''}"
            headers = {f"x-a{evil if place == 'name' else ''}": f"b{evil if place == 'header' else ''}"}
            try:
                await transport.post(url, headers, b"")
            except ValueError:
                assert not seen
            else:
                assert (not side.lean, place) == (True, "url")  # aiohttp drops it

    side.run(main())
    for request in seen:
        assert b"\r\nx: y" not in request
        assert request.count(b"\n") == request.count(b"\r") == request.count(b"\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1:1/",
        "http:///x",
        "127.0.0.1/",
        "http://user@127.0.0.1:1/",
        "http://127.0.0.1:1/ x",
        "http://127.0.0.1:1/#x",
    ],
)
def test_only_a_url_of_http_can_be_sent_to(url: str) -> None:
    """The lean transport says what it cannot do, and does not guess."""

    async def main() -> None:
        async with LeanTransport(FAST) as transport:
            with pytest.raises(ValueError, match="URL"):
                await transport.post(url, {}, b"")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("handler", "begun", "timeouts"),
    [
        pytest.param(replies(), False, PATIENT, id="closed before an answer"),
        pytest.param(replies(HEAD[:9]), True, PATIENT, id="closed within the head"),
        pytest.param(replies(HEAD + b"Content-Length: 9\r\n\r\n{"), True, PATIENT, id="closed within the answer"),
        pytest.param(replies(b"hello\r\n\r\n"), True, PATIENT, id="no HTTP"),
        pytest.param(replies(stay=True), False, FAST, id="silence"),
        pytest.param(replies(HEAD, stay=True), True, FAST, id="silence within the head"),
        pytest.param(
            replies(HEAD + b"Content-Length: 9\r\n\r\n{", stay=True), True, FAST, id="silence within the body"
        ),
        pytest.param(replies(*[b"%c" % one for one in HEAD], pause_seconds=0.1), True, FAST, id="a dripping head"),
        pytest.param(
            replies(HEAD + b"Content-Length: 9\r\n\r\n", *[b"x"] * 9, pause_seconds=0.15), True, FAST, id="a drip"
        ),
        pytest.param(
            replies(HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1)), True, PATIENT, id="too large"
        ),
    ],
)
def test_a_request_without_a_whole_answer_may_have_been_read(
    side: Side, handler: Handler, *, begun: bool, timeouts: Timeouts
) -> None:
    """Whatever happens after the request was sent, the service may have judged it; nothing waits for ever."""
    with pytest.raises(NoAnswer) as error:
        post(side, handler, timeouts)
    # aiohttp does not always know whether a head has begun, and says nothing then.
    assert error.value.begun in ({begun} if side.lean else {begun, None})


def test_the_largest_answer_is_read(side: Side) -> None:
    """An answer of exactly the greatest size is taken."""
    body = b"x" * MAX_ANSWER_BYTES
    assert post(side, replies(whole(body))).body == body


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nobody.invalid/"])
def test_a_request_without_a_connection_was_not_sent(side: Side, url: str) -> None:
    """Where no connection can be made the service cannot have read anything."""
    side.names.known["nobody.invalid"] = OSError("no such name")

    async def main() -> None:
        async with side.open() as transport:
            with pytest.raises(NotSent):
                await transport.post(url, {}, b"body")

    side.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"secret HTTP\r\n\r\n", id="no HTTP"),
        pytest.param(HEAD + b"secret\r\n\r\n", id="no header"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n", id="no chunk"),
        pytest.param(whole(b"secret", b"Content-Encoding: gzip"), id="no gzip"),
    ],
)
def test_a_malformed_answer_is_not_quoted(side: Side, answer: bytes) -> None:
    """What is said of an answer that cannot be read, and then logged, has nothing of the answer in it."""
    with pytest.raises(NoAnswer) as error:
        post(side, replies(answer))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "patience",
    [
        Timeouts(connect_seconds=0.1, read_seconds=1, total_seconds=1),
        Timeouts(connect_seconds=9, read_seconds=1, total_seconds=0.1),
    ],
)
def test_a_connection_that_takes_too_long_is_told_without_the_url(side: Side, patience: Timeouts) -> None:
    """What is said of a time-out, and then logged, has nothing of the URL in it: a task's URL holds its texts."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        async with host(silent) as at, side.open(patience) as transport:
            with pytest.raises(NotSent) as error:
                await transport.post(f"{at.url.replace('http:', 'https:')}?text=secret", {}, b"")
            assert "secret" not in str(error.value)

    side.run(main())


def test_a_transport_has_to_be_opened(side: Side) -> None:
    """Outside its context a transport sends nothing."""
    with pytest.raises(RuntimeError, match="not open"):
        asyncio.run(side.open().post("http://127.0.0.1:1/", {}, b""))


@pytest.mark.parametrize("kind", [AiohttpTransport, LeanWithUploads])
def test_a_file_is_sent_whole(kind: type[AiohttpTransport | LeanWithUploads]) -> None:
    """A PUT of several megabytes arrives as it is, with its length and no header that was not asked for."""
    content = bytes(range(256)) * 12_000
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")

    async def main() -> int:
        async with host(handler) as at, kind(PATIENT) as transport:
            return (await transport.put(at.url + "up/1.png", {"content-type": "image/png"}, content)).status

    assert asyncio.run(main()) == 200
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /up/1.png HTTP/1.1\r\n")
    assert b"content-length: %d" % len(content) in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert head.lower().count(b"content-type: image/png") == head.lower().count(b"content-type:") == 1
    assert body == content


@pytest.mark.parametrize(("chosen", "kind"), [("auto", "lean"), ("lean", "lean"), ("aiohttp", "aiohttp")])
def test_the_setting_says_which_transport_carries_calls(chosen: str, kind: str) -> None:
    """`moderation.transport` chooses, `auto` is the lean one, and each of them sends calls and files."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            writer.write(whole(request.partition(b" ")[0]))

    async def main() -> list[bytes]:
        own = Moderation.model_validate({"region": "cn-shanghai", "transport": chosen})
        transport = transport_for(own, OpenGuard())
        assert isinstance(transport, LeanTransport) == (kind == "lean")
        async with host(handler) as at, transport as opened:
            return [(await send(at.url, {}, b"x")).body for send in (opened.post, opened.put, opened.put)]

    assert asyncio.run(main()) == [b"POST", b"PUT", b"PUT"]


@pytest.mark.parametrize("body", [b"", b"body", b"x" * 3_000_000])
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # a PUT has large ones, a POST has not
def test_nothing_is_written_when_the_guard_shut_while_connecting(side: Side, body: bytes) -> None:
    """A request whose process stood still while its connection was made sends not one byte, whatever its body."""
    _nothing_is_written(side, body, "post")


@pytest.mark.parametrize("body", [b"", b"body", b"x" * 3_000_000])
def test_no_file_is_written_when_the_guard_shut_while_connecting(body: bytes) -> None:
    """The same is true of files, which only aiohttp sends."""
    for fast in (False, True):
        _nothing_is_written(Side(lean=False, uvloop=fast), body, "put")


def _nothing_is_written(side: Side, body: bytes, verb: str) -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def main() -> None:
        door = Door(shut=False)
        async with host(handler) as at, side.open(guard=door) as transport:
            sending = asyncio.create_task(getattr(transport, verb)(at.url, {}, body))
            await asyncio.sleep(0)
            door.close()
            with pytest.raises(Withheld):
                await sending
            await at.until(lambda: bool(seen))

    side.run(main())
    assert seen == [b""]


def test_nothing_is_written_on_an_old_connection_when_the_guard_is_shut(side: Side) -> None:
    """A connection that was used before is no way around the guard, and a transport works on when it has opened."""
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            seen.append((await read_request(reader))[-4:])
            writer.write(whole(b"{}"))

    async def main() -> None:
        door = Door(shut=False)
        async with host(handler) as at, side.open(guard=door) as transport:
            await transport.post(at.url, {}, b"1111")
            door.close()
            for _ in range(2):
                with pytest.raises(Withheld):
                    await transport.post(at.url, {}, b"2222")
            door.open()
            await transport.post(at.url, {}, b"3333")

    side.run(main())
    assert seen == [b"1111", b"3333"]


def test_who_waits_for_the_request_hears_when_it_is_written(side: Side) -> None:
    """A request is told of when it has been written, before its answer, and one that the guard held back is not."""
    told = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await told.wait()
        writer.write(whole(b"{}"))

    async def main() -> bool:
        door = Door()
        async with host(handler) as at, side.open(guard=door) as transport:
            expect(told.set)
            with pytest.raises(Withheld):
                await transport.post(at.url, {}, b"held back")
            early = told.is_set()
            door.open()
            await transport.post(at.url, {}, b"sent")
        return early

    assert not side.run(main())
