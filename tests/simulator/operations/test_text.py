"""TextModerationPlus answers as the text page says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.plain import Bench


def test_a_risky_text_has_labels_words_and_positions() -> None:
    """A risky answer has the shape of the page's first example: level, label, confidence, words, positions."""
    answer = Bench().text("hello 世界, buy cocaine", dataId="m-1", accountId="u-7")
    assert (answer["Code"], answer["Message"]) == (200, "OK")
    assert answer["Data"] == {
        "RiskLevel": "high",
        "Result": [
            {
                "Label": "contraband_drug",
                "Description": "Suspected drug-related content",
                "Confidence": 99.12,
                "RiskWords": "buy cocaine",
                "RiskPositions": [{"RiskWord": "buy cocaine", "StartPos": 10, "EndPos": 21}],
            }
        ],
        "DataId": "m-1",
        "AccountId": "u-7",
    }


def test_a_clean_text_is_nonlabel() -> None:
    """A clean answer has one label without a confidence, and echoes only what was sent."""
    data = Bench().text("good morning")["Data"]
    assert data == {"RiskLevel": "none", "Result": [{"Label": "nonLabel", "Description": "No risk detected"}]}


def test_a_hit_in_the_accounts_library_is_customized() -> None:
    """A word of the customer's own library gives label `customized` with the library and the keyword."""
    (result,) = Bench().text("the forbidden brand is here")["Data"]["Result"]
    assert result["Label"] == "customized"
    assert result["CustomizedHit"] == [{"LibName": "Simulator Library", "KeyWords": "forbidden brand"}]


def test_the_cross_border_service_has_the_international_labels() -> None:
    """The same words have other labels for services of international markets."""
    bench = Bench()
    assert bench.text("a rigged election")["Data"]["Result"][0]["Label"] == "political_n"
    international = bench.text("a rigged election", "ugc_moderation_byllm_cb")
    assert international["Data"]["Result"][0]["Label"] == "regional_controversial"


def test_the_models_own_words_come_when_asked_for() -> None:
    """`infoType: llmContent` adds the raw output of the model."""
    bench = Bench()
    assert "Ext" not in bench.text("you idiot")["Data"]
    extra = bench.text("you idiot", infoType="llmContent")["Data"]["Ext"]
    assert extra == {"LlmContent": {"OutputText": "Suspected offensive or abusive content"}}


def test_a_copy_made_in_the_console_behaves_like_its_original() -> None:
    """A service name with a suffix such as `_01` is known."""
    assert Bench().text("good morning", "ugc_moderation_byllm_01")["Code"] == 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"content": ""}, "content is empty"),
        ({"content": None}, "content is empty"),
        ({"content": 7}, "content is empty"),
        ({"content": "x" * 2001}, "longer than 2000"),
        ({"content": "x" * 601, "service": "nickname_detection_pro"}, "longer than 600"),
        ({"content": "x" * 5001, "service": "llm_response_moderation"}, "longer than 5000"),
        ({"content": "x", "dataId": "a b"}, "dataId may hold"),
        ({"content": "x", "dataId": "x" * 65}, "dataId is longer than 64"),
        ({"content": "x", "infoType": "customImage"}, "infoType"),
        ({"content": "x", "infoType": 1}, "infoType"),
        ({"content": "x", "accountId": 1}, "accountId"),
        ({"content": "x", "service": "baselineCheck_global"}, "not a service of TextModerationPlus"),
        ({"content": "x", "service": ""}, "not a service of TextModerationPlus"),
    ],
)
def test_every_bad_parameter_is_a_400_and_free(parameters: dict[str, Any], said: str) -> None:
    """The text page has one code for bad parameters; the message says which, and nothing is billed."""
    bench = Bench()
    answer = bench.text(**parameters)
    assert answer["Code"] == 400
    assert said in answer["Message"]
    assert "Data" not in answer
    assert bench.backend.ledger.billed_calls == 0


@pytest.mark.parametrize("parameters", ["{", "[]", "", '"text"'])
def test_service_parameters_are_a_json_object(parameters: str) -> None:
    """Anything else in ServiceParameters is a 400."""
    bench = Bench()
    body = f"Service=ugc_moderation_byllm&ServiceParameters={parameters}".encode()
    reply = bench.send(bench.request("TextModerationPlus", body))
    assert b'"Code":400' in reply.body


@pytest.mark.parametrize(
    ("service", "length", "units"),
    [
        ("ugc_moderation_byllm", 2000, 1),
        ("ugc_moderation_byllm_pro", 2000, 1),
        ("aigc_moderation_byllm", 2000, 1),
        ("ugc_moderation_byllm_cb", 1000, 1),
        ("ugc_moderation_byllm_cb", 1001, 2),
        ("ugc_moderation_byllm_global", 2000, 1),
        ("llm_response_moderation", 5000, 1),
        ("nickname_detection_pro", 600, 1),
    ],
)
def test_text_is_billed_by_the_call_or_by_started_thousands(service: str, length: int, units: int) -> None:
    """The standard type is one unit a call, the advanced type one for each started 1,000 characters."""
    bench = Bench()
    assert bench.text("世" * length, service)["Code"] == 200
    assert bench.backend.ledger.services[service].units == units


@pytest.mark.parametrize(
    ("content", "language", "translated"),
    [
        ("hola, comprar armas", "es", "hola, buy a gun"),
        ("ยาเสพติด ซื้อยาเสพติด", "th", "ยาเสพติด buy cocaine"),
        ("カタカナ", "ja", "カタカナ"),
        ("good morning", "en", "good morning"),
        ("你好", "zh", "你好"),
    ],
)
def test_an_account_may_have_translation(content: str, language: str, translated: str) -> None:
    """With translation on, texts of international services come with their language and an English text."""
    data = Bench(translation=True).text(content, "ugc_moderation_byllm_cb")["Data"]
    assert (data["DetectedLanguage"], data["TranslatedContent"]) == (language, translated)


def test_translation_is_for_international_services_of_accounts_that_have_it() -> None:
    """Neither a mainland service nor an account without it says anything about language."""
    for data in (
        Bench(translation=True).text("hola")["Data"],
        Bench().text("hola", "ugc_moderation_byllm_cb")["Data"],
    ):
        assert "TranslatedContent" not in data
        assert "DetectedLanguage" not in data
