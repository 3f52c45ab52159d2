"""ImageModeration: the synchronous image services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.simulator import services
from consumer.simulator.ledger import Bill
from consumer.simulator.operations.image_extra import INFO_TYPES, extra_of
from consumer.simulator.operations.operation import Answer, Asked, Operation
from consumer.simulator.operations.parameters import data_id_fault, info_types, service_parameters
from consumer.simulator.operations.picture import picture_fault, see


if TYPE_CHECKING:
    from consumer.simulator import truth


__all__ = ["OPERATION"]


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


def _moderate(call: Asked) -> Answer:
    name = call.parameters["Service"]
    if not name:
        return Answer(400, "Service is empty")
    service = services.find("ImageModeration", name)
    if service is None:
        return Answer(401, f"Service {name!r} is not a service of ImageModeration")
    if not call.parameters["ServiceParameters"]:
        return Answer(400, "ServiceParameters is empty")
    asked = service_parameters(call.parameters["ServiceParameters"])
    if asked is None:
        return Answer(401, "ServiceParameters is not a JSON object")
    wrong = picture_fault(asked) or _referer_fault(asked) or data_id_fault(asked)
    if wrong is not None:
        return Answer(*wrong)
    extras = info_types(asked, INFO_TYPES)
    if extras is None:
        return Answer(401, f"infoType {asked['infoType']!r} is unknown")

    seen = see(asked, service.labels, call.account.objects)
    if seen.code != 200:
        return Answer(seen.code, _MESSAGES[seen.code])
    data: dict[str, Any] = {"RiskLevel": seen.risk_level, "Result": [_result(one) for one in seen.found]}
    data_id = asked.get("dataId")
    if data_id is not None:
        data["DataId"] = data_id
    extra = extra_of(seen, extras, service, asked.get("imageUrl") or asked["ossObjectName"])
    if extra:
        data["Ext"] = extra
    return Answer(200, "OK", data, (Bill(service.moderation_types[0], 1),), data_id)


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
