"""The file of cases beside a configuration: its sections, and what may stand in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from consumer.settings.section import Name, Section


__all__ = ["Answer", "Case", "Cases", "Expected", "ExpectedCall", "ExpectedVerdict", "Given", "GivenInTurn"]


Level = Literal["none", "low", "medium", "high"]


class Given(Section):
    """The record that comes in. Its value is one of `value`, `value_base64` and `value_file`."""

    value: Any = None
    """A mapping or a list is written as JSON, whatever `format.encoding` says, and a text as it is; `null` is a record
    without a value."""
    value_base64: Name | None = None
    """The value's bytes, encoded as `format.encoding` says."""
    value_file: Name | None = None
    """A file that holds the value's bytes, beside this one."""
    key: str | None = None
    """The record's key."""
    headers: Annotated[dict[str, str], Field(default_factory=dict)]
    """The record's headers."""
    topic: Name | None = None
    """Where it comes from; the first of `kafka.topics` when not set."""
    age_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long ago it was written, for routes with a deadline."""


class Answer(Section):
    """What the service says of some calls, instead of what the simulator would. Without `text`, `image` and `service`
    it is about all of them. The first that is about a call decides.
    """

    text: Name | None = None
    """Calls with this in their text."""
    image: Name | None = None
    """Calls with this in the place of an image, such as a part of its URL."""
    service: Name | None = None
    """Calls of this service."""
    risk_level: Level | None = None
    """How risky it finds them."""
    labels: Annotated[list[Name], Field(default_factory=list)]
    """The labels it finds."""
    fault: Name | None = None
    """What goes wrong instead, as `simulate --fault` takes it: `code=588,count=2`, `hang`, `reset`, `http_500`."""


class ExpectedCall(Section):
    """One call of a service. What is left out may be anything."""

    service: Name
    """The service's name."""
    text: str | None = None
    """The text that it judges."""
    images: list[Name] | None = None
    """Where the images are that it judges."""


class ExpectedVerdict(Section):
    """Fields of the verdict. What is left out may be anything."""

    action: Literal["pass", "review", "block"] | None = None
    """What is to be done."""
    risk_level: Literal["none", "low", "medium", "high", "unknown"] | None = None
    """How risky it is."""
    labels: list[Name] | None = None
    """All labels by name, in any order."""
    event_id: Name | None = None
    """The event's id."""
    kind: Name | None = None
    """The event's kind."""
    services: list[Name] | None = None
    """All services that judged it, in any order."""
    source: Name | None = None
    """Where the judgement came from."""
    attempts: int | None = None
    """How many requests were sent for it."""
    reason: Name | None = None
    """Why it is unknown how risky it is."""


class Expected(Section):
    """What becomes of the record. What is left out may be anything, but a dead letter has to be expected as one."""

    route: Name | None = None
    """The route that takes it."""
    calls: list[ExpectedCall] | None = None
    """All calls, in any order, each once, however often it was tried. One about several records of a case is the first
    one's."""
    verdict: ExpectedVerdict | None = None
    """The verdict."""
    topic: Name | None = None
    """Where what becomes of it is written."""
    dead_letter: Name | None = None
    """It is a dead letter, for this: `map/mapping`, as `dead-letters list` has it."""
    skipped: bool = False
    """It is left out, since it has no value."""
    position: Annotated[int, Field(ge=1)] | None = None
    """As which of the case's records it is written, counted from 1."""


class GivenInTurn(Given):
    """One of several records, and what is to become of it."""

    after_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long after the one before it comes in."""
    expect: Expected | None = None
    """What is to become of it."""


class Case(Section):
    """One record and what is to become of it, or several that come in one after the other."""

    name: Name
    """What the case is called; each has a name of its own."""
    record: Given | None = None
    """What comes in."""
    records: Annotated[list[GivenInTurn], Field(min_length=1)] | None = None
    """Instead of it and of `expect`, several records in their order."""
    service: Annotated[list[Answer], Field(default_factory=list)]
    """What the service says."""
    expect: Expected | None = None
    """What is to become of it."""


class Cases(Section):
    """A file of cases."""

    tests: Annotated[list[Case], Field(min_length=1)]
    """The cases, in the order in which they run."""
