"""The codes table → `docs/codes.md`: `python -m consumer.moderation.codes_page > docs/codes.md` writes it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from consumer.moderation.protocol.codes import (
    BUSINESS,
    CONSEQUENCES,
    GATEWAY,
    NO_ANSWER,
    NOT_SENT,
    UNKNOWN,
    UNREADABLE,
)


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.moderation.protocol.codes import Code, Page


__all__ = ["page"]


_OPERATIONS: dict[Page, str] = {
    "text": "text",
    "image": "image",
    "multimodal": "multimodal",
    "siblings": "other operations",
    "gateway": "all",
    "ours": "all",
}
_HEAD = (
    "code",
    "on the pages of",
    "meaning",
    "outcome",
    "the event",
    "tried again",
    "quota",
    "billed",
    "readiness",
    "what to do",
)
_BILLED = {"yes": "yes", "no": "no", "unknown": "perhaps: counted in `bill_unknown_calls`"}
_INTRODUCTION = """\
# What each code means

Written from the table in `consumer/moderation/protocol/codes.py`; a test fails where the two differ. The metric
`calls` counts answers by these codes.

There are two layers. The **service** answers with a number, nearly always within HTTP 200; the **gateway** before it
answers with a word. HTTP's own status decides nothing: 403, 404 and 408 in a body mean something else than in HTTP.
Only where HTTP says that a request failed is a code 200 not believed.

**Nothing is lost for any of these**: an event ends as a verdict or as a dead letter. A *hold* means that calls wait,
one of them is tried every `moderation.hold_probe_seconds`, and readiness, the metric `holding` and the log say why.

Of an outage nothing comes but waiting. A try that fails counts against its event fully where nine of ten other calls of
the service are answered, less the more of them fail, and not at all where none is answered. Where most of a service's
calls fail it is held, too (`failing`): see [the quota and the breaker](quota.md).
"""
_SERVICE = """\
## Codes of the service

A number means the same in all operations; to a submission 200 means that there is a task. It is billed then, with 200
or 280; asking for its result is free, whatever the answer. Where a result is asked for, 400 to 402 and 404 mean that
the service does not know the task, as 409 does. `DescribeUploadToken` has no codes of its own; it is asked again until
it gives a token, since nothing about it depends on an event.

With `moderation.on_denied: review`, 408 holds nothing: the events of that service go to `review` at once, unjudged and
with the reason, until the account may use it again. Images that have to be uploaded wait even then.
"""
_GATEWAY = """\
## Codes of the gateway

The first row that fits is taken; `*` stands for anything. No such answer is billed. The HTTP status beside them differs
from page to page. A hold is one of the whole account.
"""
_OURS = """\
## No code, or none that anybody describes

"""
_UPLOADS = """\
## Uploads

A local image is put into the service's bucket by HTTP; `calls` counts these as the operation `PutObject`, by HTTP status.

| status | meaning | what happens |
|---|---|---|
| 2xx | uploaded | the image is judged |
| 403 | the token is no longer good | a new token, then tried again |
| any other, or no answer | the upload failed | tried again with growing pauses; while others succeed, `moderation.retry.attempts` failures make the event a dead letter |
"""  # noqa: E501  # a row of a table is one line


def page() -> str:
    """The page, as it stands in the documentation."""
    return "\n".join(
        (
            _INTRODUCTION,
            _SERVICE,
            _table(BUSINESS.values()),
            _GATEWAY,
            _table(GATEWAY),
            _OURS + _table((UNKNOWN, UNREADABLE, NOT_SENT, NO_ANSWER)),
            _UPLOADS,
        )
    )


def _table(rows: Iterable[Code]) -> str:
    lines = [_HEAD, ("---",) * len(_HEAD), *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(row: Code) -> tuple[str, ...]:
    means = CONSEQUENCES[row.outcome]
    readiness = means.readiness
    if row.holds != "nothing":
        whose = "the service" if row.holds == "service" else "the account"
        readiness = f"{readiness} ({row.reason}; {whose})"
    return (
        f"`{row.code}`",
        ", ".join(_OPERATIONS[one] for one in row.pages),
        row.meaning,
        row.outcome.replace("_", " "),
        means.event,
        means.retry,
        means.quota,
        _BILLED[row.billed],
        readiness,
        row.remedy,
    )


if __name__ == "__main__":
    sys.stdout.write(page())
