"""The spellings of an answer: as the official SDK reads it, or as the vendor's pages write it.

The pages contradict each other, themselves and the SDK. The dialect `seed` uses, on every operation, the page's
spelling wherever one differs from the SDK's, so that a reader who copes with both copes with the service:

    sdk                          seed
    Msg (image), Message (text)  Message
    Code: 200                    Code: "200"
    RiskWords                    Riskwords
    KeyWords                     Keywords
    StartPos <= EndPos           StartPos > EndPos, as in the text page's first example
    RiskLevel of each label      none, as in the image page's examples
    Data.ReqId of a submission   Data.TaskId, as in the multimodal page's example
    Data.ReqId of a result       none
    Results (multimodal)         Result
    no Usage                     Usage, the tokens of a multimodal task

The dialect `table` is `seed` but for the multimodal operations, which it spells as the page's tables do instead of its
examples: a submission has `Data.ReqId` with `DataId` beside `Data`, and `MainData` of a result is an array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from consumer.simulator.settings import Dialect


__all__ = ["spell"]


_RENAMED = {"Msg": "Message", "RiskWords": "Riskwords", "KeyWords": "Keywords", "Results": "Result"}


def spell(body: dict[str, Any], operation: str, dialect: Dialect) -> dict[str, Any]:
    """An answer of a service, written as the SDK reads it, in the wanted dialect; it may be changed in doing so."""
    data = body.get("Data")
    if dialect == "sdk":
        if data is not None:
            data.pop("Usage", None)
        return body
    spelled: dict[str, Any] = _seed(body)
    spelled["Code"] = str(spelled["Code"])
    if data is not None and operation == "MultimodalAsyncModeration":
        _submission(spelled, dialect)
    if data is not None and operation == "DescribeMultimodalModerationResult":
        del spelled["Data"]["ReqId"]
        if dialect == "table":
            spelled["Data"]["MainData"] = [spelled["Data"]["MainData"]]
    return spelled


def _submission(spelled: dict[str, Any], dialect: Dialect) -> None:
    data = spelled["Data"]
    if dialect == "seed":
        data["TaskId"] = data.pop("ReqId")
    elif "DataId" in data:
        spelled["DataId"] = data.pop("DataId")


def _seed(value: Any) -> Any:
    if isinstance(value, list):
        return [_seed(item) for item in value]
    if not isinstance(value, dict):
        return value
    spelled = {_RENAMED.get(key, key): _seed(item) for key, item in value.items()}
    if "StartPos" in spelled:
        spelled["StartPos"], spelled["EndPos"] = spelled["EndPos"], spelled["StartPos"]
    if "Label" in spelled:
        spelled.pop("RiskLevel", None)
    return spelled
