"""Tests of the service that answers in a replay: what it says has to be what the real one could say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from consumer.batching.packed import joined
from consumer.batching.thread import plan
from consumer.estimate.service import ImaginedService
from consumer.event import Event
from consumer.moderation.protocol.multimodal import result_query, submission
from consumer.moderation.protocol.requests import Call, text_call
from consumer.moderation.protocol.responses import read, read_finding, read_parts, task_id_of
from consumer.moderation.protocol.services import KNOWN
from consumer.verdict import RiskLevel
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from consumer.moderation.calling.transport import HttpAnswer


TEXTS = [f"this is what user number {number} has to say" for number in range(4000)]
UGC = KNOWN["ugc_moderation_byllm"]
POSTS = KNOWN["post_text_image_detection"]


async def asked(service: ImaginedService, call: Call) -> HttpAnswer:
    url = f"https://host/?{call.query}" if call.query else "https://host/"
    return await service.post(url, {"x-acs-action": call.service.operation}, call.body)


async def level(service: ImaginedService, text: str) -> RiskLevel:
    call = text_call(UGC, text, "id")
    answer = await asked(service, call)
    return read_finding(read(answer.body, answer.status), call).risk_level


def service(risk: float) -> ImaginedService:
    return ImaginedService(LoopClock(), risk=risk, task_seconds=20.0)


@pytest.mark.parametrize("risk", [0.0, 0.02, 0.3])
def test_so_many_texts_are_risky(risk: float) -> None:
    """The share of risky texts is what was asked for, and the same text is always judged the same."""

    async def main() -> tuple[list[RiskLevel], list[RiskLevel]]:
        here = [await level(service(risk), text) for text in TEXTS]
        return here, [await level(service(risk), text) for text in TEXTS]

    first, second = run(main())
    assert first == second
    risky = sum(one is not RiskLevel.NONE for one in first) / len(TEXTS)
    assert abs(risky - risk) <= 3 * (risk * (1 - risk) / len(TEXTS)) ** 0.5


def test_texts_that_are_asked_about_together_are_as_risky_as_each() -> None:
    """A packed call is clean exactly where each of its texts is, and names a word of each that is not."""

    async def main() -> None:
        imagined = service(0.05)
        alone = [await level(imagined, text) for text in TEXTS[:320]]
        for start in range(0, 320, 16):
            call = text_call(UGC, joined(TEXTS[start : start + 16]), "id")
            answer = await asked(imagined, call)
            finding = read_finding(read(answer.body, answer.status), call)
            together = max(alone[start : start + 16])
            assert finding.risk_level is together
            assert bool(finding.labels) is (together is not RiskLevel.NONE)

    run(main())


def test_a_task_has_a_result_for_each_of_its_events_when_its_time_has_come() -> None:
    """A task that is asked for too early is running; later it is clean for the post, each comment and each reply."""

    async def main() -> None:
        imagined = service(0.0)
        events = [
            Event("p", "post", "post", thread="p"),
            Event("c", "comment", "comment", thread="p"),
            Event("r", "comment", "reply", thread="p", parent="c"),
        ]
        (batch,) = plan(events)
        submitted = await asked(imagined, submission(batch, POSTS, "p", None))
        task_id = task_id_of(read(submitted.body, 200))
        assert task_id is not None
        query = result_query(POSTS, task_id)
        assert read((await asked(imagined, query)).body, 200).code == 280
        await asyncio.sleep(20)
        answer = read((await asked(imagined, query)).body, 200)
        paths = [part.path for part in batch.parts]
        findings = read_parts(answer, POSTS.name, paths)
        assert [findings[path].risk_level for path in paths] == [RiskLevel.NONE] * 3
        assert imagined.calls[POSTS.operation, POSTS.name] == 1

    run(main())


def test_images_are_clean_and_can_be_uploaded() -> None:
    """An image is clean, a token for uploads is given, and a file is taken."""

    async def main() -> dict[str, Any]:
        imagined = service(1.0)
        call = Call(KNOWN["baselineCheck"], b"Service=baselineCheck&ServiceParameters=%7B%7D", images=1)
        answer = await asked(imagined, call)
        assert read_finding(read(answer.body, 200), call).risk_level is RiskLevel.NONE
        assert (await imagined.put("https://host/object", {}, b"bytes")).status == 200
        token = await imagined.post("https://host/", {"x-acs-action": "DescribeUploadToken"}, b"")
        found: dict[str, Any] = orjson.loads(token.body)["Data"]
        return found

    assert run(main())["BucketName"]
