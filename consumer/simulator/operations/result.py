"""DescribeMultimodalModerationResult: 280 while a task is in progress, then its result, for a day.

The multimodal page does not say what an unknown or forgotten task is. In the dialect `sdk` it is code 409, as on the
pages of the sibling operations (for a query that comes too early, too); in the others 401, the nearest the page has.
"""

from __future__ import annotations

from consumer.simulator.operations.multimodal import MESSAGES
from consumer.simulator.operations.operation import Answer, Asked, Operation


__all__ = ["OPERATION"]


def _describe(call: Asked) -> Answer:
    account, task_id = call.account, call.parameters["ReqId"]
    if not task_id:
        return Answer(400, "ReqId is empty")
    now = account.clock.monotonic()
    task = account.tasks.find(task_id, now)
    if task is None or now - task.submitted_at < account.settings.too_early_seconds:
        code = 409 if account.settings.dialect == "sdk" else 401
        return Answer(code, MESSAGES[code])
    if not account.tasks.is_ready(task, now):
        return Answer(280, MESSAGES[280])
    return Answer(200, MESSAGES[200], task.data)


OPERATION = Operation(
    name="DescribeMultimodalModerationResult",
    where="query",
    parameters=("ReqId",),
    handler=_describe,
    quota="multimodal_query",
    over_quota=403,
    message_field="Msg",
    messages=MESSAGES,
)
