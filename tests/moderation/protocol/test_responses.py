"""Answers are read in every dialect, and never taken for clean unless they say so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.protocol.codes import look_up
from consumer.moderation.protocol.requests import Call
from consumer.moderation.protocol.responses import Finding, Layer, category_of, read, read_finding
from consumer.moderation.protocol.services import KNOWN
from consumer.verdict import CustomHit, RiskLevel, RiskPosition


TEXT = Call(KNOWN["ugc_moderation_byllm"], characters=10)
IMAGE = Call(KNOWN["baselineCheck_global"], images=1)


def finding(answer: dict[str, Any], call: Call = TEXT) -> Finding:
    return read_finding(read(orjson.dumps(answer), 200), call)


def judged(**data: Any) -> dict[str, Any]:
    return {"Code": 200, "Message": "OK", "RequestId": "R-1", "Data": data}


def test_a_hit_of_the_systems_policy() -> None:
    """The text page's first example is read: words, confidence, and positions whose end is before their start."""
    found = finding(
        judged(
            Result=[
                {
                    "Label": "political_entity",
                    "Description": "Suspected political entity",
                    "Confidence": 100.0,
                    "RiskWords": "WordA,WordB",
                    "RiskPositions": [{"EndPos": 14, "RiskWord": "WordA", "StartPos": 16}],
                },
                {"Label": "political_figure", "Confidence": 99.12, "RiskWords": "WordB, WordC"},
            ],
            RiskLevel="high",
            DataId="text0424",
        )
    )
    assert found.risk_level is RiskLevel.HIGH
    first, second = found.labels
    assert (first.label, first.category, first.found_in) == ("political_entity", "political", "text")
    assert (first.confidence, first.description) == (100.0, "Suspected political entity")
    assert first.risk_words == ("WordA", "WordB")
    assert first.positions == (RiskPosition("WordA", 14, 16),)
    assert (second.confidence, second.risk_words, second.positions) == (99.12, ("WordB", "WordC"), ())
    assert first.service == "ugc_moderation_byllm"


@pytest.mark.parametrize("spelling", ["Keywords", "KeyWords"])
def test_a_hit_of_an_own_library(spelling: str) -> None:
    """The text page's second example is read, in both spellings of its keywords."""
    hit = {"LibName": "Custom Library Name 1", spelling: "one,two"}
    found = finding(judged(Result=[{"CustomizedHit": [hit], "Label": "customized"}], RiskLevel="high"))
    (label,) = found.labels
    assert label.found_in == "library"
    assert label.custom_hits == (CustomHit("Custom Library Name 1", ("one", "two")),)
    assert label.confidence is None


def test_the_models_own_words() -> None:
    """The text page's third example is read: what the model said, and a translation, stand under stable names."""
    found = finding(
        judged(
            Ext={"LlmContent": {"OutputText": "Suspected abuse"}},
            Result=[{"Label": "inappropriate_profanity"}],
            RiskLevel="high",
            TranslatedContent="hello",
            DetectedLanguage="en",
        )
    )
    assert found.extra == {"llm_output": "Suspected abuse", "translated_content": "hello", "detected_language": "en"}


def test_a_risky_image() -> None:
    """The image page's first example is read: places of a label, and a hit of an image library."""
    found = finding(
        {
            "Msg": "OK",
            "Code": 200,
            "Data": {
                "Result": [
                    {"Label": "pornographic_adultContent", "Confidence": 81},
                    {"Label": "political_prohibitedPerson_tii", "Confidence": 98},
                    {"Label": "violent_explosion_lib", "Confidence": 81},
                    {"Label": "political_politicalFigure_name_tii_lib", "Confidence": 81},
                ],
                "RiskLevel": "high",
            },
            "RequestId": "ABCD",
        },
        IMAGE,
    )
    assert [(label.category, label.found_in) for label in found.labels] == [
        ("pornographic", "image"),
        ("political", "text_in_image"),
        ("violent", "library"),
        ("political", "library"),
    ]


def test_a_clean_image() -> None:
    """The image page's second example is clean, without a label that says so."""
    found = finding(judged(Result=[{"Label": "nonLabel", "Description": "No risk detected"}], RiskLevel="none"), IMAGE)
    assert found == Finding(RiskLevel.NONE)


def test_an_image_on_the_allow_list() -> None:
    """The image page's third example is clean, and the verdict says by which library."""
    found = finding(judged(Result=[{"Label": "nonLabel_lib", "Confidence": 83}], RiskLevel="none"), IMAGE)
    assert found.risk_level is RiskLevel.NONE
    assert [(label.label, label.category, label.found_in) for label in found.labels] == [
        ("nonLabel_lib", "nonLabel", "library")
    ]


def test_what_else_an_image_answer_has() -> None:
    """Additional information of an image is kept under stable names, and empty members are left out."""
    place = {"X": 1, "Y": 2, "W": 3, "H": 4}
    ext = {
        "CustomImage": [{"ImageId": "1", "LibId": "l", "LibName": "mine"}],
        "TextInImage": {
            "OcrResult": [{"Text": "x", "Location": place}],
            "RiskWord": [],
            "CustomText": [{"LibId": "l", "LibName": "mine", "KeyWords": "a,b"}],
        },
        "PublicFigure": [{"FigureName": "n", "FigureId": "f", "Location": [place]}],
        "LogoData": [],
        "Recognition": [{"Classification": "cat", "Confidence": 9.5}],
        "FaceData": [{"Gender": {"Value": "FeMale"}}],
        "VlContent": {"OutputText": "a cat"},
        "AigcData": {"AIGCService": "s"},
    }
    located = {"x": 1, "y": 2, "w": 3, "h": 4}
    assert finding(judged(Ext=ext, RiskLevel="low", Frame="[]", FrameNum=2, ManualTaskId="m"), IMAGE).extra == {
        "custom_image": [{"image_id": "1", "lib_id": "l", "lib_name": "mine"}],
        "text_in_image": {
            "ocr_result": [{"text": "x", "location": located}],
            "risk_word": [],
            "custom_text": [{"lib_id": "l", "lib_name": "mine", "key_words": "a,b"}],
        },
        "public_figure": [{"figure_name": "n", "figure_id": "f", "location": [located]}],
        "recognition": [{"classification": "cat", "confidence": 9.5}],
        "face_data": [{"gender": {"value": "FeMale"}}],
        "vl_content": {"output_text": "a cat"},
        "aigc_data": {"aigcservice": "s"},
        "frame": "[]",
        "frame_num": 2,
        "manual_task_id": "m",
    }


def test_what_else_a_text_answer_has() -> None:
    """Members that only the SDK knows, and those that nobody knows yet, are kept under their own names."""
    data = {
        "Score": 0.5,
        "AttackLevel": "none",
        "SensitiveResult": [{"Label": "1780"}],
        "Advice": [{"Answer": "a", "HitLabel": "h", "HitLibName": "l"}],
        "AccountId": "10123",
        "DataId": "1",
        "NewField": "new",
        "OcrResult": [1],
        "Ext": {"LlmContent": {"OutputText": "abuse", "Model": "q"}, "OcrResult": [2]},
    }
    assert finding(judged(RiskLevel="low", **data)).extra == {
        "score": 0.5,
        "attack_level": "none",
        "sensitive_result": [{"label": "1780"}],
        "advice": [{"answer": "a", "hit_label": "h", "hit_lib_name": "l"}],
        "new_field": "new",
        "ocr_result": [1, 2],
        "llm_output": "abuse",
        "llm_content": {"model": "q"},
    }


def test_a_label_keeps_its_own_level() -> None:
    """The image page's level of a label stands with the label."""
    (label,) = finding(judged(RiskLevel="high", Result=[{"Label": "a_b", "RiskLevel": "low"}]), IMAGE).labels
    assert label.risk_level is RiskLevel.LOW


@pytest.mark.parametrize("confidence", [-1, 100.01, "150", None, "NaN"])
def test_a_confidence_that_is_none_is_left_out(confidence: Any) -> None:
    """A confidence outside 0 to 100 is none, and leaves the verdict as published."""
    (label,) = finding(judged(RiskLevel="high", Result=[{"Label": "a_b", "Confidence": confidence}])).labels
    assert label.confidence is None


@pytest.mark.parametrize("word", ["high", "HIGH", " High "])
def test_levels_are_read_in_any_case(word: str) -> None:
    """The case of a risk level does not matter."""
    assert finding(judged(RiskLevel=word)).risk_level is RiskLevel.HIGH


@pytest.mark.parametrize("level", [None, "", "clean", "0", 0, "unknown", ["none"], {}])
def test_a_level_that_nobody_knows_is_not_clean(level: Any) -> None:
    """A missing, unknown or malformed level is unknown, also where the only label says that there is no risk."""
    assert finding(judged(RiskLevel=level, Result=[{"Label": "nonLabel"}])).risk_level is RiskLevel.UNKNOWN
    assert finding(judged(Result=[{"Label": "nonLabel"}])).risk_level is RiskLevel.UNKNOWN
    assert finding({"Code": 200, "Data": level}).risk_level is RiskLevel.UNKNOWN


@pytest.mark.parametrize("code", [280, 400, 500, 201, "Throttling.User"])
def test_data_beside_another_code_judges_nothing(code: int | str) -> None:
    """Only an answer with code 200 is a judgement, whatever its data says."""
    assert finding({**judged(RiskLevel="none"), "Code": code}).risk_level is RiskLevel.UNKNOWN


def test_a_label_may_be_riskier_than_the_whole() -> None:
    """Where a label's own level is higher than that of the whole, or unknown, it counts."""
    risky = [{"Label": "violent_explosion", "RiskLevel": "medium"}]
    assert finding(judged(RiskLevel="none", Result=risky)).risk_level is RiskLevel.MEDIUM
    odd = [{"Label": "violent_explosion", "RiskLevel": "severe"}]
    assert finding(judged(RiskLevel="none", Result=odd)).risk_level is RiskLevel.UNKNOWN


def test_all_spellings_of_all_members_are_read() -> None:
    """Members are found in any letter case, and under the names of the other pages."""
    found = finding(
        {
            "code": "200",
            "data": {
                "riskLevel": "low",
                "Results": [
                    {"label": "x_y", "riskwords": "a", "riskPositions": {"riskWord": "a", "startPos": "3", "endpos": 1}}
                ],
            },
        }
    )
    assert found.risk_level is RiskLevel.LOW
    assert found.labels[0].risk_words == ("a",)
    assert found.labels[0].positions == (RiskPosition("a", 1, 3),)


def test_numbers_that_are_none_are_left_out() -> None:
    """A confidence or a position that is no number is left out, and the label stays."""
    odd = {"Label": "a_b", "Confidence": "high", "RiskPositions": [{"StartPos": "x", "EndPos": 1}, "y"]}
    (label,) = finding(judged(RiskLevel="high", Result=[odd, "z"])).labels
    assert (label.confidence, label.positions) == (None, ())


def test_positions_in_a_piece_of_a_long_text() -> None:
    """Positions in a later piece of a text are counted from the beginning of the text."""
    call = Call(KNOWN["ugc_moderation_byllm"], offset=2000)
    answer = judged(
        RiskLevel="high", Result=[{"Label": "a", "RiskPositions": [{"RiskWord": "w", "StartPos": 2, "EndPos": 5}]}]
    )
    assert finding(answer, call).labels[0].positions == (RiskPosition("w", 2002, 2005),)


@pytest.mark.parametrize(
    ("label", "category"),
    [
        ("contraband_drug", "contraband"),
        ("QRCode", "QRCode"),
        ("violence_weapons_tii", "violence"),
        ("violence_unscList", "violence"),
        ("customized", "customized"),
        ("customized_lib", "customized"),
        ("pt_custom_01", "pt"),
        ("x_tii_lib", "x"),
        ("nonLabel_lib", "nonLabel"),
    ],
)
def test_categories(label: str, category: str) -> None:
    """The category is the label's first part, whatever marks it ends with."""
    assert category_of(label) == category


@pytest.mark.parametrize(
    ("body", "status", "layer", "code"),
    [
        (b'{"Code":200}', 200, Layer.BUSINESS, 200),
        (b'{"Code":"588"}', 200, Layer.BUSINESS, 588),
        (b'{"Code":500.0}', 500, Layer.BUSINESS, 500),
        (b'{"Code":200}', 502, Layer.UNREADABLE, None),
        (b'{"Code":"Throttling.User","RequestId":"r"}', 429, Layer.GATEWAY, "Throttling.User"),
        (b'{"Code":true}', 200, Layer.UNREADABLE, None),
        (b'{"Code":null}', 200, Layer.UNREADABLE, None),
        (b'{"Code":""}', 400, Layer.UNREADABLE, None),
        (b'{"Data":{"RiskLevel":"none"}}', 200, Layer.UNREADABLE, None),
        (b"[200]", 200, Layer.UNREADABLE, None),
        (b"<html>", 503, Layer.UNREADABLE, None),
        (b"", 200, Layer.UNREADABLE, None),
        (b"\xff\xfe", 200, Layer.UNREADABLE, None),
    ],
)
def test_who_answered(body: bytes, status: int, layer: Layer, code: int | str | None) -> None:
    """A number as code is the service, a word is the gateway, anything else is nobody that can be read."""
    answer = read(body, status)
    assert (answer.layer, answer.code) == (layer, code)


def test_extra_that_is_nested_too_deep_can_still_be_written() -> None:
    """However deep an answer is nested, what is kept of it goes into a verdict."""
    body = b'{"Code":200,"Data":{"RiskLevel":"low","Ext":{"A":' + b'{"b":' * 900 + b"1" + b"}" * 903
    found = read_finding(read(body, 200), IMAGE)
    assert found.risk_level is RiskLevel.LOW
    assert orjson.dumps(found.extra)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["Label", "RiskLevel", "Confidence", "RiskWords", "CustomizedHit", "RiskPositions", "StartPos", "EndPos", "LibName"]
)
LEVELS = st.sampled_from(["none", "None", "low", "high", "nothing", None, 0])
RESULT = st.dictionaries(MEMBERS, JSON | LEVELS | st.lists(st.dictionaries(MEMBERS, JSON), max_size=2), max_size=5)
DATA = st.fixed_dictionaries(
    {}, optional={"RiskLevel": LEVELS | JSON, "Result": JSON | st.lists(RESULT, max_size=3), "Ext": JSON}
)
ANSWERS = st.fixed_dictionaries(
    {}, optional={"Code": st.sampled_from([200, "200", 201, 500, True]) | JSON, "Data": DATA | JSON, "RequestId": JSON}
)


def says_none(parsed: Any) -> bool:
    """Whether an answer plainly says that there is no risk."""
    data = parsed["Data"]
    level = data["RiskLevel"]
    return str(parsed["Code"]) in {"200", "200.0"} and isinstance(level, str) and level.strip().lower() == "none"


@given(ANSWERS, st.sampled_from([200, 200, 200, 302, 500]))
def test_only_a_well_formed_answer_is_clean(parsed: dict[str, Any], status: int) -> None:
    """Whatever members an answer has, it is clean only with code 200, HTTP 200 and risk level none."""
    answer = read(orjson.dumps(parsed), status)
    found = read_finding(answer, IMAGE)
    if look_up(answer).outcome == "judged" and found.risk_level is RiskLevel.NONE:
        assert status == 200
        assert says_none(parsed)
    orjson.dumps([found.extra, *[label.to_dict() for label in found.labels]])


CLEAN = orjson.dumps(judged(Result=[{"Label": "nonLabel"}], RiskLevel="none"))


@given(st.integers(0, len(CLEAN) - 1), st.integers(0, len(CLEAN)), st.binary(max_size=4))
def test_a_damaged_answer_is_never_clean_by_accident(start: int, length: int, noise: bytes) -> None:
    """A clean answer with bytes cut out or replaced is clean only if it still plainly says so."""
    body = CLEAN[:start] + noise + CLEAN[start + length :]
    answer = read(body, 200)
    if look_up(answer).outcome == "judged" and read_finding(answer, TEXT).risk_level is RiskLevel.NONE:
        assert says_none({name.title(): value for name, value in orjson.loads(body).items()})


@given(st.binary(), st.integers(100, 599))
def test_any_bytes_can_be_read(body: bytes, status: int) -> None:
    """No bytes whatever make the reader fail."""
    answer = read(body, status)
    assert read_finding(answer, TEXT).risk_level is RiskLevel.UNKNOWN
    assert look_up(answer).outcome == "retry" or answer.code is not None
