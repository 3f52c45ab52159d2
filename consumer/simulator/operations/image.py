"""ImageModeration: the synchronous image services. No image is ever fetched: the verdict is in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.simulator import services, truth
from consumer.simulator.operations.operation import Answer, Bill, Operation
from consumer.simulator.operations.parameters import data_id_fault, info_types, service_parameters


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["OPERATION"]


_INFO_TYPES = frozenset({"customImage", "textInImage", "publicFigure", "logoData"})
_URL_LIMIT = 2048
_REFERER_LIMIT = 256
_MESSAGES = {
    200: "OK",
    400: "parameter is empty",
    401: "parameter is invalid",
    402: "parameter length is invalid",
    403: "qps limit exceeded",
    404: "image download failed",
    405: "image download timed out",
    406: "image is too large",
    407: "image format is not supported",
    408: "permission denied",
    500: "system error",
}


def _moderate(parameters: Mapping[str, str]) -> Answer:
    name = parameters["Service"]
    if not name:
        return Answer(400, "Service is empty")
    service = services.find("ImageModeration", name)
    if service is None:
        return Answer(401, f"Service {name!r} is not a service of ImageModeration")
    if not parameters["ServiceParameters"]:
        return Answer(400, "ServiceParameters is empty")
    asked = service_parameters(parameters["ServiceParameters"])
    if asked is None:
        return Answer(401, "ServiceParameters is not a JSON object")
    wrong = _source_fault(asked) or _referer_fault(asked) or data_id_fault(asked)
    if wrong is not None:
        return Answer(*wrong)
    extras = info_types(asked, _INFO_TYPES)
    if extras is None:
        return Answer(401, f"infoType {asked['infoType']!r} is unknown")

    seen = truth.image(asked.get("imageUrl") or asked["ossObjectName"], service.labels)
    if seen.code != 200:
        return Answer(seen.code, _MESSAGES[seen.code])
    data: dict[str, Any] = {"RiskLevel": seen.risk_level, "Result": [_result(one) for one in seen.found]}
    if asked.get("dataId") is not None:
        data["DataId"] = asked["dataId"]
    extra = _extra(seen, extras)
    if extra:
        data["Ext"] = extra
    return Answer(200, "OK", data, Bill(service.moderation_type, 1, asked.get("dataId")))


def _source_fault(asked: dict[str, Any]) -> tuple[int, str] | None:
    """What is wrong with the way the image is named: a URL, or an object in a bucket, and not both."""
    url = asked.get("imageUrl")
    bucket, name, region = (asked.get(key) for key in ("ossBucketName", "ossObjectName", "ossRegionId"))
    if url and (bucket or name or region):
        return 401, "imageUrl and an OSS object exclude each other"
    if url:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return 401, "imageUrl is not an http or https URL"
        return (402, f"imageUrl is longer than {_URL_LIMIT} characters") if len(url) > _URL_LIMIT else None
    if not bucket or not name:
        return 400, "neither imageUrl nor ossBucketName and ossObjectName are given"
    if not all(isinstance(value, str) for value in (bucket, name, region or "")):
        return 401, "ossBucketName, ossObjectName and ossRegionId are strings"
    return None


def _referer_fault(asked: dict[str, Any]) -> tuple[int, str] | None:
    referer = asked.get("referer") or ""
    if not isinstance(referer, str):
        return 401, "referer is not a string"
    return (402, f"referer is longer than {_REFERER_LIMIT} characters") if len(referer) > _REFERER_LIMIT else None


def _result(one: truth.Found) -> dict[str, Any]:
    result: dict[str, Any] = {"Label": one.label, "Description": one.description, "RiskLevel": one.level}
    if one.confidence is not None:
        result["Confidence"] = one.confidence
    return result


def _extra(seen: truth.ImageTruth, asked: frozenset[str]) -> dict[str, Any]:
    """The auxiliary information: hits in image libraries, and the text in the image."""
    extra: dict[str, Any] = {}
    libraries = [one for one in seen.found if one.library is not None]
    if "customImage" in asked and libraries:
        extra["CustomImage"] = [
            {"ImageId": f"image-{one.label}", "LibId": "simulator-images", "LibName": one.library} for one in libraries
        ]
    texts = [one for one in seen.found if one.label.removesuffix("_lib").endswith("_tii")]
    if "textInImage" in asked and texts:
        extra["TextInImage"] = {
            "OcrResult": [
                {"Text": one.description, "Location": {"X": 10, "Y": 10 + 40 * line, "W": 200, "H": 30}}
                for line, one in enumerate(texts)
            ],
            "RiskWord": [one.description for one in texts if one.library is None],
            "CustomText": [
                {"LibId": "simulator-words", "LibName": one.library, "KeyWords": one.description}
                for one in texts
                if one.library is not None
            ],
        }
    return extra


OPERATION = Operation(
    name="ImageModeration",
    where="form",
    parameters=("Service", "ServiceParameters"),
    handler=_moderate,
    quota="image",
    over_quota=403,
    message_field="Msg",
    messages=_MESSAGES,
)
