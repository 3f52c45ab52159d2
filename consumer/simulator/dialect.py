"""The spellings of an answer: as the official SDK reads it, or as the vendor's pages write it.

The pages contradict each other and the SDK. The dialect `seed` uses, on every operation, the page's spelling wherever
one differs from the SDK's, so that a reader who copes with both copes with the service:

    sdk                          seed
    Msg (image), Message (text)  Message
    Code: 200                    Code: "200"
    RiskWords                    Riskwords
    KeyWords                     Keywords
    StartPos <= EndPos           StartPos > EndPos, as in the text page's first example
    RiskLevel of each label      none, as in the image page's examples
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from consumer.simulator.settings import Dialect


__all__ = ["spell"]


_RENAMED = {"Msg": "Message", "RiskWords": "Riskwords", "KeyWords": "Keywords"}


def spell(body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """An answer of a service, written as the SDK reads it, in the wanted dialect."""
    if dialect == "sdk":
        return body
    spelled: dict[str, Any] = _seed(body)
    spelled["Code"] = str(spelled["Code"])
    return spelled


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
