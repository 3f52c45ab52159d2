"""What people read when their configuration is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.settings import load


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


__all__: list[str] = []


# What is replaced in the good configuration, by what, and the one line that says what is wrong with it.
_SPOILT = {
    "a misspelt key": (
        "group_id:",
        "group_idd: x\n  group_id:",
        "config.yaml:4:3: kafka.group_idd: unknown key; did you mean group_id?",
    ),
    "a misspelt section": (
        "kafka:",
        "poliy: {}\nkafka:",
        "config.yaml:1:1: poliy: unknown key; did you mean policy?",
    ),
    "a key of another section": (
        "start:",
        "compression: x\n  start:",
        "config.yaml:5:3: kafka.compression: unknown key; did you mean output.compression?",
    ),
    "the beginning of a key": (
        "kafka:",
        "quota: {text: 5}\nkafka:",
        "config.yaml:1:9: quota.text: unknown key; did you mean text_per_second?",
    ),
    "the beginning of several keys": (
        "kafka:",
        "quota: {image: 5}\nkafka:",
        "config.yaml:1:9: quota.image: unknown key; did you mean image_per_second or image_llm_per_second?",
    ),
    "a key that is a word of YAML's": (
        "kafka:",
        "log: {true: x}\nkafka:",
        "config.yaml:1:7: log.true: unknown key; expected one of level, format",
    ),
    "anchors in another place than the top": (
        "kafka:",
        "log: {x-base: &base {level: info}}\nkafka:",
        "config.yaml:1:7: log.x-base: unknown key; expected one of level, format",
    ),
    "a key like none": (
        "kafka:",
        "log: {colour: red}\nkafka:",
        "config.yaml:1:7: log.colour: unknown key; expected one of level, format",
    ),
    "a missing key": (
        "  group_id: moderation\n",
        "",
        "config.yaml:1:1: kafka.group_id: required, but not set; $MODERATION__KAFKA__GROUP_ID would set it",
    ),
    "a key given twice": (
        "  start: latest",
        "  start: latest\n  start: earliest",
        "config.yaml:6:3: kafka.start: given twice; first at config.yaml:5:3",
    ),
    "a text for a number": (
        "kafka:",
        "delivery: {max_in_flight: many}\nkafka:",
        "config.yaml:1:12: delivery.max_in_flight: found 'many', expected a whole number from 1 to 100000",
    ),
    "a switch for a number": (
        "kafka:",
        "admin: {port: yes}\nkafka:",
        "config.yaml:1:9: admin.port: found true, expected a whole number from 0 to 65535",
    ),
    "a fraction for a whole number": (
        "kafka:",
        "quota: {text_per_second: 0.5}\nkafka:",
        "config.yaml:1:9: quota.text_per_second: found 0.5, expected a whole number of at least 1",
    ),
    "a number out of bounds": (
        "kafka:",
        "shutdown: {drain_seconds: -1}\nkafka:",
        "config.yaml:1:12: shutdown.drain_seconds: found -1, expected a number of at least 0",
    ),
    "an endless time": (
        "kafka:",
        "shutdown: {flush_seconds: .inf}\nkafka:",
        "config.yaml:1:12: shutdown.flush_seconds: found inf, expected a number above 0",
    ),
    "a number for a text": (
        "group_id: moderation",
        "group_id: 17",
        "config.yaml:4:3: kafka.group_id: found 17, expected text; put it in quotes to have it read as text",
    ),
    "a language that YAML takes for a switch": (
        "kafka:",
        "routes: [{name: a, services: [baselineCheck_global], when: {language: [no]}}]\nkafka:",
        (
            "config.yaml:1:72: routes[0].when.language[0]: found false, expected text; "
            "put it in quotes to have it read as text"
        ),
    ),
    "an empty text": (
        "group_id: moderation",
        "group_id: ''",
        "config.yaml:4:3: kafka.group_id: found an empty text, expected text that is not empty",
    ),
    "a text for a list": (
        "[broker:9092]",
        "broker:9092",
        (
            "config.yaml:2:3: kafka.bootstrap_servers: found 'broker:9092', "
            "expected a list with at least one entry such as [broker:9092]"
        ),
    ),
    "an empty list": (
        "[ugc]",
        "[]",
        (
            "config.yaml:3:3: kafka.topics: found a list without entries, "
            "expected a list with at least one entry such as [moderation.verdicts]"
        ),
    ),
    "a broker without its port": (
        "[broker:9092]",
        "[broker]",
        "config.yaml:2:23: kafka.bootstrap_servers[0]: found 'broker', expected text such as broker:9092",
    ),
    "an unlawful topic": (
        "[ugc]",
        "[ugc posts]",
        "config.yaml:3:12: kafka.topics[0]: found 'ugc posts', expected text such as moderation.verdicts",
    ),
    "a text for a section": (
        "kafka:",
        "policy: review\nkafka:",
        "config.yaml:1:1: policy: found a single value, expected a mapping with keys such as none",
    ),
    "a misspelt choice": (
        "kafka:",
        "policy: {high: blok}\nkafka:",
        "config.yaml:1:10: policy.high: found 'blok', expected one of pass, review, block; did you mean block?",
    ),
    "a choice in capitals": (
        "kafka:",
        "log: {level: INFO}\nkafka:",
        "config.yaml:1:7: log.level: found 'INFO', expected one of debug, info, warning, error; did you mean info?",
    ),
    "a misspelt action": (
        "kafka:",
        "output: {topics: {blok: a.b}}\nkafka:",
        "config.yaml:1:19: output.topics.blok: unknown key; did you mean block?",
    ),
    "an impossible start": (
        "start: latest",
        "start: 2026-02-30",
        "config.yaml:5:10: kafka.start: looks like a number or a date, but is none; put it in quotes if it is a text",
    ),
    "a start in no known form": (
        "start: latest",
        "start: yesterday",
        (
            "config.yaml:5:3: kafka.start: found 'yesterday', "
            "expected earliest, latest or a time such as 2026-01-31T00:00:00Z"
        ),
    ),
    "a start as a number": (
        "start: latest",
        "start: 1767225600",
        (
            "config.yaml:5:3: kafka.start: found 1767225600, "
            "expected earliest, latest or a time such as 2026-01-31T00:00:00Z"
        ),
    ),
    "a currency": (
        "  region:",
        "  prices: {text_llm_standard: {price: 1, currency: yuan}}\n  region:",
        "config.yaml:7:42: moderation.prices.text_llm_standard.currency: found 'yuan', expected text such as CNY",
    ),
    "neither region nor endpoint": (
        "  region: ap-southeast-1\n",
        "",
        "config.yaml:6:1: moderation.region: is missing; set it, or `moderation.endpoint`",
    ),
    "an unknown region": (
        "region: ap-southeast-1",
        "region: ap-southeast-l",
        (
            "config.yaml:7:3: moderation.region: there is no region `ap-southeast-l`; did you mean `ap-southeast-1`? "
            "A new one needs `moderation.endpoint`."
        ),
    ),
    "an endpoint with a path": (
        "  region:",
        "  endpoint: http://proxy/green\n  region:",
        (
            "config.yaml:7:3: moderation.endpoint: `http://proxy/green` is no endpoint; "
            "expected a host or `http://host:port`"
        ),
    ),
    "a slow heartbeat": (
        "  start:",
        "  heartbeat_interval_seconds: 11\n  start:",
        (
            "config.yaml:5:3: kafka.heartbeat_interval_seconds: 11 is over a third of "
            "kafka.session_timeout_seconds (default), 30; expected at most 10"
        ),
    ),
    "a short session": (
        "  start:",
        "  session_timeout_seconds: 6\n  heartbeat_interval_seconds: 3\n  start:",
        (
            "config.yaml:6:3: kafka.heartbeat_interval_seconds: 3 is over a third of "
            "kafka.session_timeout_seconds (config.yaml:5:3), 6; expected at most 2"
        ),
    ),
    "SASL without a user": (
        "  start:",
        "  security: {protocol: SASL_SSL, sasl_password: planted-secret}\n  start:",
        (
            "config.yaml:5:14: kafka.security.sasl_username: not set, but needed with "
            "kafka.security.protocol (config.yaml:5:14), SASL_SSL"
        ),
    ),
    "OAUTHBEARER without a token": (
        "  start:",
        "  security: {protocol: SASL_SSL, sasl_mechanism: OAUTHBEARER}\n  start:",
        (
            "config.yaml:5:34: kafka.security.oauth_token_file: neither it nor oauth_token_endpoint is set, but one is "
            "needed with kafka.security.sasl_mechanism (config.yaml:5:34), OAUTHBEARER"
        ),
    ),
    "OAUTHBEARER with two": (
        "  start:",
        (
            "  security: {protocol: SASL_SSL, sasl_mechanism: OAUTHBEARER, oauth_token_file: t,\n"
            "    oauth_token_endpoint: https://idp/token}\n  start:"
        ),
        (
            "config.yaml:5:63: kafka.security.oauth_token_file: set beside "
            "kafka.security.oauth_token_endpoint (config.yaml:6:5); a token comes from one of them"
        ),
    ),
    "a token endpoint without a client": (
        "  start:",
        (
            "  security: {protocol: SASL_SSL, sasl_mechanism: OAUTHBEARER, oauth_token_endpoint: https://idp/token,\n"
            "    oauth_client_secret: planted-secret}\n  start:"
        ),
        (
            "config.yaml:5:63: kafka.security.oauth_client_id: not set, but needed with "
            "kafka.security.oauth_token_endpoint (config.yaml:5:63), https://idp/token"
        ),
    ),
    "a certificate without its key": (
        "  start:",
        "  security: {protocol: SSL, certificate_file: a.pem}\n  start:",
        (
            "config.yaml:5:29: kafka.security.key_file: not set, but "
            "kafka.security.certificate_file (config.yaml:5:29) is; one needs the other"
        ),
    ),
    "a key without its certificate": (
        "  start:",
        "  security: {protocol: SSL, key_file: a.key}\n  start:",
        (
            "config.yaml:5:29: kafka.security.certificate_file: not set, but "
            "kafka.security.key_file (config.yaml:5:29) is; one needs the other"
        ),
    ),
    "two routes of one name": (
        "kafka:",
        "routes:\n  - {name: a, services: [faceDetect_global]}\n  - {name: a, services: [faceDetect_global]}\nkafka:",
        "config.yaml:3:6: routes[1].name: 'a' is also the name of routes[0] (config.yaml:2:5)",
    ),
    "no route for late events": (
        "kafka:",
        "routes:\n  - {name: a, services: [baselineCheck_global], deadline_seconds: 5, on_deadline: revew}\nkafka:",
        "config.yaml:2:70: routes[0].on_deadline: there is no route 'revew'; did you mean review?",
    ),
    "a route for late events that has a deadline": (
        "kafka:",
        (
            "routes:\n  - {name: a, services: [baselineCheck_global], deadline_seconds: 5, on_deadline: b}\n"
            "  - {name: b, services: [baselineCheck_global], deadline_seconds: 9}\nkafka:"
        ),
        "config.yaml:2:70: routes[0].on_deadline: 'b' has a deadline of its own; expected a route without one",
    ),
    "a way for late events and no deadline": (
        "kafka:",
        "routes:\n  - {name: a, services: [baselineCheck_global], on_deadline: review}\nkafka:",
        "config.yaml:2:49: routes[0].on_deadline: there is no deadline_seconds beside it, so nothing is ever late",
    ),
    "a misspelt service": (
        "kafka:",
        "routes:\n  - {name: a, services: [baselineChek_global]}\nkafka:",
        (
            "config.yaml:2:26: routes[0].services[0]: there is no service 'baselineChek_global'; "
            "did you mean baselineCheck_global?"
        ),
    ),
    "a service that nothing is like": (
        "kafka:",
        "routes:\n  - {name: a, services: [zzz]}\nkafka:",
        (
            "config.yaml:2:26: routes[0].services[0]: there is no service 'zzz'; "
            "a copy made in the console is declared in moderation.services"
        ),
    ),
    "a copy of an unknown service": (
        "  region:",
        "  services: {mine_01: {like: baselineChek}}\n  region:",
        (
            "config.yaml:7:24: moderation.services.mine_01.like: there is no service `baselineChek`; "
            "did you mean `baselineCheck`?"
        ),
    ),
    "a misspelt service to pack for": (
        "kafka:",
        "packed: {services: [ugc_moderation_bylm]}\nkafka:",
        (
            "config.yaml:1:21: packed.services[0]: there is no service 'ugc_moderation_bylm'; "
            "did you mean ugc_moderation_byllm?"
        ),
    ),
    "a service whose texts are never packed": (
        "kafka:",
        "packed: {services: [ugc_moderation_byllm_cb]}\nkafka:",
        (
            "config.yaml:1:21: packed.services[0]: texts of 'ugc_moderation_byllm_cb' are never packed: "
            "it is billed by the length of its texts"
        ),
    ),
    "a route for a topic that is not read": (
        "kafka:",
        "routes:\n  - {name: a, services: [baselineCheck_global], when: {topic: [ugcs]}}\nkafka:",
        "config.yaml:2:64: routes[0].when.topic[0]: 'ugcs' is not in kafka.topics (config.yaml:5:3); did you mean ugc?",
    ),
    "a first wait over the longest": (
        "  region:",
        "  retry: {base_seconds: 40}\n  region:",
        "config.yaml:7:11: moderation.retry.base_seconds: 40 is over moderation.retry.max_seconds (default), 30",
    ),
    "less time for all than for a part": (
        "  region:",
        "  timeouts: {total_seconds: 2}\n  region:",
        (
            "config.yaml:7:14: moderation.timeouts.total_seconds: 2 is under "
            "moderation.timeouts.connect_seconds (default), 5"
        ),
    ),
    "verdicts into the input": (
        "kafka:",
        "output: {topic: ugc}\nkafka:",
        (
            "config.yaml:1:10: output.topic: ugc is also in kafka.topics (config.yaml:4:3): "
            "what is written would be read again"
        ),
    ),
    "verdicts of one action into the input": (
        "kafka:",
        "output: {topics: {review: ugc}}\nkafka:",
        (
            "config.yaml:1:19: output.topics.review: ugc is also in kafka.topics (config.yaml:4:3): "
            "what is written would be read again"
        ),
    ),
    "dead letters into the input": (
        "[ugc]",
        "[ugc, moderation.dead-letters]",
        (
            "config.yaml:3:3: output.dead_letters: moderation.dead-letters is also in kafka.topics (config.yaml:3:3): "
            "what is written would be read again"
        ),
    ),
    "a broken path": (
        "kafka:",
        "mapping: {text: 'body['}\nkafka:",
        (
            "config.yaml:1:11: mapping.text: 'body[' is neither a dotted path nor a JMESPath expression: "
            "it ends too early, at character 6"
        ),
    ),
    "an unknown tag": (
        "group_id: moderation",
        "group_id: !env GROUP",
        "config.yaml:4:13: kafka.group_id: has a tag that is not known here; put a text that begins with ! in quotes",
    ),
    "a list as a key": (
        "kafka:",
        "log: {[a]: b}\nkafka:",
        "config.yaml:1:7: log: a list or a mapping stands where a key is expected",
    ),
}

_NO_YAML = {
    "a colon too many": (
        "kafka:\n  group_id: a: b\n",
        "config.yaml:2:14: not valid YAML: a colon where none can be; put a text that has one in quotes",
    ),
    "a tabulator": (
        "kafka:\n\tgroup_id: a\n",
        (
            "config.yaml:2:1: not valid YAML: this character cannot begin a value here; "
            "indent with spaces, put text in quotes"
        ),
    ),
    "an open list": (
        "kafka:\n  topics: [a, b\n",
        "config.yaml:3:1: not valid YAML: a list in [ ] is not closed, or a comma is missing",
    ),
    "an open quote": (
        "kafka:\n  group_id: 'a\n",
        "config.yaml:3:1: not valid YAML: a quote is not closed",
    ),
    "an alias of nothing": (
        "kafka:\n  group_id: *planted-secret\n",
        (
            "config.yaml:2:13: not valid YAML: a value that begins with * must be in quotes, "
            "or the anchor that it names is missing"
        ),
    ),
    "indentation that fits nowhere": (
        "kafka:\n    group_id: a\n  start: latest\n",
        "config.yaml:3:3: not valid YAML: the indentation does not match the lines above",
    ),
    "a control character": (
        "kafka:\n  group_id: \x01\n",
        "config.yaml:2:13: not valid YAML: a control character, which YAML does not take",
    ),
    "two documents": (
        "kafka: {}\n---\nlog: {}\n",
        "config.yaml:2:1: not valid YAML: a second document begins here; one file holds one",
    ),
    "nesting without end": (
        "[" * 5000,
        "config.yaml:1:1: not valid YAML: it is nested too deeply",
    ),
    "nothing": (
        "# only a comment\n",
        "config.yaml: is empty; it must hold at least the sections kafka and moderation",
    ),
    "a list": (
        "- kafka\n",
        "config.yaml:1:1: holds no settings: a mapping of sections such as `kafka:` is expected",
    ),
}

# A variable, its value, and the one line that says what is wrong with it.
_VARIABLES = {
    "misspelt": (
        "MODERATION__KAFKA__GRUOP_ID",
        "x",
        "$MODERATION__KAFKA__GRUOP_ID: no such variable; did you mean $MODERATION__KAFKA__GROUP_ID?",
    ),
    "with one underscore before the section": (
        "MODERATION_KAFKA__TOPICS",
        "x",
        "$MODERATION_KAFKA__TOPICS: no such variable; did you mean $MODERATION__KAFKA__TOPICS?",
    ),
    "with one underscore and misspelt": (
        "MODERATION_KAFKA__SECURITY__SASL_USER",
        "x",
        (
            "$MODERATION_KAFKA__SECURITY__SASL_USER: no such variable; "
            "did you mean $MODERATION__KAFKA__SECURITY__SASL_USERNAME?"
        ),
    ),
    "of no section": ("MODERATION__ZZZ", "x", "$MODERATION__ZZZ: no such variable"),
    "a section": (
        "MODERATION__QUOTA",
        "{}",
        "$MODERATION__QUOTA: names a section; set its keys one by one, such as $MODERATION__QUOTA__TEXT_PER_SECOND",
    ),
    "below a mapping": (
        "MODERATION__POLICY__LABELS__AD",
        "review",
        "$MODERATION__POLICY__LABELS__AD: no such variable; $MODERATION__POLICY__LABELS takes the whole as YAML",
    ),
    "of the wrong type": (
        "MODERATION__DELIVERY__MAX_IN_FLIGHT",
        "many",
        (
            "$MODERATION__DELIVERY__MAX_IN_FLIGHT: delivery.max_in_flight: found 'many', "
            "expected a whole number from 1 to 100000"
        ),
    ),
    "empty": (
        "MODERATION__KAFKA__TOPICS",
        "",
        (
            "$MODERATION__KAFKA__TOPICS: kafka.topics: found a list without entries, "
            "expected a list with at least one entry such as [moderation.verdicts]"
        ),
    ),
    "not YAML": (
        "MODERATION__ROUTES",
        "[{name: planted-secret",
        "$MODERATION__ROUTES: routes: not valid YAML: a mapping in { } is not closed, or a comma is missing",
    ),
    "YAML of the wrong type": (
        "MODERATION__POLICY__LABELS",
        "{ad: blok}",
        (
            "$MODERATION__POLICY__LABELS: policy.labels.ad: found 'blok', "
            "expected one of pass, review, block; did you mean block?"
        ),
    ),
    "an empty name of a secret's file": (
        "MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET_FILE",
        "",
        (
            "$MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET_FILE: "
            "moderation.credentials.access_key_secret_file: found an empty name, expected the name of a file"
        ),
    ),
}


@pytest.mark.parametrize(("old", "new", "line"), _SPOILT.values(), ids=_SPOILT)
def test_each_fault_is_one_line(good: str, problems: Callable[..., list[str]], old: str, new: str, line: str) -> None:
    """Each fault has one line with its place, its key, what was found, what was expected, and the nearest name."""
    assert problems(good.replace(old, new, 1)) == [line]


@pytest.mark.parametrize(("text", "line"), _NO_YAML.values(), ids=_NO_YAML)
def test_what_is_no_yaml_has_its_line(problems: Callable[..., list[str]], text: str, line: str) -> None:
    """A file that is not YAML, or holds no mapping, is told in one line that repeats none of its text."""
    assert problems(text) == [line]


def test_a_name_that_is_empty_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument without text, as an unset variable of a shell leaves, is not taken for the current folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as caught:
        load([""], {})
    assert caught.value.problems == ["'': cannot be read: the name of the file is empty"]


@pytest.mark.parametrize(("name", "value", "line"), _VARIABLES.values(), ids=_VARIABLES)
def test_each_wrong_variable_is_one_line(
    good: str, problems: Callable[..., list[str]], name: str, value: str, line: str
) -> None:
    """A wrong variable is named with its dollar sign, and so is the one that was meant."""
    assert problems(good, {name: value}) == [line]


def test_a_word_of_yaml_is_no_misspelt_section(good: str, problems: Callable[..., list[str]]) -> None:
    """A key at the top that is like no section is answered with all sections, not with any of them."""
    (line,) = problems(f"true: x\n{good}")
    assert line.startswith("config.yaml:1:1: true: unknown key; expected one of kafka, output, ")


def test_all_faults_are_told_at_once(good: str, problems: Callable[..., list[str]]) -> None:
    """Unknown keys, wrong types, missing keys and contradictions of one configuration come together, in its order."""
    spoilt = good.replace("group_id: moderation", "grup_id: x").replace("[ugc]", "[7]")
    spoilt += "  retry: {base_seconds: 31, attempts: 0}\n  timeouts: {total_seconds: 1}\n"
    places = [line.split(" ")[0] for line in problems(spoilt, {"MODERATION__LOG__LEVEL": "loud"})]
    assert places == [
        "config.yaml:1:1:",  # group_id is missing
        "config.yaml:3:12:",  # a number as a topic
        "config.yaml:4:3:",  # grup_id
        "config.yaml:11:11:",  # the first wait is over the longest
        "config.yaml:11:29:",  # no attempts
        "config.yaml:12:14:",  # less time for all than for a part
        "$MODERATION__LOG__LEVEL:",
    ]


def test_a_faulty_value_makes_no_second_problem(good: str, problems: Callable[..., list[str]]) -> None:
    """A value that cannot be read is not compared with others as if it were the default."""
    spoilt = good.replace("  start:", "  session_timeout_seconds: 6\n  heartbeat_interval_seconds: soon\n  start:")
    assert [line.split(": ")[1] for line in problems(spoilt)] == ["kafka.heartbeat_interval_seconds"]


def test_nothing_configured_says_all_that_is_needed() -> None:
    """Without a file and without variables, every required key is named with the variable that would set it."""
    with pytest.raises(SettingsError) as caught:
        load([], {})
    keys = [line.split(": ")[1] for line in caught.value.problems]
    assert keys == [
        "kafka.bootstrap_servers",
        "kafka.group_id",
        "kafka.start",
        "kafka.topics",
        "moderation.credentials.access_key_id",
        "moderation.credentials.access_key_secret",
        "moderation.region",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file, a folder, and a name that is none are one line each, and all files are tried."""
    missing = tmp_path / "missing.yaml"
    with pytest.raises(SettingsError) as caught:
        load([missing, tmp_path, "a\0b"], {})
    assert caught.value.problems == [
        f"{missing}: cannot be read: no such file or directory",
        f"{tmp_path}: cannot be read: is a directory",
        "a\\x00b: cannot be read: not the name of a file",
    ]


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    """A file that is not UTF-8 is told with the byte where that shows."""
    file = tmp_path / "latin.yaml"
    file.write_bytes("kafka: {group_id: modération}".encode("latin-1"))
    with pytest.raises(SettingsError) as caught:
        load([file], {})
    assert caught.value.problems == [f"{file}: not UTF-8 at byte 22; save it as UTF-8"]


def test_a_value_that_contains_itself(good: str, problems: Callable[..., list[str]]) -> None:
    """An alias inside the value that it names ends in a problem, not in an endless loop."""
    assert problems(good.replace("[ugc]", "&topics [*topics]")) == [
        "config.yaml:3:11: kafka.topics[0]: contains itself"
    ]
