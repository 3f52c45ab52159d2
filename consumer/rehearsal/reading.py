"""A file of cases → what is to be tried, or one `SettingsError` with every fault at its place."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from consumer.building import routes
from consumer.errors import SettingsError
from consumer.moderation.protocol.services import resolve
from consumer.record import Partition, Record
from consumer.rehearsal.cases import Cases
from consumer.rehearsal.service import Rule
from consumer.rehearsal.stage import EPOCH_SECONDS
from consumer.settings.nodes import FAULTY, Node, Place, Problem
from consumer.settings.validation import Validation
from consumer.settings.words import meant
from consumer.settings.yaml_tree import parse
from consumer.simulator.faults import Fault


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from consumer.rehearsal.cases import Answer, Case, Expected, Given
    from consumer.settings import Settings


__all__ = ["Planned", "beside", "read_cases"]


_VALUES = ("value", "value_base64", "value_file")
_EMPTY = "holds no cases: a list `tests:` is expected, each with name, record and expect"


@dataclass(frozen=True, slots=True)
class Planned:
    """One case, ready to be tried; `place` is where it stands. `as_json` says that its record's value is in JSON."""

    name: str
    place: str
    record: Record
    as_json: bool
    rules: tuple[Rule, ...]
    expected: Expected


def beside(config: str) -> Path:
    """Where the cases of a configuration are by convention: `config.tests.yaml` for `config.yaml`."""
    path = Path(config)
    return path.with_name(f"{path.stem}.tests{path.suffix or '.yaml'}")


def read_cases(path: Path, settings: Settings) -> list[Planned]:
    """The cases in a file, in their order.

    Raises:
        SettingsError: something is wrong; `problems` has one line for each fault.
    """
    problems: list[Problem] = []
    root = _tree(path, problems)
    if root is not None:
        _take_values_out(root, problems)
        validation = Validation(problems, (), {})
        cases = validation.section(Cases, root)
        if not problems:
            places = [validation.places["tests", number] for number in range(len(cases.tests))]
            planned = list(_planned(cases, places, path, settings, problems))
            if not problems:
                return planned
    raise SettingsError([str(problem) for problem in sorted(problems, key=lambda one: one.place)])


def _tree(path: Path, problems: list[Problem]) -> Node | None:
    whole = Place(str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(Problem(whole, (), f"not UTF-8 at byte {error.start + 1}; save it as UTF-8"))
        return None
    except OSError as error:
        problems.append(Problem(whole, (), f"cannot be read: {(error.strerror or str(error)).lower()}"))
        return None
    root = parse(text, lambda line, column: Place(str(path), line, column), problems)
    if root is not None and (not isinstance(root.value, dict) or not root.value.get("tests", root).value):
        problems.append(Problem(root.place, (), _EMPTY))
        return None
    return None if problems else root


def _take_values_out(root: Node, problems: list[Problem]) -> None:
    """Turn each record's value into what it is in JSON: nothing in there is ours to check."""
    tests = root.value.get("tests", root).value
    for number, case in enumerate(tests if isinstance(tests, list) else ()):
        record = case.value.get("record") if isinstance(case.value, dict) else None
        if record is None or not isinstance(record.value, dict):
            continue
        path = ("tests", number, "record")
        given = [name for name in _VALUES if name in record.value]
        if len(given) != 1:
            said = f"{given[0]} contradicts {given[1]}; keep one" if given else f"needs one of {', '.join(_VALUES)}"
            problems.append(Problem(record.place, path, said))
        if "value" in record.value:
            node = record.value["value"]
            record.value["value"] = Node(node.place, _json(node, (*path, "value"), problems))


def _json(node: Node, path: tuple[str | int, ...], problems: list[Problem]) -> Any:
    value = node.value
    if isinstance(value, dict):
        return {name: _json(one, (*path, name), problems) for name, one in value.items()}
    if isinstance(value, list):
        return [_json(one, (*path, number), problems) for number, one in enumerate(value)]
    if isinstance(value, (date, bytes)):
        kind = "a date" if isinstance(value, date) else "binary data"
        problems.append(Problem(node.place, path, f"found {kind}, which JSON does not have; put a text in quotes"))
    return None if value is FAULTY else value


def _planned(
    cases: Cases, places: list[Place], path: Path, settings: Settings, problems: list[Problem]
) -> Iterator[Planned]:
    """Each case, and what is wrong with it beside the shape of it."""
    seen: dict[str, Place] = {}
    names = {route.name for route in routes(settings)}
    services = set(resolve(settings.moderation.services))
    for number, (case, place) in enumerate(zip(cases.tests, places, strict=True)):
        at = ("tests", number)
        if case.name in seen:
            problems.append(Problem(place, (*at, "name"), f"is the name of the case at {seen[case.name]}, too"))
        seen.setdefault(case.name, place)
        problems += [Problem(place, (*at, *where), text) for where, text in _contradictions(case, names, services)]
        try:
            value = _value(case.record, path.parent)
        except ValueError as error:
            problems.append(Problem(place, (*at, "record"), str(error)))
            continue
        rules = []
        for which, answer in enumerate(case.service):
            try:
                rules.append(_rule(answer))
            except ValueError as error:
                problems.append(Problem(place, (*at, "service", which), str(error)))
        record = _record(case.record, value, settings)
        as_json = case.record.value_base64 is None and case.record.value_file is None
        yield Planned(case.name, str(place), record, as_json, tuple(rules), case.expect)


def _record(given: Given, value: bytes | None, settings: Settings) -> Record:
    return Record(
        Partition(given.topic or settings.kafka.topics[0], 0),
        0,
        round((EPOCH_SECONDS - given.age_seconds) * 1000),
        None if given.key is None else given.key.encode(),
        value,
        tuple((name, text.encode()) for name, text in given.headers.items()),
    )


def _value(given: Given, directory: Path) -> bytes | None:
    if given.value_base64 is not None:
        try:
            return b64decode(given.value_base64, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("value_base64 is no base64") from None
    if given.value_file is not None:
        try:
            return (directory / given.value_file).read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ValueError(f"value_file {given.value_file} cannot be read: {reason}") from None
    if given.value is None:
        return None
    if isinstance(given.value, str):
        return given.value.encode()
    try:
        return orjson.dumps(given.value)
    except TypeError as error:
        raise ValueError(f"value cannot be written as JSON: {error}") from None


def _rule(answer: Answer) -> Rule:
    if (answer.fault is None) == (answer.risk_level is None):
        raise ValueError("needs either risk_level or fault")
    if answer.fault is not None and answer.labels:
        raise ValueError("labels contradict fault; keep one")
    fault = None if answer.fault is None else Fault.parse(answer.fault)
    return Rule(answer.text, answer.image, answer.service, answer.risk_level or "none", tuple(answer.labels), fault)


def _contradictions(
    case: Case, names: Collection[str], services: Collection[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What cannot come true, whatever becomes of the record."""
    expected = case.expect
    if not (expected.model_fields_set - {"skipped"} or expected.skipped):
        yield ("expect",), "expects nothing; say at least one of route, calls, verdict, topic, dead_letter, skipped"
    if expected.verdict is not None and not expected.verdict.model_fields_set:
        yield ("expect", "verdict"), "expects nothing; say at least one of action, risk_level, labels"
    if expected.verdict is not None and expected.dead_letter is not None:
        yield ("expect",), "verdict contradicts dead_letter; keep one"
    if expected.skipped and expected.model_fields_set != {"skipped"}:
        yield ("expect",), "a record that is skipped has nothing else; keep skipped alone"
    if expected.route is not None and expected.route not in names:
        yield ("expect", "route"), f"there is no route {expected.route}{meant(expected.route, names) or _there(names)}"
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("expect", "calls", number), one.service) for number, one in enumerate(expected.calls or ())
    ]
    named += [(("service", number), one.service) for number, one in enumerate(case.service) if one.service]
    for where, name in named:
        if name not in services:
            yield (*where, "service"), f"there is no service {name}{meant(name, services)}"


def _there(names: Collection[str]) -> str:
    return f"; there are {', '.join(sorted(names))}"
