"""TextModerationPlus: the text services, by large models and by rules.

Characters are code points: the pages do not say how they count. The text page has one code for every bad parameter,
400; what is wrong stands in the message.
"""

from __future__ import annotations

from typing import Any

from consumer.simulator import services, truth
from consumer.simulator.ledger import Bill
from consumer.simulator.operations.operation import Answer, Asked, Operation
from consumer.simulator.operations.parameters import data_id_fault, info_types, service_parameters
from consumer.simulator.operations.translation import language_of, translate


__all__ = ["OPERATION"]


_INFO_TYPES = frozenset({"llmContent"})
_CHARACTERS_A_UNIT = 1000


def _moderate(call: Asked) -> Answer:
    service = services.find("TextModerationPlus", call.parameters["Service"])
    if service is None:
        return Answer(400, f"Service {call.parameters['Service']!r} is not a service of TextModerationPlus")
    asked = service_parameters(call.parameters["ServiceParameters"])
    if asked is None:
        return Answer(400, "ServiceParameters is not a JSON object")
    content = asked.get("content")
    if not isinstance(content, str) or not content:
        return Answer(400, "content is empty")
    if len(content) > service.max_characters:
        return Answer(400, f"content is longer than {service.max_characters} characters")
    wrong = data_id_fault(asked)
    if wrong is not None:
        return Answer(400, wrong[1])
    extras = info_types(asked, _INFO_TYPES)
    if extras is None:
        return Answer(400, f"infoType {asked['infoType']!r} is unknown")
    if not isinstance(asked.get("accountId") or "", str):
        return Answer(400, "accountId is not a string")

    found = truth.text(content, service.labels)
    data: dict[str, Any] = {"RiskLevel": found.risk_level, "Result": [_result(one) for one in found.found]}
    if asked.get("dataId") is not None:
        data["DataId"] = asked["dataId"]
    if asked.get("accountId") is not None:
        data["AccountId"] = asked["accountId"]
    if "llmContent" in extras:
        data["Ext"] = {"LlmContent": {"OutputText": "; ".join(one.description for one in found.found)}}
    if call.account.settings.translation and service.labels == "text_international":
        data["DetectedLanguage"] = language_of(content)
        data["TranslatedContent"] = translate(content)
    (moderation_type,) = service.moderation_types
    per_thousand = moderation_type == "text_llm_advanced"
    units = -(-len(content) // _CHARACTERS_A_UNIT) if per_thousand else 1
    return Answer(200, "OK", data, (Bill(moderation_type, units),), asked.get("dataId"))


def _result(one: truth.Found) -> dict[str, Any]:
    result: dict[str, Any] = {"Label": one.label, "Description": one.description}
    if one.confidence is not None:
        result["Confidence"] = one.confidence
    if one.library is not None:
        result["CustomizedHit"] = [{"LibName": one.library, "KeyWords": ",".join(one.words)}]
    elif one.spots:
        result["RiskWords"] = ",".join(one.words)
        result["RiskPositions"] = [
            {"RiskWord": spot.word, "StartPos": spot.start, "EndPos": spot.end} for spot in one.spots
        ]
    return result


OPERATION = Operation(
    name="TextModerationPlus",
    where="form",
    parameters=("Service", "ServiceParameters"),
    handler=_moderate,
    quota="text",
    over_quota=588,
    message_field="Message",
    messages={
        200: "OK",
        400: "BAD_REQUEST",
        408: "PERMISSION_DENY",
        500: "GENERAL_ERROR",
        581: "TIMEOUT",
        588: "EXCEED_QUOTA",
    },
)
