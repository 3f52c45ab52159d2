"""The vendor's own SDK for Python drives every operation of the simulator unchanged, synchronously and not."""

from __future__ import annotations

import asyncio
import base64
import hmac
import io
import json
import re
import time
from email.utils import formatdate
from functools import partial
from typing import Any

import aiohttp
import pytest
from alibabacloud_green20220302 import models
from alibabacloud_green20220302.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

from consumer.simulator import Fault, Latency, Simulator, SimulatorSettings
from consumer.simulator.gateway import KNOWN as GATEWAY


def client_of(simulator: Simulator, **changed: str) -> Any:
    """An SDK client that differs from one for production in its endpoint alone."""
    settings = {"access_key_id": "testid", "access_key_secret": "testsecret", **changed}
    endpoint = simulator.url.removeprefix("http://")
    return Client(Config(region_id="cn-shanghai", endpoint=endpoint, protocol="http", **settings))


def text(**parameters: str) -> Any:
    """A text request."""
    return models.TextModerationPlusRequest(
        service="ugc_moderation_byllm_pro", service_parameters=json.dumps(parameters, ensure_ascii=False)
    )


def image(service: str = "baselineCheck_global", **parameters: str) -> Any:
    """An image request."""
    return models.ImageModerationRequest(service=service, service_parameters=json.dumps(parameters))


def submission(service: str = "post_text_image_detection", **parameters: Any) -> Any:
    """A multimodal task to submit."""
    written = json.dumps(parameters, ensure_ascii=False)
    return models.MultimodalAsyncModerationRequest(service=service, service_parameters=written)


def result_of(task_id: str) -> Any:
    """A query for the result of a task."""
    return models.DescribeMultimodalModerationResultRequest(req_id=task_id)


# Each operation of the simulator: the SDK's method, and a request that is answered with 200 or, for a result, 409.
OPERATIONS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "TextModerationPlus": ("text_moderation_plus", (text(content="good morning"),)),
    "ImageModeration": ("image_moderation", (image(imageUrl="https://cdn.example.com/1.jpg"),)),
    "MultimodalAsyncModeration": ("multimodal_async_moderation", (submission(mainData={"mainContent": "x"}),)),
    "DescribeMultimodalModerationResult": ("describe_multimodal_moderation_result", (result_of("unknown"),)),
    "DescribeUploadToken": ("describe_upload_token", ()),
}


UNLIMITED = SimulatorSettings(multimodal_submit_per_second=None, multimodal_query_per_second=None)


async def call(client: Any, operation: str, *request: Any, synchronous: bool) -> Any:
    """One call in either way of the SDK; the synchronous one in a thread, since the simulator runs in ours."""
    if synchronous:
        return await asyncio.to_thread(
            partial(getattr(client, f"{operation}_with_options"), *request, RuntimeOptions())
        )
    return await getattr(client, f"{operation}_with_options_async")(*request, RuntimeOptions())


@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
def test_text_moderation_plus(synchronous: bool) -> None:  # noqa: FBT001  # a parametrized way of calling
    """The SDK signs a text call so that it is accepted, and reads every field of the answer."""

    async def main() -> None:
        async with Simulator() as simulator:
            request = text(content="世界 a+b=c&d~*/ buy cocaine", dataId="m-1", infoType="llmContent")
            answer = await call(client_of(simulator), "text_moderation_plus", request, synchronous=synchronous)
            body = answer.body
            assert (answer.status_code, body.code, body.message) == (200, 200, "OK")
            assert (body.data.risk_level, body.data.data_id) == ("high", "m-1")
            (result,) = body.data.result
            assert (result.label, result.confidence, result.risk_words) == ("contraband_drug", 99.12, "buy cocaine")
            assert (result.risk_positions[0].start_pos, result.risk_positions[0].end_pos) == (14, 25)
            assert body.data.ext.llm_content.output_text == "Suspected drug-related content"
            assert simulator.ledger.billed_units == 1

    asyncio.run(main())


@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
def test_image_moderation(synchronous: bool) -> None:  # noqa: FBT001  # a parametrized way of calling
    """The SDK signs an image call so that it is accepted, and reads labels, levels and auxiliary information."""

    async def main() -> None:
        async with Simulator() as simulator:
            url = "https://cdn.example.com/medium/violent_gun_lib,contraband_drug_tii.jpg?a=b&c=d"
            request = image(imageUrl=url, infoType="customImage,textInImage")
            answer = await call(client_of(simulator), "image_moderation", request, synchronous=synchronous)
            body = answer.body
            assert (body.code, body.msg, body.data.risk_level) == (200, "OK", "medium")
            assert [one.label for one in body.data.result] == ["violent_gun_lib", "contraband_drug_tii"]
            assert {one.risk_level for one in body.data.result} == {"medium"}
            assert body.data.ext.custom_image[0].lib_name == "Simulator Images"
            assert body.data.ext.text_in_image.risk_word == ["Text about drugs"]

    asyncio.run(main())


@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
def test_a_multimodal_task(synchronous: bool) -> None:  # noqa: FBT001  # a parametrized way of calling
    """The SDK submits a post in the query, however it quotes it, asks for its result, and reads it by position."""

    async def main() -> None:
        async with Simulator(SimulatorSettings(task_latency=Latency(0), task_polls=1)) as simulator:
            client = client_of(simulator)
            reply = {"content": "you idiot", "images": [], "postTime": ""}
            request = submission(
                dataId="Multimodal0424-1",
                mainData={
                    "mainTitle": "标题 a+b",
                    "mainContent": "content ~*/ ?,:& buy cocaine",
                    "mainImages": [{"imageUrl": "https://aliyun.com/240308/violent_gun.jpg?x=1&y=2"}],
                    "mainPostTime": "2025-06-18 20:20:20",
                },
                commentDatas=[{"content": "fine", "commentDatas": [reply]}, {"content": "damn it"}],
            )
            answer = await call(client, "multimodal_async_moderation", request, synchronous=synchronous)
            assert (answer.body.code, answer.body.msg, answer.body.data.data_id) == (200, "OK", "Multimodal0424-1")
            query = result_of(answer.body.data.req_id)
            running = await call(client, "describe_multimodal_moderation_result", query, synchronous=synchronous)
            assert (running.body.code, running.body.data) == (280, None)
            ready = await call(client, "describe_multimodal_moderation_result", query, synchronous=synchronous)
            data = ready.body.data
            assert (ready.body.code, data.risk_level, data.data_id) == (200, "high", "Multimodal0424-1")
            assert data.req_id == answer.body.data.req_id
            assert [one.label for one in data.main_data.results] == ["contraband_drug", "violent_gun"]
            first, second = data.comment_datas
            assert [one.label for one in first.results] == ["nonLabel"]
            assert [one.label for one in first.comment_datas[0].results] == ["inappropriate_profanity"]
            assert [one.label for one in second.results] == ["inappropriate_oral"]
            assert (simulator.ledger.billed_calls, simulator.ledger.billed_units) == (1, 2)
            assert simulator.tasks[data.req_id].polls == 2

    asyncio.run(main())


@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
def test_the_longest_request_there_can_be(synchronous: bool) -> None:  # noqa: FBT001  # a parametrized way of calling
    """5,000 characters of three bytes and 30 URLs of 2,048 characters reach the simulator in one request target."""

    async def main() -> None:
        async with Simulator() as simulator:
            images = [{"imageUrl": f"https://cdn.example.com/{number:02}?{'x' * 2020}:"} for number in range(30)]
            assert {len(one["imageUrl"]) for one in images} == {2048}
            request = submission(mainData={"mainContent": "世" * 5000, "mainImages": images})
            answer = await call(client_of(simulator), "multimodal_async_moderation", request, synchronous=synchronous)
            assert answer.body.code == 200
            assert simulator.ledger.billed_units == 35

    asyncio.run(main())


@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
def test_an_upload_token(synchronous: bool) -> None:  # noqa: FBT001  # a parametrized way of calling
    """The SDK reads every field of an upload token; with it an image goes over the wire and is judged."""

    async def main() -> None:
        async with Simulator() as simulator, aiohttp.ClientSession() as session:
            client = client_of(simulator)
            token = (await call(client, "describe_upload_token", synchronous=synchronous)).body.data
            assert token.oss_internet_end_point == token.oss_internal_end_point == simulator.url
            assert token.expiration > time.time()
            name = f"{token.file_name_prefix}1.png"
            content = b"\x89PNG\r\n\x1a\n violent_explosion" + bytes(3 * 1024 * 1024)
            headers = {
                "date": formatdate(usegmt=True),
                "content-type": "image/png",
                "x-oss-security-token": token.security_token,
            }
            lines = f"PUT\n\nimage/png\n{headers['date']}\nx-oss-security-token:{token.security_token}\n"
            to_sign = f"{lines}/{token.bucket_name}/{name}".encode()
            signature = hmac.new(token.access_key_secret.encode(), to_sign, "sha1").digest()
            headers["authorization"] = f"OSS {token.access_key_id}:{base64.b64encode(signature).decode()}"
            url = f"{token.oss_internet_end_point}/{token.bucket_name}/{name}"
            async with session.put(url, data=io.BytesIO(content), headers=headers) as answer:
                assert answer.status == 200
            async with session.head(url) as answer:
                assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(content)))
            async with session.get(url) as answer:
                assert await answer.read() == content
            request = image(ossBucketName=token.bucket_name, ossObjectName=name)
            judged = await call(client, "image_moderation", request, synchronous=synchronous)
            assert (judged.body.code, judged.body.data.result[0].label) == (200, "violent_explosion")

    asyncio.run(main())


@pytest.mark.parametrize("synchronous", [True, False], ids=["sync", "async"])
def test_all_auxiliary_information(synchronous: bool) -> None:  # noqa: FBT001  # a parametrized way of calling
    """The SDK reads each kind of auxiliary information of an image with all of its fields."""

    async def main() -> None:
        async with Simulator() as simulator:
            client = client_of(simulator)
            url = "https://cdn.example.com/political_politicalFigure_1,pt_logo,contraband_drug_tii_lib,QRCode_lib.jpg"
            request = image(imageUrl=url, infoType="customImage,textInImage,publicFigure,logoData")
            ext = (await call(client, "image_moderation", request, synchronous=synchronous)).body.data.ext
            assert ext.public_figure[0].figure_id == "figure-political_politicalFigure_1"
            assert ext.public_figure[0].location[0].w == 200
            assert (ext.logo_data[0].logo[0].label, ext.logo_data[0].location.h) == ("pt_logo", 30)
            assert ext.text_in_image.custom_text[0].lib_name == "Simulator Images"
            assert ext.text_in_image.ocr_result[0].location.x == 10
            assert [one.image_id for one in ext.custom_image] == ["image-contraband_drug_tii_lib", "image-QRCode_lib"]
            request = image("aigcDetector_global", imageUrl="https://cdn.example.com/aigc.jpg")
            answer = await call(client, "image_moderation", request, synchronous=synchronous)
            assert answer.body.data.ext.aigc_data.aigc.content_producer == "simulator-producer"
            request = image("faceDetect_global", imageUrl="https://cdn.example.com/face.jpg")
            (face,) = (await call(client, "image_moderation", request, synchronous=synchronous)).body.data.ext.face_data
            assert (face.age, face.gender.value, face.quality.integrity) == (30, "FeMale", 99.0)
            request = image("postImageCheckByVL_global", imageUrl="https://cdn.example.com/low/violent_gun.jpg")
            answer = await call(client, "image_moderation", request, synchronous=synchronous)
            assert answer.body.data.ext.vl_content.output_text == "Guns"

    asyncio.run(main())


# Every code of the pages, and those of the sibling operations that the multimodal ones may share.
CODES = {
    "TextModerationPlus": (400, 408, 500, 581, 588),
    "ImageModeration": (400, 401, 402, 403, 404, 405, 406, 407, 408, 500),
    "MultimodalAsyncModeration": (280, 400, 401, 402, 403, 408, 500),
    "DescribeMultimodalModerationResult": (280, 400, 401, 402, 403, 408, 409, 500),
    "DescribeUploadToken": (403, 408, 500),
}


@pytest.mark.parametrize("operation", CODES)
def test_every_business_code_reaches_the_sdk(operation: str) -> None:
    """Each code of each operation is answered on demand, with a message, and none but 280 of a submission is billed."""

    async def main() -> None:
        async with Simulator(UNLIMITED) as simulator:
            client, (method, request) = client_of(simulator), OPERATIONS[operation]
            for code in CODES[operation]:
                simulator.faults.set([Fault("code", str(code), operation=operation)])
                body = (await call(client, method, *request, synchronous=True)).body
                said = body.message if operation == "TextModerationPlus" else body.msg
                assert (body.code, bool(said), said == "simulated") == (code, True, False)
                assert body.request_id
            billed = int(operation == "MultimodalAsyncModeration")
            assert simulator.ledger.billed_calls == billed
            assert simulator.stats.codes == {operation: {str(code): 1 for code in CODES[operation]}}

    asyncio.run(main())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_gateway_code_reaches_the_sdk(operation: str) -> None:
    """Each word of the gateway comes to the SDK as its exception, with the code and the HTTP status."""

    async def main() -> None:
        async with Simulator(UNLIMITED) as simulator:
            client, (method, request) = client_of(simulator), OPERATIONS[operation]
            for code, (status, _) in GATEWAY.items():
                simulator.faults.set([Fault("code", code, operation=operation)])
                with pytest.raises(Exception, match=re.escape(code)) as error:
                    await call(client, method, *request, synchronous=True)
                assert (error.value.code, error.value.status_code) == (code, status)  # type: ignore[attr-defined]  # the SDK ships no types
            assert simulator.ledger.billed_calls == 0

    asyncio.run(main())


def test_what_the_sdk_makes_of_the_pages_own_dialect() -> None:
    """In the dialect of the page's examples the SDK loses task id and labels: a client must read more than it does."""

    async def main() -> None:
        async with Simulator(SimulatorSettings(dialect="seed", task_latency=Latency(0))) as simulator:
            client = client_of(simulator)
            request = submission(mainData={"mainContent": "buy cocaine"})
            body = (await call(client, "multimodal_async_moderation", request, synchronous=True)).body
            assert (body.code, body.msg, body.data.req_id) == ("200", None, None)
            (task,) = simulator.tasks
            answer = await call(
                client, "describe_multimodal_moderation_result", result_of(task.task_id), synchronous=True
            )
            assert (answer.body.data.risk_level, answer.body.data.main_data.results) == ("high", [])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"access_key_secret": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "other"}, "InvalidAccessKeyId.NotFound"),
        ({"security_token": "surprise"}, "InvalidSecurityToken.Malformed"),
    ],
)
def test_wrong_credentials_reach_the_sdk_as_its_own_exception(changed: dict[str, str], code: str) -> None:
    """The gateway's errors have the shape that the SDK turns into exceptions with a code."""

    async def main() -> None:
        async with Simulator() as simulator:
            with pytest.raises(Exception, match=code) as error:
                await call(client_of(simulator, **changed), "text_moderation_plus", text(content="x"), synchronous=True)
            assert error.value.code == code  # type: ignore[attr-defined]  # the SDK ships no types

    asyncio.run(main())


def test_temporary_credentials_of_the_sdk_are_accepted() -> None:
    """With a security token the SDK sends and signs what temporary credentials need."""

    async def main() -> None:
        async with Simulator(SimulatorSettings(security_token="token")) as simulator:
            client = client_of(simulator, security_token="token")
            answer = await call(client, "text_moderation_plus", text(content="x"), synchronous=True)
            assert answer.body.code == 200

    asyncio.run(main())


def test_throttling_reaches_the_sdk_with_its_pause() -> None:
    """A throttled call raises the SDK's own throttling exception, with the pause in milliseconds."""

    async def main() -> None:
        fault = Fault.parse("code=Throttling.User,retry_after_ms=1500")
        async with Simulator(SimulatorSettings(faults=(fault,))) as simulator:
            with pytest.raises(Exception, match=r"Throttling\.User") as error:
                await call(client_of(simulator), "text_moderation_plus", text(content="x"), synchronous=True)
            assert error.value.retry_after == 1500  # type: ignore[attr-defined]  # the SDK ships no types

    asyncio.run(main())


def test_an_operation_that_is_not_there_is_said_so() -> None:
    """An operation the simulator does not know is the gateway's InvalidAction.NotFound to the SDK."""

    async def main() -> None:
        async with Simulator() as simulator:
            request = models.VoiceModerationRequest(service="audio_media_detection", service_parameters="{}")
            with pytest.raises(Exception, match=r"InvalidAction\.NotFound"):
                await call(client_of(simulator), "voice_moderation", request, synchronous=True)

    asyncio.run(main())
