"""Local images are put into the service's bucket once, with a token that is asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import orjson
import pytest

from consumer.clock import SystemClock
from consumer.errors import ContentRefused, NoAnswer, NotSent, Withheld
from consumer.event import Event, Image, OssObject
from consumer.metrics import Metrics
from consumer.moderation.calling.aiohttp_transport import AiohttpTransport
from consumer.moderation.calling.client import ModerationClient
from consumer.moderation.calling.hold import Hold
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.credentials import FixedCredentials
from consumer.moderation.images.upload import Uploader, prepared
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.services import KNOWN, QUOTAS
from consumer.moderation.protocol.signing import Credentials
from consumer.routing import Route
from consumer.settings.models import Retry, Timeouts
from consumer.simulator import Fault, Simulator, SimulatorSettings
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import Claim, Door, Tokens
from tests.virtual_time import EPOCH, LoopClock, run


if TYPE_CHECKING:
    from pathlib import Path

    from consumer.quota import Guard


PNG = b"\x89PNG\r\n\x1a\n"
CAT, DOG = PNG + b"cat", PNG + b"dog"
EVENT = Event("1", "post", text="x", images=(Image("https://h/1.jpg"), Image(content=CAT)))
KEYS = Credentials("testid", "testsecret")
DONE = HttpAnswer(200, b"")

Reply = HttpAnswer | Exception


def token(number: int = 1, *, lives_seconds: float = 3600, **changes: Any) -> HttpAnswer:
    """A token that ends so long after the virtual now."""
    data = {
        "AccessKeyId": f"STS.{number}",
        "AccessKeySecret": "s",
        "SecurityToken": "t",
        "BucketName": "b",
        "FileNamePrefix": "up/",
        "OssInternetEndPoint": "https://oss-cn-shanghai.aliyuncs.com",
        "OssInternalEndPoint": "oss-cn-shanghai-internal.aliyuncs.com",
        "Expiration": int(EPOCH + asyncio.get_running_loop().time() + lives_seconds),
        **changes,
    }
    return HttpAnswer(200, orjson.dumps({"Code": 200, "Msg": "OK", "RequestId": "R", "Data": data}))


def code(value: int | str, status: int = 200, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, orjson.dumps({"Code": value}), headers)


class Bucket:
    """A service that gives tokens and takes objects, by scripts; the last reply of each goes on for ever."""

    def __init__(
        self,
        *,
        tokens: Sequence[Callable[[], Reply]] = (token,),
        puts: Sequence[Reply] | Callable[[bytes], Reply | Awaitable[Reply]] = (DONE,),
    ) -> None:
        self._tokens = tokens
        self._puts = puts
        self.asked: list[Mapping[str, str]] = []
        self.uploads: list[tuple[str, Mapping[str, str], bytes]] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        assert body == b""
        assert url == "http://127.0.0.1:1/"
        self.asked.append(headers)
        await asyncio.sleep(0.05)
        return self._give(self._tokens[min(len(self.asked), len(self._tokens)) - 1]())

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        self.uploads.append((url, headers, body))
        await asyncio.sleep(0.05)
        if isinstance(self._puts, Sequence):
            return self._give(self._puts[min(len(self.uploads), len(self._puts)) - 1])
        reply = self._puts(body)
        return self._give(await reply if isinstance(reply, Awaitable) else reply)

    @staticmethod
    def _give(reply: Reply) -> HttpAnswer:
        if isinstance(reply, Exception):
            raise reply
        return reply


class Keys(FixedCredentials):
    """Credentials that have newer ones behind them."""

    async def reload(self) -> None:
        self.current = Credentials("newer", "secret")


class Rig:
    """An uploader with everything around it, in virtual time."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        retry: Retry | None = None,
        credentials: FixedCredentials | None = None,
        network: Literal["internet", "internal"] = "internet",
        guard: Guard | None = None,
    ) -> None:
        self.bucket = bucket
        self.metrics = Metrics()
        clock = LoopClock()
        self.hold = Hold(clock=clock, metrics=self.metrics, probe_seconds=30.0)
        self.uploader = Uploader(
            bucket,
            endpoint=Endpoint("http", "127.0.0.1:1"),
            credentials=credentials or FixedCredentials(KEYS),
            hold=self.hold,
            retry=retry or Retry(),
            clock=clock,
            metrics=self.metrics,
            guard=guard,
            network=network,
            chance=lambda: 1.0,
        )

    async def prepared(self, event: Event = EVENT) -> Event:
        return await prepared(event, self.uploader)

    def counted(self, operation: str, value: str) -> float:
        labels = {"operation": operation, "service": "upload", "code": value}
        return self.metrics.registry.get_sample_value("moderation_calls_total", labels) or 0.0


def with_images(*images: bytes) -> Event:
    return Event("1", "post", images=tuple(Image(content=one) for one in images))


def test_a_local_image_becomes_an_object() -> None:
    """The image is put where the token says, signed with the token, and the event names it by bucket and object."""
    rig = Rig(Bucket())
    ready = run(rig.prepared())
    url, headers, body = rig.bucket.uploads[0]
    assert ready.images[0] == EVENT.images[0]
    uploaded = ready.images[1].oss
    assert uploaded is not None
    assert (uploaded.bucket, uploaded.region) == ("b", "")
    assert uploaded.object.startswith("up/")
    assert uploaded.object.endswith(".png")
    assert url == f"https://b.oss-cn-shanghai.aliyuncs.com/{uploaded.object}"
    assert (body, headers["content-type"], headers["x-oss-security-token"]) == (CAT, "image/png", "t")
    assert headers["authorization"].startswith("OSS STS.1:")
    assert rig.bucket.asked[0]["x-acs-action"] == "DescribeUploadToken"
    assert "content-type" not in rig.bucket.asked[0]
    assert (rig.counted("DescribeUploadToken", "200"), rig.counted("PutObject", "200")) == (1, 1)


def test_the_internal_network_can_be_chosen() -> None:
    """Within the region the image goes over the internal network."""
    rig = Rig(Bucket(), network="internal")
    run(rig.prepared())
    assert rig.bucket.uploads[0][0].startswith("https://b.oss-cn-shanghai-internal.aliyuncs.com/up/")


def test_nothing_to_upload_asks_for_nothing() -> None:
    """An event without local images is the same event, and costs no request."""
    rig = Rig(Bucket())
    event = Event("1", "post", images=(Image("https://h/1.jpg"), Image(oss=OssObject("a", "b", "c"))))
    assert run(rig.prepared(event)) is event
    assert rig.bucket.asked == []


def test_the_same_bytes_are_uploaded_once(tmp_path: Path) -> None:
    """The same image twice in an event, from an event and from a file, is one object."""
    (tmp_path / "cat.png").write_bytes(CAT)
    rig = Rig(Bucket())
    images = (Image(content=CAT), Image(content=DOG), Image(content=CAT), Image(file=str(tmp_path / "cat.png")))
    ready = asyncio.run(rig.prepared(Event("1", "post", images=images)))  # a file is read by a thread, in real time
    assert len(rig.bucket.uploads) == 2
    assert ready.images[0] == ready.images[2] == ready.images[3] != ready.images[1]


def test_images_that_cannot_be_uploaded_keep_out_no_others() -> None:
    """However many images fail again and again, others get their turn."""
    rig = Rig(Bucket(puts=lambda body: NoAnswer("slow") if b"large" in body else DONE))

    async def main() -> None:
        failing = [asyncio.create_task(rig.prepared(with_images(b"%blarge%d" % (PNG, n)))) for n in range(8)]
        await asyncio.sleep(1)
        async with asyncio.timeout(60):
            await rig.prepared(with_images(CAT))
        for task in failing:
            task.cancel()
        await asyncio.wait(failing)

    run(main())
    assert CAT in [body for _, _, body in rig.bucket.uploads]


def test_a_token_is_shared_and_used_until_shortly_before_its_end() -> None:
    """Any number of uploads at the same time ask for one token; five minutes before its end a new one is asked for."""
    rig = Rig(Bucket(tokens=(token, lambda: token(2))))

    async def main() -> list[int]:
        seen = []
        for wait in (0.0, 3200.0, 200.0):
            await asyncio.sleep(wait)
            await asyncio.gather(*(rig.prepared() for _ in range(10)))
            seen.append(len(rig.bucket.asked))
        return seen

    assert run(main()) == [1, 1, 2]
    assert rig.bucket.uploads[-1][1]["authorization"].startswith("OSS STS.2:")


def test_a_short_lived_token_is_used_for_most_of_its_life() -> None:
    """A token that lives for ten seconds is used for eight."""
    rig = Rig(Bucket(tokens=(lambda: token(lives_seconds=11),)))

    async def main() -> None:
        for _ in range(3):
            await rig.prepared()
            await asyncio.sleep(4.5)

    run(main())
    assert len(rig.bucket.asked) == 2


def test_who_waits_for_a_token_takes_over_when_the_one_who_asks_is_cancelled() -> None:
    """An event that is given up while it asks for the token leaves the others with one."""
    rig = Rig(Bucket())

    async def main() -> None:
        first, second = (asyncio.create_task(rig.prepared()) for _ in range(2))
        while not rig.bucket.asked:
            await asyncio.sleep(0.001)
        first.cancel()
        await second
        assert first.cancelled()

    run(main())
    assert (len(rig.bucket.asked), len(rig.bucket.uploads)) == (2, 1)


def test_a_token_that_is_no_longer_good_is_renewed() -> None:
    """A refused upload is tried again with a new token, and other failures with the same one."""
    puts = (HttpAnswer(403, b"<Code>SecurityTokenExpired</Code>"), HttpAnswer(503, b""), NoAnswer("x"), NotSent("y"))
    rig = Rig(Bucket(tokens=(token, lambda: token(2)), puts=(*puts, DONE)))
    run(rig.prepared())
    used = [headers["authorization"].split(":")[0] for _, headers, _ in rig.bucket.uploads]
    assert used == ["OSS STS.1", *["OSS STS.2"] * 4]
    assert rig.counted("PutObject", "transport") == 2


def test_an_outage_is_waited_for() -> None:
    """While nothing can be uploaded no image is given up, however long it takes."""
    rig = Rig(Bucket(puts=(*[HttpAnswer(500, b"")] * 40, DONE)), retry=Retry(attempts=2))
    assert run(rig.prepared()).images[1].oss is not None


def test_an_image_that_fails_while_others_do_not_is_given_up() -> None:
    """An image that alone cannot be uploaded becomes a dead letter with a reason, and nothing was paid."""
    rig = Rig(Bucket(puts=lambda body: HttpAnswer(400 if body == DOG else 200, b"")), retry=Retry(attempts=2))

    async def main() -> None:
        bad = asyncio.create_task(rig.prepared(with_images(DOG)))
        while not bad.done():
            await rig.prepared(with_images(CAT))
        with pytest.raises(ContentRefused, match="the last answer was 400") as caught:
            await bad
        assert caught.value.reason == "image_upload"

    run(main())


@pytest.mark.parametrize(
    "reply",
    [
        lambda: code(500),
        lambda: code(403),
        lambda: code(400),
        lambda: code(999),
        lambda: code("Throttling.User", 429),
        lambda: code("ServiceUnavailable", 503),
        lambda: HttpAnswer(502, b"<html>"),
        lambda: NotSent("no connection"),
        lambda: NoAnswer("silence"),
        lambda: token(BucketName=""),
        lambda: token(Expiration="soon"),
        lambda: token(OssInternetEndPoint="ftp://h"),
        lambda: token(SecurityToken=None),
    ],
)
def test_a_token_is_asked_for_until_there_is_one(reply: Callable[[], Reply]) -> None:
    """No failure to get a token is an event's fault: it is waited for."""
    rig = Rig(Bucket(tokens=(reply, reply, token)), retry=Retry(attempts=1))
    assert run(rig.prepared()).images[1].oss is not None
    assert len(rig.bucket.asked) == 3


def test_an_account_that_may_not_upload_holds() -> None:
    """408 holds uploads, says so, and one probe in a while ends it."""
    rig = Rig(Bucket(tokens=(lambda: code(408), lambda: code(408), token)))

    async def main() -> float:
        asking = [asyncio.create_task(rig.prepared()) for _ in range(3)]
        await asyncio.sleep(1)
        assert rig.hold.reasons() == ("permission",)
        assert not rig.hold.account_wide
        await asyncio.gather(*asking)
        return asyncio.get_running_loop().time()

    assert 60 < run(main()) < 62
    assert rig.hold.reasons() == ()
    assert len(rig.bucket.asked) == 3


def test_credentials_are_read_anew_once() -> None:
    """A refused AccessKey is replaced by a newer one, without a hold; without a newer one the account is held."""
    refused = code("InvalidAccessKeyId.NotFound", 404)
    rig = Rig(Bucket(tokens=(lambda: refused, token)), credentials=Keys(KEYS))
    run(rig.prepared())
    assert [headers["authorization"].split(",")[0].split("=")[1] for headers in rig.bucket.asked] == ["testid", "newer"]
    held = Rig(Bucket(tokens=(lambda: refused, token)))

    async def main() -> None:
        asking = asyncio.create_task(held.prepared())
        await asyncio.sleep(1)
        assert held.hold.account_wide
        await asking

    run(main())
    assert not held.hold.account_wide


def test_a_wrong_clock_is_put_right() -> None:
    """A date that the service refuses is replaced by the service's own, for the token and for the upload."""
    wrong = code("InvalidTimeStamp.Expired", 400, date="Fri, 02 Jan 2026 05:04:05 GMT")
    rig = Rig(Bucket(tokens=(lambda: wrong, lambda: token(lives_seconds=7200 + 3600))))
    run(rig.prepared())
    assert rig.bucket.asked[1]["x-acs-date"].startswith("2026-01-02T05:04:0")
    assert rig.bucket.uploads[0][1]["date"].startswith("Fri, 02 Jan 2026 05:04:0")
    assert rig.hold.reasons() == ()


@pytest.mark.parametrize("bad", [b"hello", b""])
def test_a_bad_image_keeps_the_good_ones_from_being_uploaded(bad: bytes) -> None:
    """An event with an image that cannot be judged is refused before anything of it is sent."""
    rig = Rig(Bucket())
    with pytest.raises(ContentRefused):
        run(rig.prepared(with_images(CAT, bad)))
    assert (rig.bucket.asked, rig.bucket.uploads) == ([], [])


def test_few_images_are_in_memory_at_the_same_time() -> None:
    """However many events have local images, four at a time are read and sent."""
    most = now = 0

    async def count(_body: bytes) -> Reply:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(1)
        now -= 1
        return DONE

    rig = Rig(Bucket(puts=count))

    async def main() -> None:
        await asyncio.gather(*(rig.prepared() for _ in range(20)))

    run(main())
    assert most == 4


def test_nothing_is_uploaded_while_the_guard_is_shut() -> None:
    """Neither a token is asked for nor an image sent while the guard is shut; both go on when it opens."""
    door = Door()
    rig = Rig(Bucket(), guard=door)

    async def main() -> None:
        preparing = asyncio.create_task(rig.prepared())
        await asyncio.sleep(60)
        assert rig.bucket.asked == []
        door.open()
        await asyncio.sleep(0.03)
        door.close()
        await asyncio.sleep(60)
        assert (len(rig.bucket.asked), rig.bucket.uploads) == (1, [])
        door.open()
        await preparing

    run(main())
    assert len(rig.bucket.uploads) == 1


def test_an_upload_that_was_withheld_is_no_failure() -> None:
    """What the transport did not write is sent again without a wait, and counted as nothing."""
    rig = Rig(Bucket(tokens=(lambda: Withheld(""), token), puts=(Withheld(""), DONE)))

    async def main() -> float:
        await rig.prepared()
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(0.2)
    assert (rig.counted("DescribeUploadToken", "200"), rig.counted("PutObject", "200")) == (1, 1)
    assert (rig.counted("DescribeUploadToken", "transport"), rig.counted("PutObject", "transport")) == (0, 0)


@asynccontextmanager
async def on_the_wire(settings: SimulatorSettings) -> AsyncIterator[tuple[Simulator, Uploader, ModerationClient]]:
    """A simulator, and what calls it over a socket in real time."""
    metrics, clock, retry = Metrics(), SystemClock(), Retry(base_seconds=0.001)
    async with Simulator(settings) as simulator, AiohttpTransport(Timeouts()) as transport:
        place, keys = Endpoint.parse(simulator.url), FixedCredentials(KEYS)
        client = ModerationClient(
            transport,
            endpoint=place,
            credentials=keys,
            tokens={quota: Tokens() for quota in QUOTAS},
            prices=LIST_PRICES,
            retry=retry,
            hold_probe_seconds=1.0,
            clock=clock,
            metrics=metrics,
        )
        uploader = Uploader(
            transport,
            endpoint=place,
            credentials=keys,
            hold=client.hold,
            retry=retry,
            clock=clock,
            metrics=metrics,
        )
        yield simulator, uploader, client


async def _uploaded(settings: SimulatorSettings, *images: Image) -> tuple[Simulator, Event]:
    async with on_the_wire(settings) as (simulator, uploader, _):
        return simulator, await prepared(Event("1", "post", images=images), uploader)


def test_an_uploaded_image_is_judged_by_two_services() -> None:
    """An image from an event is uploaded once, and both services of its route judge what is in it."""
    names = ("baselineCheck_global", "aigcDetector_global")
    event = Event("1", "image", images=(Image(content=PNG + b" violent_explosion /high/"),))

    async def main() -> tuple[Judgement, int]:
        async with on_the_wire(SimulatorSettings()) as (simulator, uploader, client):
            judge = ServiceJudge(client, KNOWN, place=partial(prepared, uploader=uploader))
            return await judge.judge(event, Route("images", names), Claim()), simulator.uploads.uploads

    judged, uploads = asyncio.run(main())
    assert uploads == 1
    assert judged.services == names
    assert judged.risk_level is RiskLevel.HIGH
    assert "violent_explosion" in [label.label for label in judged.labels]


@pytest.mark.parametrize("content", [CAT, PNG + bytes(3 * 1_048_576)], ids=["small", "3 MB"])
def test_the_simulator_takes_what_is_uploaded(content: bytes) -> None:
    """Token, address and signature are those of the simulator's storage, which was written apart from this."""
    simulator, event = asyncio.run(_uploaded(SimulatorSettings(), Image(content=content), Image(content=DOG)))
    assert (simulator.uploads.tokens_issued, simulator.uploads.uploads) == (1, 2)
    place = event.images[0].oss
    assert place is not None
    stored = simulator.uploads.get(place.object)
    assert stored is not None
    assert (stored.content, stored.content_type) == (content, "image/png")


@pytest.mark.parametrize(
    "fault",
    [
        "code=503,operation=PutObject,count=2",
        "code=SecurityTokenExpired,operation=PutObject,count=1",
        "reset,operation=PutObject,count=2",
        "code=500,operation=DescribeUploadToken,count=2",
        "code=Throttling.User,operation=DescribeUploadToken,count=2",
    ],
)
def test_an_upload_survives_the_simulators_faults(fault: str) -> None:
    """Failures of the token's operation and of the storage are tried again until the image is there."""
    simulator, event = asyncio.run(_uploaded(SimulatorSettings(faults=(Fault.parse(fault),)), Image(content=CAT)))
    assert event.images[0].oss is not None
    assert simulator.uploads.get(event.images[0].oss.object) is not None
