"""A file of cases → what is to be tried, or one `SettingsError` with every fault at its place."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from consumer.building import routes
from consumer.errors import SettingsError
from consumer.moderation.protocol.services import resolve
from consumer.record import Partition, Record
from consumer.rehearsal.arrivals import Arrival
from consumer.rehearsal.cases import Cases, Expected, GivenInTurn
from consumer.rehearsal.contradicting import contradictions
from consumer.rehearsal.service import Rule
from consumer.rehearsal.stage import EPOCH_SECONDS
from consumer.rehearsal.tree import tree
from consumer.settings.nodes import Problem
from consumer.settings.validation import Validation
from consumer.simulator.faults import Fault


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consumer.rehearsal.cases import Answer, Case, Given
    from consumer.settings import Settings
    from consumer.settings.nodes import Path as KeyPath
    from consumer.settings.nodes import Place


__all__ = ["Planned", "Step", "beside", "read_cases"]


@dataclass(frozen=True, slots=True)
class Step:
    """One record of a case, and what is to become of it; `heading` names it where it is one of several, else empty."""

    heading: str
    arrival: Arrival
    expected: Expected


@dataclass(frozen=True, slots=True)
class Planned:
    """One case, ready to be tried; `place` is where it stands."""

    name: str
    place: str
    steps: tuple[Step, ...]
    rules: tuple[Rule, ...]


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
    root = tree(path, problems)
    if root is not None:
        validation = Validation(problems, (), {})
        cases = validation.section(Cases, root)
        if not problems:
            planned = list(_planned(cases, validation.places, path, settings, problems))
            if not problems:
                return planned
    raise SettingsError([str(problem) for problem in sorted(problems, key=lambda one: one.place)])


def _planned(
    cases: Cases, places: Mapping[KeyPath, Place], path: Path, settings: Settings, problems: list[Problem]
) -> Iterator[Planned]:
    """Each case, and what is wrong with it beside the shape of it."""
    seen: dict[str, Place] = {}
    names = {route.name for route in routes(settings)}
    services = set(resolve(settings.moderation.services))
    for number, case in enumerate(cases.tests):
        at: KeyPath = ("tests", number)
        place = places[at]
        if case.name in seen:
            problems.append(Problem(place, (*at, "name"), f"is the name of the case at {seen[case.name]}, too"))
        seen.setdefault(case.name, place)
        for where, text in contradictions(case, names, services):
            there = next(places[at + where[:end]] for end in range(len(where), -1, -1) if at + where[:end] in places)
            problems.append(Problem(there, (*at, *where), text))
        steps = list(_steps(case, at, places, path.parent, settings, problems))
        rules = []
        for which, answer in enumerate(case.service):
            try:
                rules.append(_rule(answer))
            except ValueError as error:
                problems.append(Problem(place, (*at, "service", which), str(error)))
        yield Planned(case.name, str(place), tuple(steps), tuple(rules))


def _steps(
    case: Case,
    at: KeyPath,
    places: Mapping[KeyPath, Place],
    directory: Path,
    settings: Settings,
    problems: list[Problem],
) -> Iterator[Step]:
    """The records of a case, each with its time and its place in its partition."""
    offsets: Counter[str] = Counter()
    at_seconds = 0.0
    given: list[tuple[KeyPath, Given, Expected | None]] = [
        ((*at, "records", number), one, one.expect) for number, one in enumerate(case.records or ())
    ]
    if case.record is not None:
        given.append(((*at, "record"), case.record, case.expect))
    for number, (where, one, expected) in enumerate(given):
        if isinstance(one, GivenInTurn):
            at_seconds += one.after_seconds
        try:
            value = _value(one, directory)
        except ValueError as error:
            problems.append(Problem(places[where], where, str(error)))
            continue
        topic = one.topic or settings.kafka.topics[0]
        record = Record(
            Partition(topic, 0),
            offsets[topic],
            round((EPOCH_SECONDS + at_seconds - one.age_seconds) * 1000),
            None if one.key is None else one.key.encode(),
            value,
            tuple((name, text.encode()) for name, text in one.headers.items()),
        )
        offsets[topic] += 1
        as_json = one.value_base64 is None and one.value_file is None
        said = "" if case.records is None else f"record {number + 1} of {len(given)} ({places[where]})"
        yield Step(said, Arrival(record, as_json, at_seconds), expected or Expected())


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
