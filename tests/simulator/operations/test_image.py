"""ImageModeration answers as the image page says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.plain import Bench


URL = "https://cdn.example.com"


def test_a_risky_image_has_labels_with_levels() -> None:
    """A risky answer has the shape of the page's example, its message field is `Msg`."""
    answer = Bench().image(f"{URL}/medium/violent_explosion.jpg", dataId="img-1")
    assert (answer["Code"], answer["Msg"]) == (200, "OK")
    assert answer["Data"] == {
        "RiskLevel": "medium",
        "Result": [
            {
                "Label": "violent_explosion",
                "Description": "Smoke, fire or fireworks",
                "RiskLevel": "medium",
                "Confidence": 80.25,
            }
        ],
        "DataId": "img-1",
    }


def test_clean_and_allowed_images_have_no_risk() -> None:
    """A clean image is `nonLabel` without a confidence, one of the allow list `nonLabel_lib` with a similarity."""
    bench = Bench()
    clean = bench.image(f"{URL}/cat.jpg")["Data"]
    allowed = bench.image(f"{URL}/nonLabel_lib.jpg")["Data"]
    assert (clean["RiskLevel"], allowed["RiskLevel"]) == ("none", "none")
    assert [(one["Label"], "Confidence" in one) for one in (*clean["Result"], *allowed["Result"])] == [
        ("nonLabel", False),
        ("nonLabel_lib", True),
    ]


def test_auxiliary_information_comes_when_asked_for() -> None:
    """`customImage` and `textInImage` add library hits and the text in the image, and only those."""
    bench = Bench()
    url = f"{URL}/violent_gun_lib,contraband_drug_tii,profanity_Oral_tii_lib.jpg"
    assert "Ext" not in bench.image(url)["Data"]
    extra = bench.image(url, infoType="customImage,textInImage")["Data"]["Ext"]
    assert [hit["ImageId"] for hit in extra["CustomImage"]] == [
        "image-violent_gun_lib",
        "image-profanity_Oral_tii_lib",
    ]
    assert [line["Text"] for line in extra["TextInImage"]["OcrResult"]] == [
        "Text about drugs",
        "Coarse text_Hit custom library",
    ]
    assert extra["TextInImage"]["RiskWord"] == ["Text about drugs"]
    assert [hit["KeyWords"] for hit in extra["TextInImage"]["CustomText"]] == ["Coarse text_Hit custom library"]
    assert "Ext" not in bench.image(f"{URL}/cat.jpg", infoType="customImage,textInImage")["Data"]


def test_an_object_in_a_bucket_is_judged_by_its_name() -> None:
    """An image can be named by bucket, object and region instead of a URL."""
    bench = Bench()
    answer = bench.image(None, ossBucketName="b", ossObjectName="2024/violent_gun.jpg", ossRegionId="cn-beijing")
    assert answer["Data"]["Result"][0]["Label"] == "violent_gun"


def test_the_aigc_detector_has_its_own_labels() -> None:
    """The AIGC service calls an image `aigc` or `ugc`, and bills like the other."""
    bench = Bench()
    found = [bench.image(f"{URL}/{name}.jpg", "aigcDetector_global")["Data"] for name in ("aigc", "violent_gun")]
    assert [(one["RiskLevel"], one["Result"][0]["Label"]) for one in found] == [("medium", "aigc"), ("none", "ugc")]
    assert bench.backend.ledger.moderation_types["image_standard"].units == 2


@pytest.mark.parametrize("code", [404, 405, 406, 407])
def test_an_unusable_image_is_free(code: int) -> None:
    """An image that cannot be had or read has the page's code, no data, and costs nothing."""
    bench = Bench()
    answer = bench.image(f"{URL}/{code}/1.jpg")
    assert answer["Code"] == code
    assert "Data" not in answer
    assert bench.backend.ledger.billed_calls == 0


@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        (400, {"url": None}),
        (400, {"url": ""}),
        (400, {"url": None, "ossBucketName": "b"}),
        (400, {"url": None, "ossObjectName": "o"}),
        (400, {"url": URL, "service": ""}),
        (401, {"url": URL, "ossBucketName": "b", "ossObjectName": "o"}),
        (401, {"url": URL, "ossRegionId": "cn-beijing"}),
        (401, {"url": "ftp://example.com/a.jpg"}),
        (401, {"url": 7}),
        (401, {"url": None, "ossBucketName": "b", "ossObjectName": 1}),
        (401, {"url": URL, "dataId": "a b"}),
        (401, {"url": URL, "infoType": "llmContent"}),
        (401, {"url": URL, "referer": 1}),
        (401, {"url": URL, "service": "ugc_moderation_byllm"}),
        (402, {"url": f"{URL}/{'x' * 2048}"}),
        (402, {"url": URL, "dataId": "x" * 65}),
        (402, {"url": URL, "referer": "x" * 257}),
    ],
)
def test_bad_parameters_have_the_pages_codes(code: int, parameters: dict[str, Any]) -> None:
    """Empty is 400, invalid 401, too long 402; none is billed."""
    bench = Bench()
    assert bench.image(**parameters)["Code"] == code
    assert bench.backend.ledger.billed_calls == 0


@pytest.mark.parametrize(("parameters", "code"), [("", 400), ("{", 401), ("[]", 401)])
def test_service_parameters_are_a_json_object(parameters: str, code: int) -> None:
    """Empty ServiceParameters are a 400, others that are no JSON object a 401."""
    bench = Bench()
    body = f"Service=baselineCheck_global&ServiceParameters={parameters}".encode()
    reply = bench.send(bench.request("ImageModeration", body))
    assert f'"Code":{code}'.encode() in reply.body


def test_figures_and_logos_come_when_asked_for() -> None:
    """`publicFigure` and `logoData` add who and what is shown, each with its place, and not what is only written."""
    bench = Bench()
    labels = "political_politicalFigure_2,political_prohibitedPerson_tii,religion_logo,pt_logo"
    url = f"{URL}/medium/{labels}.jpg"
    assert "Ext" not in bench.image(url)["Data"]
    extra = bench.image(url, infoType="publicFigure,logoData")["Data"]["Ext"]
    (figure,) = extra.pop("PublicFigure")
    assert figure == {
        "FigureName": "Political figure",
        "FigureId": "figure-political_politicalFigure_2",
        "Location": [{"X": 10, "Y": 10, "W": 200, "H": 30}],
    }
    assert [one["Logo"] for one in extra.pop("LogoData")] == [
        [{"Name": "Religious logo", "Label": "religion_logo", "Confidence": 80.25}],
        [{"Name": "Logo", "Label": "pt_logo", "Confidence": 80.25}],
    ]
    assert extra == {}
    assert "Ext" not in bench.image(f"{URL}/cat.jpg", infoType="publicFigure,logoData")["Data"]


def test_some_services_add_their_own_without_being_asked() -> None:
    """A generated image has its generator's label, a face its features, and a large model says what it saw."""
    bench = Bench()

    def extra(name: str, service: str) -> dict[str, Any]:
        found: dict[str, Any] = bench.image(f"{URL}/{name}.jpg", service)["Data"].get("Ext", {})
        return found

    assert extra("aigc", "aigcDetector")["AigcData"]["AIGC"]["Label"] == "1"
    assert extra("photo", "aigcDetector_global") == {}
    assert extra("face-1", "faceDetect_pro_global")["FaceData"][0]["Age"] == 30
    assert extra("surface", "faceDetect_global") == {}
    assert extra("violent_gun", "baselineCheckByVL") == {"VlContent": {"OutputText": "Guns"}}


def test_image_services_of_large_models_have_a_quota_of_their_own() -> None:
    """The 51st image of a second is refused to them, while other image services go on."""
    bench = Bench()
    codes = [bench.image(f"{URL}/1.jpg", "postImageCheckByVL")["Code"] for _ in range(51)]
    assert codes == [200] * 50 + [403]
    assert bench.image(f"{URL}/1.jpg", "postImageCheckByVL_global")["Code"] == 403
    assert bench.image(f"{URL}/1.jpg", "baselineCheck")["Code"] == 200
