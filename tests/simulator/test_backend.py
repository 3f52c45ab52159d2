"""What the service lets in, what it counts, and what its faults do, without a socket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.simulator.backend import Request
from consumer.simulator.faults import Fault
from consumer.simulator.operations import OPERATIONS
from tests.simulator.plain import Bench, form


BODY = form("ugc_moderation_byllm", content="good morning")
FORM = "application/x-www-form-urlencoded"


def refused(bench: Bench, request: Request) -> tuple[int, str]:
    """The HTTP status and the gateway's code."""
    reply = bench.send(request)
    answer = json.loads(reply.body)
    assert {"RequestId", "HostId", "Code", "Message", "Recommend"} == answer.keys()
    return reply.status, answer["Code"]


# The gateway


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"secret": "wrong"}, (400, "SignatureDoesNotMatch")),
        ({"key": "other"}, (404, "InvalidAccessKeyId.NotFound")),
        ({"x_acs_version": "2018-05-09"}, (400, "InvalidVersion")),
        ({"x_acs_date": "2026-01-02 03:04:05"}, (400, "InvalidTimeStamp.Format")),
        ({"x_acs_date": "2026-01-02T02:49:04Z"}, (400, "InvalidTimeStamp.Expired")),
        ({"x_acs_date": "2026-01-02T03:19:06Z"}, (400, "InvalidTimeStamp.Expired")),
        ({"x_acs_content_sha256": "0" * 64}, (400, "SignatureDoesNotMatch")),
        ({"unsigned": ("host",)}, (400, "IncompleteSignature")),
        ({"unsigned": ("content-type",)}, (400, "IncompleteSignature")),
        ({"unsigned": ("x-acs-signature-nonce",)}, (400, "IncompleteSignature")),
        ({"x_acs_anything": "sent", "unsigned": ("x-acs-anything",)}, (400, "IncompleteSignature")),
        ({"x_acs_security_token": "surprise"}, (400, "InvalidSecurityToken.Malformed")),
    ],
)
def test_a_badly_signed_call_is_turned_away(how: dict[str, Any], code: tuple[int, str]) -> None:
    """Each fault of a signature has its own word, costs nothing and counts against no quota."""
    bench = Bench()
    assert refused(bench, bench.request("TextModerationPlus", BODY, **how)) == code
    assert bench.backend.ledger.to_dict()["billed_calls"] == 0
    assert bench.backend.stats.arrived == {}


@pytest.mark.parametrize("header", ["authorization", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"])
def test_a_missing_header_is_an_incomplete_signature(header: str) -> None:
    """Without one of the headers that make a signature there is none."""
    bench = Bench()
    request = bench.request("TextModerationPlus", BODY)
    headers = {name: value for name, value in request.headers.items() if name != header}
    assert refused(bench, replace(request, headers=headers)) == (400, "IncompleteSignature")


def test_a_tampered_body_is_turned_away() -> None:
    """A body that is not the one signed is refused."""
    bench = Bench()
    request = bench.request("TextModerationPlus", BODY)
    assert refused(bench, replace(request, body=BODY + b"!")) == (400, "SignatureDoesNotMatch")


def test_a_nonce_is_good_once() -> None:
    """The same request a second time is refused; a badly signed one does not spend the nonce."""
    bench = Bench()
    request = bench.request("TextModerationPlus", BODY)
    assert refused(bench, replace(request, body=b"")) == (400, "SignatureDoesNotMatch")
    assert bench.send(request).status == 200
    assert refused(bench, request) == (400, "SignatureNonceUsed")


def test_temporary_credentials_need_their_token() -> None:
    """With a token configured, every call must carry it and the AccessKey's id."""
    bench = Bench(security_token="token")
    assert refused(bench, bench.request("TextModerationPlus", BODY)) == (400, "MissingSecurityToken")
    sts = {"x_acs_security_token": "token", "x_acs_accesskey_id": "testid"}
    assert bench.send(bench.request("TextModerationPlus", BODY, **sts)).status == 200
    sts["x_acs_security_token"] = "old"
    assert refused(bench, bench.request("TextModerationPlus", BODY, **sts)) == (400, "InvalidSecurityToken.Malformed")


def test_without_verification_only_the_signature_is_let_pass() -> None:
    """`verify=False` takes unsigned calls; action and parameters are checked all the same."""
    bench = Bench(verify=False)
    headers = {"x-acs-action": "TextModerationPlus", "x-acs-version": "2022-03-02", "content-type": FORM}
    assert bench.send(Request("POST", "/", headers, BODY)).status == 200
    assert refused(bench, Request("POST", "/", {**headers, "x-acs-action": "X"}, BODY))[1] == "InvalidAction.NotFound"
    assert refused(bench, Request("POST", "/", headers, b""))[1] == "MissingService"


def test_method_path_and_action_must_be_known() -> None:
    """Only POST to / with a known action is an API."""
    bench = Bench()
    request = bench.request("TextModerationPlus", BODY)
    assert refused(bench, replace(request, method="GET")) == (405, "UnsupportedHTTPMethod")
    assert refused(bench, replace(request, target="/green")) == (404, "InvalidApi.NotFound")
    assert refused(bench, bench.request("TextModerationMinus", BODY)) == (404, "InvalidAction.NotFound")


def test_parameters_in_the_wrong_place_are_not_seen() -> None:
    """Text calls take their parameters from a form body: in the query, or in JSON, they are missing."""
    bench = Bench(verify=False)
    headers = {"x-acs-action": "TextModerationPlus", "x-acs-version": "2022-03-02"}
    assert refused(bench, Request("POST", f"/?{BODY.decode()}", headers, b"")) == (400, "MissingService")
    as_json = {**headers, "content-type": "application/json"}
    assert refused(bench, Request("POST", "/", as_json, BODY)) == (400, "MissingService")
    as_form = {**headers, "content-type": FORM}
    assert refused(bench, Request("POST", "/", as_form, b"Service=x")) == (400, "MissingServiceParameters")


def test_parameters_of_a_query_operation_are_not_seen_in_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation whose parameters stand in the query takes them from there, however encoded, and not from a form."""
    operation = replace(OPERATIONS["TextModerationPlus"], name="Queried", where="query")
    monkeypatch.setitem(OPERATIONS, "Queried", operation)
    bench = Bench(verify=False)
    headers = {"x-acs-action": "Queried", "x-acs-version": "2022-03-02", "content-type": FORM}
    assert refused(bench, Request("POST", "/", headers, BODY)) == (400, "MissingService")
    target = "/?Service=ugc_moderation_byllm&ServiceParameters=%7B%22content%22:+%22buy%20cocaine%22%7D"
    answer = json.loads(bench.send(Request("POST", target, headers, b"")).body)
    assert answer["Data"]["RiskLevel"] == "high"


# The quota


@pytest.mark.parametrize(
    ("action", "service", "limit", "code"),
    [("TextModerationPlus", "ugc_moderation_byllm", 50, 588), ("ImageModeration", "baselineCheck_global", 100, 403)],
)
def test_the_call_after_the_last_of_a_second_is_refused(action: str, service: str, limit: int, code: int) -> None:
    """The 51st text call and the 101st image call of a second are refused free of charge; a second later it goes on."""
    bench = Bench()
    parameters = {"content": "good morning"} if limit == 50 else {"imageUrl": "https://cdn.example.com/1.jpg"}

    def ask() -> int:
        bench.clock.seconds += 0.001
        answered: int = bench.ask(action, service, **parameters)["Code"]
        return answered

    assert [ask() for _ in range(limit + 2)] == [200] * limit + [code] * 2
    assert bench.backend.ledger.billed_calls == limit
    assert bench.backend.ledger.free == {service: {str(code): 2}}
    bench.clock.seconds = 1.0005
    assert ask() == 200
    assert ask() == 200
    quota = bench.backend.stats.to_dict()["quota"]["text" if limit == 50 else "image"]
    assert (quota["refused"], quota["most_admitted_in_a_second"]) == (2, limit)
    assert quota["most_arrived_in_a_second"] == limit + 2


def test_text_and_images_have_quotas_of_their_own() -> None:
    """A spent text quota does not touch images."""
    bench = Bench(text_per_second=1)
    assert [bench.text("a")["Code"], bench.text("a")["Code"]] == [200, 588]
    assert bench.image("https://cdn.example.com/1.jpg")["Code"] == 200


def test_no_quota_refuses_nothing() -> None:
    """With the quota off, any number of calls is taken at once."""
    bench = Bench(text_per_second=None)
    assert {bench.text("a")["Code"] for _ in range(200)} == {200}


# Faults


@pytest.mark.parametrize(("code", "text"), [("581", "TIMEOUT"), ("408", "PERMISSION_DENY"), ("999", "simulated")])
def test_a_business_code_on_demand(code: str, text: str) -> None:
    """A fault answers with a business code until told otherwise, and bills nothing."""
    bench = Bench(faults=(Fault("code", code),))
    for _ in range(3):
        answer = bench.text("good morning")
        assert (answer["Code"], answer["Message"]) == (int(code), text)
    bench.backend.faults.clear()
    assert bench.text("good morning")["Code"] == 200
    assert bench.backend.ledger.to_dict()["free"] == {"ugc_moderation_byllm": {code: 3}}
    assert bench.backend.ledger.billed_calls == 1


def test_a_gateway_code_on_demand() -> None:
    """A fault that is a word comes as the gateway's error, with its pause in milliseconds when asked for."""
    bench = Bench(faults=(Fault.parse("code=Throttling.User,retry_after_ms=1500"),))
    reply = bench.send(bench.request("TextModerationPlus", BODY))
    assert (reply.status, reply.headers) == (429, {"x-acs-retry-after": "1500"})
    assert json.loads(reply.body)["Code"] == "Throttling.User"
    assert bench.backend.stats.count("Throttling.User") == 1


@pytest.mark.parametrize(
    ("kind", "status", "way", "billed"),
    [
        ("http_500", 500, "whole", 0),
        ("http_502", 502, "whole", 0),
        ("reset", 200, "reset", 0),
        ("hang", 200, "hang", 0),
        ("reset_billed", 200, "reset", 1),
        ("garbage", 200, "whole", 1),
        ("truncated", 200, "whole", 1),
    ],
)
def test_a_fault_that_leaves_no_answer(kind: str, status: int, way: str, billed: int) -> None:
    """Each of these leaves the client without JSON; the ledger knows what was billed all the same."""
    bench = Bench(faults=(Fault(kind, count=1),))
    reply = bench.send(bench.request("TextModerationPlus", BODY))
    assert (reply.status, reply.way) == (status, way)
    with pytest.raises(ValueError):
        json.loads(reply.body)
    assert (bench.backend.ledger.billed_calls, bench.backend.ledger.lost) == (billed, billed)
    assert bench.backend.stats.codes == {"TextModerationPlus": {kind: 1}}
    assert bench.text("good morning")["Code"] == 200


@pytest.mark.parametrize(("kind", "level"), [("no_risk_level", None), ("odd_risk_level", "severe")])
@pytest.mark.parametrize("dialect", ["sdk", "seed"])
def test_an_answer_without_a_usable_level(kind: str, level: str | None, dialect: str) -> None:
    """The code is 200 and billed, the risk level missing or unheard of, in both dialects."""
    bench = Bench(faults=(Fault(kind),), dialect=dialect)
    answer = bench.text("buy cocaine")
    assert int(answer["Code"]) == 200
    assert answer["Data"].get("RiskLevel") == level
    assert answer["Data"]["Result"][0]["Label"] == "contraband_drug"
    assert (bench.backend.ledger.billed_calls, bench.backend.ledger.lost) == (1, 1)


def test_a_fault_on_a_bad_call_bills_nothing() -> None:
    """A call with bad parameters is not billed, whatever fault befalls its answer."""
    bench = Bench(faults=(Fault("reset_billed"),))
    bench.send(bench.request("TextModerationPlus", form("ugc_moderation_byllm", content="")))
    assert (bench.backend.ledger.billed_calls, bench.backend.ledger.lost) == (0, 0)


def test_the_quota_goes_before_the_faults() -> None:
    """A call over the quota is refused as such and uses up no fault; a call with a fault counts against the quota."""
    bench = Bench(text_per_second=1, faults=(Fault("code", "500", count=2),))
    assert [bench.text("a")["Code"] for _ in range(3)] == [500, 588, 588]
    bench.clock.seconds += 1
    assert bench.text("a")["Code"] == 500


# The books


ANSWERS = st.sampled_from(
    [
        ("text", "good morning"),
        ("text", "buy cocaine"),
        ("text", ""),
        ("image", "https://cdn.example.com/1.jpg"),
        ("image", "https://cdn.example.com/404/1.jpg"),
    ]
)
KINDS = st.sampled_from(["code=500", "garbage", "reset_billed", "no_risk_level", "slow"])


@given(st.lists(ANSWERS, max_size=30), st.lists(KINDS, max_size=3), st.integers(0, 100))
@settings(max_examples=30)
def test_the_ledger_is_what_was_answered(calls: list[tuple[str, str]], kinds: list[str], seed: int) -> None:
    """Usable answers with code 200 and those lost after the bill are the billed calls; every request is counted."""
    faults = tuple(Fault.parse(f"{kind},share=0.3") for kind in kinds)
    bench = Bench(text_per_second=5, image_per_second=5, faults=faults, seed=seed, keep_calls=True)
    usable: list[str] = []
    for kind, content in calls:
        body = (
            form("ugc_moderation_byllm", content=content)
            if kind == "text"
            else form("baselineCheck_global", imageUrl=content)
        )
        reply = bench.send(bench.request("TextModerationPlus" if kind == "text" else "ImageModeration", body))
        try:
            answer = json.loads(reply.body)
        except ValueError:
            continue
        if answer["Code"] == 200 and "RiskLevel" in answer["Data"]:
            usable.append(answer["RequestId"])
    ledger = bench.backend.ledger
    assert ledger.billed_calls == len(ledger.calls) == len(usable) + ledger.lost
    assert set(usable) <= {call.request_id for call in ledger.calls}
    assert bench.backend.stats.requests == len(calls)
    assert sum(codes.total() for codes in ledger.free.values()) + ledger.billed_calls == len(calls)


def test_a_reset_puts_everything_back() -> None:
    """After a reset ledger, counters, quota and nonces are empty, and the faults those of the settings."""
    bench = Bench(text_per_second=1, faults=(Fault("code", "500", count=1),))
    request = bench.request("TextModerationPlus", BODY)
    bench.send(request)
    bench.backend.faults.add("hang")
    bench.backend.reset()
    assert json.loads(bench.send(request).body)["Code"] == 500
    assert bench.backend.faults.now == (Fault("code", "500", count=1),)
    assert bench.backend.stats.requests == 1
    assert bench.backend.ledger.to_dict()["free"] == {"ugc_moderation_byllm": {"500": 1}}
