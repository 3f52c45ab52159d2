"""MultimodalAsyncModeration and DescribeMultimodalModerationResult answer as the multimodal page says."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from consumer.simulator import Fault, Latency
from consumer.simulator.backend import Request
from consumer.simulator.tasks import RETENTION_SECONDS
from tests.simulator.plain import Bench, query, signed


URL = "https://cdn.example.com"
AT_ONCE = Latency(0)


def image(name: str) -> dict[str, str]:
    """An image object with a URL."""
    return {"imageUrl": f"{URL}/{name}.jpg"}


def comment(content: str = "fine", **more: Any) -> dict[str, Any]:
    """A comment or a reply."""
    return {"content": content, **more}


def judged(dialect: str = "sdk", service: str = "post_text_image_detection", **parameters: Any) -> dict[str, Any]:
    """The result of a task that is ready at once."""
    bench = Bench(task_latency=AT_ONCE, dialect=dialect)
    submitted = bench.submit(service, **parameters)["Data"]
    return bench.result(submitted.get("ReqId") or submitted["TaskId"])


THREAD: dict[str, Any] = {
    "dataId": "m-1",
    "mainData": {
        "mainTitle": "a rigged election",
        "mainContent": "good morning",
        "mainImages": [image("cat"), image("violent_explosion")],
        "mainPostTime": "2025-06-18 20:20:20",
    },
    "commentDatas": [
        comment(images=[image("dog")], postTime="", commentDatas=[comment("you idiot"), comment(images=[])]),
        comment("buy cocaine", images=[image("contraband_drug")], commentDatas=[]),
        comment(),
    ],
}


# What a submission is answered


def test_a_submission_gets_a_task_id() -> None:
    """The answer has the id of a new task, and echoes dataId."""
    bench = Bench()
    first, second = bench.submit(**THREAD), bench.submit(mainData={"mainContent": "x"})
    assert (first["Code"], first["Msg"], first["Data"]["DataId"]) == (200, "OK", "m-1")
    assert second["Data"].keys() == {"ReqId"}
    assert first["Data"]["ReqId"] != second["Data"]["ReqId"]


def test_a_submission_in_the_dialect_of_the_pages_example() -> None:
    """`seed` has `Message` and `Data.TaskId`, as the page's example."""
    answer = Bench(dialect="seed").submit(**THREAD)
    assert (answer["Code"], answer["Message"]) == ("200", "OK")
    assert answer["Data"].keys() == {"TaskId", "DataId"}


def test_a_submission_in_the_dialect_of_the_pages_table() -> None:
    """`table` has `Data.ReqId`, and `DataId` beside `Data`, as the page's table."""
    answer = Bench(dialect="table").submit(**THREAD)
    assert answer["Data"].keys() == {"ReqId"}
    assert (answer["Message"], answer["DataId"]) == ("OK", "m-1")


def test_parameters_are_not_seen_in_the_body() -> None:
    """A submission takes its parameters from the query; in a form they are missing."""
    bench = Bench()
    body = urlencode({"Service": "post_text_image_detection", "ServiceParameters": "{}"}).encode()
    answer = json.loads(bench.send(bench.request("MultimodalAsyncModeration", body)).body)
    assert answer["Code"] == "MissingService"
    body = urlencode({"ReqId": "x"}).encode()
    answer = json.loads(bench.send(bench.request("DescribeMultimodalModerationResult", body)).body)
    assert answer["Code"] == "MissingReqId"
    reply = bench.reply("MultimodalAsyncModeration", Service="post_text_image_detection")
    assert json.loads(reply.body)["Code"] == "MissingServiceParameters"


def test_a_query_that_was_quoted_anew_still_verifies() -> None:
    """A target with decoded `:`, `,`, `/` and `+` for spaces has the signature of the canonical one."""
    bench = Bench()
    parameters = {"Service": "post_text_image_detection", "ServiceParameters": '{"mainData": {"mainContent": "a/b~*"}}'}
    headers = signed("MultimodalAsyncModeration", b"", now=bench.clock.now(), query=query(parameters))
    written = "%7B%22mainData%22:+%7B%22mainContent%22:+%22a/b~*%22%7D%7D"
    target = f"/?Service=post_text_image_detection&ServiceParameters={written}"
    answer = json.loads(bench.send(Request("POST", target, headers, b"")).body)
    assert answer["Code"] == 200


# What is let in


@pytest.mark.parametrize(
    "parameters",
    [
        {"mainData": {"mainContent": "x" * 5000}},
        {"mainData": {"mainTitle": "x" * 4999, "mainContent": "x"}},
        {"mainData": [{"mainContent": "x"}]},
        {"mainData": {"mainContent": "x", "mainImages": [image(str(n)) for n in range(30)]}},
        {"mainData": {"mainContent": "x", "mainImages": []}, "commentDatas": []},
        {"mainData": {"mainContent": "x"}, "commentDatas": [comment("x" * 1000) for _ in range(4)]},
        {"mainData": {"mainContent": "x"}, "commentDatas": [comment(images=[image(str(n)) for n in range(10)])]},
        {"mainData": {"mainContent": "x"}, "dataId": "x" * 128},
        {"mainData": {"mainContent": "x", "mainImages": [{"imageUrl": f"{URL}/{'x' * 2024}"}]}},
        {
            "mainData": {
                "mainContent": "x",
                "mainImages": [{"ossBucketName": "b", "ossObjectName": "o", "ossRegionId": "cn-beijing"}],
            }
        },
    ],
)
def test_what_the_page_allows_is_taken(parameters: dict[str, Any]) -> None:
    """Each limit of the page can be used to the full, and mainData may be an array of one."""
    assert Bench().submit(**parameters)["Code"] == 200


MAIN = {"mainContent": "x"}


@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        (400, {}),
        (400, {"mainData": {}}),
        (400, {"mainData": []}),
        (400, {"mainData": {"mainTitle": "x"}}),
        (400, {"mainData": {"mainContent": ""}}),
        (400, {"mainData": MAIN, "commentDatas": [{"images": [image("1")]}]}),
        (400, {"mainData": {**MAIN, "mainImages": [{}]}}),
        (400, {"mainData": {**MAIN, "mainImages": [{"ossBucketName": "b", "ossObjectName": "o"}]}}),
        (400, {"mainData": MAIN, "callback": "https://example.com"}),
        (401, {"mainData": "x"}),
        (401, {"mainData": [MAIN, MAIN]}),
        (401, {"mainData": {"mainContent": 7}}),
        (401, {"mainData": {**MAIN, "mainTitle": 7}}),
        (401, {"mainData": {**MAIN, "mainImages": ["https://example.com/1.jpg"]}}),
        (401, {"mainData": {**MAIN, "mainImages": [{"imageUrl": "ftp://example.com"}]}}),
        (401, {"mainData": {**MAIN, "mainImages": [{**image("1"), "ossObjectName": "o"}]}}),
        (401, {"mainData": {**MAIN, "mainPostTime": "yesterday"}}),
        (401, {"mainData": MAIN, "commentDatas": "x"}),
        (401, {"mainData": MAIN, "commentDatas": ["x"]}),
        (401, {"mainData": MAIN, "commentDatas": [comment(commentDatas=[comment(commentDatas=[comment()])])]}),
        (401, {"mainData": MAIN, "commentDatas": [comment()], "service": "profile_text_image_detection"}),
        (401, {"mainData": MAIN, "service": "baselineCheck_global"}),
        (401, {"mainData": MAIN, "dataId": "a b"}),
        (401, {"mainData": MAIN, "callback": "example.com", "seed": "s"}),
        (401, {"mainData": MAIN, "callback": "https://example.com", "seed": "a-b"}),
        (401, {"mainData": MAIN, "callback": "https://example.com", "seed": "s", "cryptType": "MD5"}),
        (402, {"mainData": {"mainContent": "x" * 5001}}),
        (402, {"mainData": {"mainTitle": "x" * 3000, "mainContent": "x" * 2000}, "commentDatas": [comment("x")]}),
        (402, {"mainData": {**MAIN, "mainImages": [image(str(n)) for n in range(31)]}}),
        (402, {"mainData": {**MAIN, "mainImages": [image(str(n)) for n in range(30)]},
               "commentDatas": [comment(images=[image("31")])]}),
        (402, {"mainData": MAIN, "commentDatas": [comment("x" * 1001)]}),
        (402, {"mainData": MAIN, "commentDatas": [comment(commentDatas=[comment("x" * 1001)])]}),
        (402, {"mainData": MAIN, "commentDatas": [comment(images=[image(str(n)) for n in range(11)])]}),
        (402, {"mainData": {**MAIN, "mainImages": [image("x" * 2048)]}}),
        (402, {"mainData": MAIN, "dataId": "x" * 129}),
        (402, {"mainData": MAIN, "callback": "https://example.com", "seed": "s" * 65}),
        (400, {"mainData": MAIN, "service": ""}),
    ],
)  # fmt: skip
def test_bad_parameters_have_the_pages_codes(code: int, parameters: dict[str, Any]) -> None:
    """Missing or empty is 400, invalid 401, too long or too many 402; no task is made and nothing billed."""
    bench = Bench()
    assert bench.submit(**parameters)["Code"] == code
    assert len(bench.backend.account.tasks) == 0
    assert bench.backend.ledger.billed_calls == 0


@pytest.mark.parametrize(("parameters", "code"), [("", 400), ("{", 401), ("[]", 401)])
def test_service_parameters_are_a_json_object(parameters: str, code: int) -> None:
    """Empty ServiceParameters are a 400, others that are no JSON object a 401."""
    reply = Bench().reply(
        "MultimodalAsyncModeration", Service="post_text_image_detection", ServiceParameters=parameters
    )
    assert json.loads(reply.body)["Code"] == code


# The result


def test_the_result_mirrors_the_submission() -> None:
    """Each post, comment and reply has its own labels in its own place, of its texts and images; the level is one."""
    answer = judged(**THREAD)
    assert (answer["Code"], answer["Msg"]) == (200, "OK")
    data = answer["Data"]
    assert (data["DataId"], data["RiskLevel"]) == ("m-1", "high")

    def labels(part: dict[str, Any]) -> list[str]:
        return [one["Label"] for one in part["Results"]]

    assert labels(data["MainData"]) == ["political_n", "violent_explosion"]
    first, second, third = data["CommentDatas"]
    assert labels(first) == ["nonLabel"]
    assert [labels(reply) for reply in first["CommentDatas"]] == [["inappropriate_profanity"], ["nonLabel"]]
    assert labels(second) == ["contraband_drug", "contraband_drug"]
    assert labels(third) == ["nonLabel"]
    assert all("CommentDatas" not in one for one in (second, third))


def test_a_clean_result_is_that_of_the_page() -> None:
    """Without a risk the level is none and each part has the label nonLabel, described in the page's words."""
    data = judged("seed", mainData={"mainContent": "good morning"}, commentDatas=[comment()])["Data"]
    clean = {"Result": [{"Label": "nonLabel", "Description": "No non-compliant content detected"}]}
    tokens = data.pop("Usage")
    assert data == {"RiskLevel": "none", "MainData": clean, "CommentDatas": [clean]}
    assert tokens["Total_tokens"] == tokens["Input_tokens"] + tokens["Output_tokens"] > 0


def test_a_profile_has_no_comments() -> None:
    """A nickname and an avatar are judged together, and the answer has MainData alone."""
    main = {"mainContent": "forbidden brand", "mainImages": [image("medium/pt_logo")]}
    data = judged(service="profile_text_image_detection", mainData=main)["Data"]
    assert data.keys() == {"ReqId", "RiskLevel", "MainData"}
    assert [one["Label"] for one in data["MainData"]["Results"]] == ["customized", "pt_logo"]


def test_results_in_the_three_dialects() -> None:
    """`Results` and `ReqId` are the SDK's, `Result` and `Usage` the page's, whose table makes MainData an array."""
    sdk, seed, table = (judged(dialect, **THREAD) for dialect in ("sdk", "seed", "table"))
    assert sdk["Data"].keys() == {"ReqId", "DataId", "RiskLevel", "MainData", "CommentDatas"}
    assert seed["Data"].keys() == {"DataId", "RiskLevel", "MainData", "CommentDatas", "Usage"}
    assert (seed["Code"], seed["Message"]) == ("200", "OK")
    assert seed["Data"]["MainData"] == {"Result": sdk["Data"]["MainData"]["Results"]}
    assert table["Data"]["MainData"] == [seed["Data"]["MainData"]]
    assert table["Data"]["CommentDatas"] == seed["Data"]["CommentDatas"]


def test_an_image_that_cannot_be_had_finds_nothing() -> None:
    """The page has no code for it: the rest of the call is judged and the whole of it billed."""
    main = {"mainContent": "good morning", "mainImages": [image("404/violent_gun"), image("low/violent_gun")]}
    data = judged(mainData=main)["Data"]
    assert (data["RiskLevel"], len(data["MainData"]["Results"])) == ("low", 1)


# When the result is there


def test_a_task_is_in_progress_until_its_time_has_come() -> None:
    """Queries are answered with 280 and no data, then with the result, as often as they are asked."""
    bench = Bench(task_latency=Latency(45_000))
    task_id = bench.submit(**THREAD)["Data"]["ReqId"]
    bench.clock.seconds = 44.9
    running = bench.result(task_id)
    assert (running["Code"], "Data" in running) == (280, False)
    bench.clock.seconds = 45
    assert [bench.result(task_id)["Code"] for _ in range(2)] == [200, 200]


def test_the_first_queries_can_be_told_to_wait() -> None:
    """With task_polls so many queries get 280, however late they come."""
    bench = Bench(task_latency=AT_ONCE, task_polls=2)
    task_id = bench.submit(**THREAD)["Data"]["ReqId"]
    assert [bench.result(task_id)["Code"] for _ in range(4)] == [280, 280, 200, 200]


@pytest.mark.parametrize(("dialect", "code"), [("sdk", 409), ("seed", "401"), ("table", "401")])
def test_a_task_that_is_not_there(dialect: str, code: Any) -> None:
    """An unknown id is 409 as in the sibling operations, or 401 in the page's own dialects; an empty one is 400."""
    bench = Bench(dialect=dialect)
    assert bench.result("task_1713942548822_1t4qI8")["Code"] == code
    assert str(bench.result("")["Code"]) == "400"


def test_results_are_forgotten_after_a_day() -> None:
    """A result can be had for 24 hours from its submission, and then is that of an unknown task."""
    bench = Bench()
    task_id = bench.submit(**THREAD)["Data"]["ReqId"]
    bench.clock.seconds = RETENTION_SECONDS - 1
    assert bench.result(task_id)["Code"] == 200
    bench.clock.seconds = RETENTION_SECONDS
    assert bench.result(task_id)["Code"] == 409
    bench.submit(**THREAD)
    assert len(bench.backend.account.tasks) == 1


def test_queries_that_come_too_early_can_be_refused() -> None:
    """With too_early_seconds a young task is as good as unknown."""
    bench = Bench(task_latency=AT_ONCE, too_early_seconds=30)
    task_id = bench.submit(**THREAD)["Data"]["ReqId"]
    bench.clock.seconds = 29
    assert bench.result(task_id)["Code"] == 409
    bench.clock.seconds = 30
    assert bench.result(task_id)["Code"] == 200


def test_a_mutating_fault_leaves_the_result_as_it_is() -> None:
    """An answer without a risk level is followed by one with it: the task's result itself is whole."""
    bench = Bench(task_latency=AT_ONCE)
    task_id = bench.submit(**THREAD)["Data"]["ReqId"]
    bench.backend.faults.add("no_risk_level,count=1")
    assert "RiskLevel" not in bench.result(task_id)["Data"]
    assert bench.result(task_id)["Data"]["RiskLevel"] == "high"


# Quotas and books


def test_submissions_and_queries_have_quotas_of_their_own() -> None:
    """Ten submissions and ten queries a second are taken, the next of each is a 403, free of charge."""
    bench = Bench(task_latency=AT_ONCE)
    answers = [bench.submit(**THREAD) for _ in range(11)]
    assert [answer["Code"] for answer in answers] == [200] * 10 + [403]
    task_id = answers[0]["Data"]["ReqId"]
    assert [bench.result(task_id)["Code"] for _ in range(11)] == [200] * 10 + [403]
    assert bench.backend.ledger.billed_calls == 10
    assert bench.backend.stats.admitted["multimodal_query"].most == 10


def test_how_often_and_how_soon_a_task_was_asked_for_is_known() -> None:
    """Each task tells its polls, the first one's time and the shortest pause; the statistics tell the extremes."""
    bench = Bench(task_latency=Latency(70_000))
    first = bench.submit(**THREAD)["Data"]["ReqId"]
    bench.clock.seconds = 5
    second = bench.submit(**THREAD)["Data"]["ReqId"]
    for at, task_id in [(31, first), (36, second), (61, first), (63, first), (91, first)]:
        bench.clock.seconds = at
        bench.result(task_id)
    tasks = bench.backend.account.tasks
    assert [(task.polls, task.first_poll_seconds) for task in tasks] == [(4, 31), (1, 31)]
    assert tasks[first].shortest_poll_interval_seconds == 2
    assert tasks[second].shortest_poll_interval_seconds is None
    assert tasks.to_dict() == {
        "submitted": 2,
        "kept": 2,
        "fetched": 1,
        "polls": 5,
        "most_polls": 4,
        "soonest_first_poll_seconds": 31,
        "shortest_poll_interval_seconds": 2,
    }


def test_a_poll_that_was_refused_counts_and_may_be_repeated_sooner() -> None:
    """A query over the quota or lost by a fault is counted, but the pause is measured from an answer."""
    bench = Bench(
        task_latency=Latency(70_000),
        faults=(Fault.parse("code=500,count=1,service=DescribeMultimodalModerationResult"),),
    )
    task_id = bench.submit(**THREAD)["Data"]["ReqId"]
    for at in (30, 31, 61):
        bench.clock.seconds = at
        bench.result(task_id)
    task = bench.backend.account.tasks[task_id]
    assert (task.polls, task.first_poll_seconds, task.shortest_poll_interval_seconds) == (3, 30, 30)


# Faults of tasks


def test_a_submission_answered_with_280_is_billed_and_has_its_task() -> None:
    """The page bills 200 and 280: a fault with code 280 is a task that was accepted so."""
    bench = Bench(faults=(Fault("code", "280", operation="MultimodalAsyncModeration"),), task_latency=AT_ONCE)
    answer = bench.submit(**THREAD)
    assert (answer["Code"], answer["Msg"]) == (280, "PROCESSING")
    assert bench.backend.ledger.billed_calls == 1
    assert bench.result(answer["Data"]["ReqId"])["Code"] == 200


@pytest.mark.parametrize("dialect", ["sdk", "seed"])
def test_a_submission_without_a_task_id(dialect: str) -> None:
    """The task is made and billed, and the answer does not say its id."""
    bench = Bench(faults=(Fault("no_task_id"),), dialect=dialect)
    assert bench.submit(**THREAD)["Data"] == {"DataId": "m-1"}
    assert (bench.backend.ledger.billed_calls, bench.backend.ledger.lost) == (1, 1)
    assert len(bench.backend.account.tasks) == 1


@pytest.mark.parametrize(("kind", "code"), [("task_lost", 409), ("task_never", 280)])
def test_a_task_without_a_result(kind: str, code: int) -> None:
    """A lost task is unknown from the start, another is in progress until it is forgotten; both were billed."""
    bench = Bench(faults=(Fault(kind, count=1),), task_latency=AT_ONCE)
    task_id, fine = (bench.submit(**THREAD)["Data"]["ReqId"] for _ in range(2))
    bench.clock.seconds = RETENTION_SECONDS - 1
    assert bench.result(task_id)["Code"] == code
    assert bench.result(fine)["Code"] == 200
    assert bench.backend.ledger.billed_calls == 2


def test_the_same_seed_gives_tasks_the_same_times() -> None:
    """How long tasks take is drawn anew from the seed by each simulator and after each reset."""
    benches = [Bench(task_latency=Latency(1000, sigma=0.5), seed=3) for _ in range(2)]

    def times(bench: Bench) -> list[float]:
        for _ in range(3):
            bench.submit(**THREAD)
        return [task.ready_at - task.submitted_at for task in bench.backend.account.tasks]

    first = times(benches[0])
    assert len(set(first)) == 3
    assert times(benches[1]) == first
    benches[0].backend.reset()
    assert times(benches[0]) == first
