"""The codes table says what each answer means; a test for each row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from consumer.moderation.codes_page import page
from consumer.moderation.protocol.codes import (
    BUSINESS,
    CONSEQUENCES,
    GATEWAY,
    NO_ANSWER,
    NOT_SENT,
    UNKNOWN,
    UNREADABLE,
    Outcome,
    look_up,
)
from consumer.moderation.protocol.responses import read


# code, outcome, billed, reason of a hold, what is held
EXPECTED_BUSINESS = [
    (200, "judged", "yes", None, "nothing"),
    (280, "pending", "yes", None, "nothing"),
    (400, "refused", "no", None, "nothing"),
    (401, "refused", "no", None, "nothing"),
    (402, "refused", "no", None, "nothing"),
    (403, "throttled", "no", None, "nothing"),
    (404, "retry_few", "no", None, "nothing"),
    (405, "retry_few", "no", None, "nothing"),
    (406, "refused", "no", None, "nothing"),
    (407, "refused", "no", None, "nothing"),
    (408, "hold", "no", "permission", "service"),
    (409, "lost", "no", None, "nothing"),
    (500, "retry", "no", None, "nothing"),
    (581, "retry", "no", None, "nothing"),
    (588, "throttled", "no", None, "nothing"),
]
# what the gateway says, row, outcome, reason of a hold (which is always the account's)
EXPECTED_GATEWAY = [
    ("Throttling", "Throttling*", "throttled", None),
    ("Throttling.User", "Throttling*", "throttled", None),
    ("Throttling.Api", "Throttling*", "throttled", None),
    ("ServiceUnavailable", "ServiceUnavailable*", "retry", None),
    ("InternalError", "InternalError*", "retry", None),
    ("SignatureNonceUsed", "SignatureNonceUsed", "retry", None),
    ("InvalidTimeStamp.Expired", "InvalidTimeStamp*", "clock", "clock"),
    ("InvalidTimeStamp.Format", "InvalidTimeStamp*", "clock", "clock"),
    ("IllegalTimestamp", "IllegalTimestamp*", "clock", "clock"),
    ("SignatureDoesNotMatch", "SignatureDoesNotMatch*", "hold", "signature"),
    ("IncompleteSignature", "IncompleteSignature*", "hold", "signature"),
    ("InvalidSignatureMethod", "InvalidSignature*", "hold", "signature"),
    ("MissingSignatureNonce", "MissingSignature*", "hold", "signature"),
    ("MissingAuthorization", "MissingAuthorization*", "hold", "signature"),
    ("InvalidAccessKeyId.NotFound", "InvalidAccessKeyId*", "reload_credentials", "credentials"),
    ("InvalidAccessKeyId.Inactive", "InvalidAccessKeyId*", "reload_credentials", "credentials"),
    ("MissingAccessKeyId", "MissingAccessKeyId*", "reload_credentials", "credentials"),
    ("InvalidSecurityToken.Expired", "InvalidSecurityToken*", "reload_credentials", "credentials"),
    ("MissingSecurityToken", "MissingSecurityToken*", "reload_credentials", "credentials"),
    ("Forbidden", "Forbidden*", "hold", "permission"),
    ("Forbidden.RAM", "Forbidden*", "hold", "permission"),
    ("NoPermission", "NoPermission*", "hold", "permission"),
    ("InvalidAction.NotFound", "InvalidAction*", "hold", "configuration"),
    ("InvalidApi.NotFound", "InvalidApi*", "hold", "configuration"),
    ("InvalidProduct.NotFound", "InvalidProduct*", "hold", "configuration"),
    ("InvalidVersion", "InvalidVersion*", "hold", "configuration"),
    ("InvalidProtocol.NeedSsl", "InvalidProtocol*", "hold", "configuration"),
    ("UnsupportedHTTPMethod", "UnsupportedHTTPMethod*", "hold", "configuration"),
    ("MissingServiceParameters", "Missing*", "refused", None),
    ("InvalidServiceParameters", "Invalid*", "refused", None),
]


@pytest.mark.parametrize(("code", "outcome", "billed", "reason", "holds"), EXPECTED_BUSINESS)
def test_codes_of_the_service(code: int, outcome: str, billed: str, reason: str | None, holds: str) -> None:
    """Each number of the text and image pages has its consequence, whatever HTTP says beside it."""
    for status in (200,) if code == 200 else (200, 400, 500):
        row = look_up(read(f'{{"Code":{code}}}'.encode(), status))
        assert (row.code, row.outcome, row.billed, row.reason, row.holds) == (code, outcome, billed, reason, holds)


@pytest.mark.parametrize(("said", "name", "outcome", "reason"), EXPECTED_GATEWAY)
def test_codes_of_the_gateway(said: str, name: str, outcome: str, reason: str | None) -> None:
    """Each word of the gateway has its consequence, whatever HTTP says beside it, and is never billed."""
    for status in (400, 403, 404, 429, 500, 503):
        row = look_up(read(f'{{"Code":"{said}"}}'.encode(), status))
        assert (row.code, row.outcome, row.reason) == (name, outcome, reason)
        assert row.billed == "no"
        assert row.holds == ("nothing" if reason is None else "account")


def test_every_row_is_tested() -> None:
    """No row of the table is without its test."""
    assert {row[0] for row in EXPECTED_BUSINESS} == set(BUSINESS)
    assert {row[1] for row in EXPECTED_GATEWAY} == {row.code for row in GATEWAY}


def test_the_pages_codes_are_all_there() -> None:
    """The table says of each number which page has it, and these are the pages' own lists."""
    by_page = {
        name: {row.code for row in BUSINESS.values() if name in row.pages}
        for name in ("text", "image", "multimodal", "siblings")
    }
    assert by_page == {
        "text": {200, 400, 408, 500, 581, 588},
        "image": {200, *range(400, 409), 500},
        "multimodal": {200, 280, 400, 401, 402, 408, 500},
        "siblings": {403, 409},
    }


@pytest.mark.parametrize(
    ("body", "row"),
    [
        (b'{"Code":777}', UNKNOWN),
        (b'{"Code":"Teapot.Empty"}', UNKNOWN),
        (b"<html>", UNREADABLE),
    ],
)
def test_what_nobody_describes_is_tried_again(body: bytes, row: object) -> None:
    """An unknown code and an unreadable answer are tried again, and may have been billed."""
    found = look_up(read(body, 200))
    assert found is row
    assert (found.outcome, found.billed) == ("retry", "unknown")


def test_a_request_that_was_not_sent_is_not_billed() -> None:
    """Without a connection nothing can be billed; without an answer it can."""
    assert (NOT_SENT.billed, NO_ANSWER.billed) == ("no", "unknown")


def test_every_row_says_what_a_person_can_do() -> None:
    """Meaning and remedy are sentences."""
    for row in (*BUSINESS.values(), *GATEWAY, UNKNOWN, UNREADABLE, NOT_SENT, NO_ANSWER):
        assert row.meaning.endswith(".")
        assert row.remedy.endswith(".")


def test_every_other_number_is_unknown() -> None:
    """A number that no page has is tried again, may have been billed, and is never taken for a judgement."""
    for code in set(range(-1, 1000)) - set(BUSINESS):
        assert look_up(read(f'{{"Code":{code}}}'.encode(), 200)) is UNKNOWN


def test_a_denied_service_may_send_its_events_to_people() -> None:
    """As configured, 408 holds nothing and sends the event to review; all other codes stay as they are."""
    denied = read(b'{"Code":408}', 200)
    row = look_up(denied, "review")
    assert row == replace(look_up(denied), outcome="review", reason=None, holds="nothing")
    for code in (200, 403, 500, 999):
        answer = read(f'{{"Code":{code}}}'.encode(), 200)
        assert look_up(answer, "review") is look_up(answer)
    forbidden = read(b'{"Code":"Forbidden.RAM"}', 403)
    assert look_up(forbidden, "review").outcome == "hold"


def test_every_outcome_has_its_consequences() -> None:
    """For each outcome the table says what becomes of the event, the retry, the quota and readiness."""
    assert set(CONSEQUENCES) == set(get_args(Outcome))


def test_only_a_hold_can_make_the_consumer_unready() -> None:
    """A row that holds something says that it does in readiness, and no other row does."""
    for row in (*BUSINESS.values(), *GATEWAY, UNKNOWN, UNREADABLE, NOT_SENT, NO_ANSWER):
        assert (row.holds != "nothing") == CONSEQUENCES[row.outcome].readiness.startswith("holding")


def test_the_page_is_written_from_the_table() -> None:
    """`docs/codes.md` is up to date: `python -m consumer.moderation.codes_page > docs/codes.md` writes it anew."""
    written = (Path(__file__).parents[3] / "docs" / "codes.md").read_text(encoding="utf-8")
    assert written == page()
    for row in (*BUSINESS.values(), *GATEWAY, UNKNOWN, UNREADABLE, NOT_SENT, NO_ANSWER):
        assert f"| `{row.code}` |" in written
        assert row.remedy in written
