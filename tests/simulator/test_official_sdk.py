"""The vendor's own SDK for Python works against the simulator unchanged, synchronously and asynchronously."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from alibabacloud_green20220302 import models
from alibabacloud_green20220302.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

from consumer.simulator import Fault, Simulator, SimulatorSettings


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


def image(**parameters: str) -> Any:
    """An image request."""
    return models.ImageModerationRequest(service="baselineCheck_global", service_parameters=json.dumps(parameters))


async def call(client: Any, operation: str, request: Any, *, synchronous: bool) -> Any:
    """One call in either way of the SDK; the synchronous one in a thread, since the simulator runs in ours."""
    if synchronous:
        return await asyncio.to_thread(getattr(client, f"{operation}_with_options"), request, RuntimeOptions())
    return await getattr(client, f"{operation}_with_options_async")(request, RuntimeOptions())


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
