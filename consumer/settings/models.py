"""Every setting, its default, its bounds and what it means: the one place that validates and documents them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consumer.settings.formats import Format
from consumer.settings.kafka import Kafka, KafkaSecurity, Topic
from consumer.settings.moderation import Credentials, Moderation, OnDenied, Price, Retry, Service, Timeouts
from consumer.settings.saving import Budget, Cache, Packed
from consumer.settings.section import Name, Seconds, Secret, Section


__all__ = [
    "Admin",
    "Budget",
    "Cache",
    "Callbacks",
    "Credentials",
    "DeadLetters",
    "Delivery",
    "EmbeddedSettings",
    "Format",
    "Kafka",
    "KafkaSecurity",
    "Log",
    "Mapping",
    "Moderation",
    "OnDenied",
    "Output",
    "Packed",
    "Policy",
    "Price",
    "Quota",
    "Retry",
    "Route",
    "RouteWhen",
    "Section",
    "Service",
    "Settings",
    "Shutdown",
    "State",
    "Tasks",
    "Threads",
    "Timeouts",
    "Tracing",
]


Action = Literal["pass", "review", "block"]
Kind = Literal["message", "comment", "post", "image", "profile"]
Origin = Literal["human", "ai"]


class Output(Section):
    """Where verdicts and dead letters are written."""

    topic: Topic = "moderation.verdicts"
    """The topic of verdicts, for every action that has none of its own."""
    topics: dict[Action, Topic] = {}
    """Topics of single actions: `pass`, `review`, `block`."""
    dead_letters: Topic = "moderation.dead-letters"
    """The topic of records that cannot be moderated, with their original bytes."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """How written batches are compressed; all but `gzip` need the extra `formats`."""


class Mapping(Section):
    """Where each field of an event is found in a record's JSON: a dotted path such as `user.id`, or any JMESPath
    expression. A field that is absent counts as empty; only `id` is required.
    """

    id: Name = "id"
    """The content's unique id, a string or a number."""
    kind: Name | None = "kind"
    """`message`, `comment`, `post`, `image` or `profile`."""
    default_kind: Kind = "message"
    """The kind of records that name none."""
    kinds: dict[str, Kind] = {}
    """The platform's own words for kinds, such as `{dm: message, avatar: profile}`."""
    text: Name | None = "text"
    """The text, or a profile's nickname."""
    title: Name | None = "title"
    """A post's title, or a profile's description."""
    images: Name | None = "images"
    """A URL, a list of URLs, or objects with one of `url`, `oss: {bucket, object, region}`, `file` (a path below
    `image_directory`) and `content` (base64, at most 20 MB decoded)."""
    image_directory: Name | None = None
    """Where images given as `file` are; without it none are read, so that a record cannot name any file it likes."""
    author_id: Name | None = "author.id"
    """The author's id on the platform."""
    nickname: Name | None = "author.nickname"
    """The author's nickname."""
    thread: Name | None = "thread"
    """What a comment or reply belongs to."""
    parent: Name | None = "parent"
    """The comment that a reply answers."""
    posted_at: Name | None = "posted_at"
    """When it was posted."""
    language: Name | None = "language"
    """The content's language as a BCP 47 tag."""
    origin: Name | None = "origin"
    """`human` or `ai`."""
    default_origin: Origin = "human"
    """The origin of records that name none."""
    plugin: Name | None = None
    """A function of yours that sees the record first: an entry point's name, or `module:function`. What it returns is
    the event, or a document that the rest of this section is applied to."""


class RouteWhen(Section):
    """What a route takes; a condition left out takes everything."""

    kind: list[Kind] = []
    """Kinds of events."""
    origin: list[Origin] = []
    """Origins of events."""
    language: list[Name] = []
    """BCP 47 tags; `zh` also takes `zh-Hant`."""
    topic: list[Topic] = []
    """Topics the record came from."""
    has_text: bool | None = None
    """Whether there is any text."""
    has_images: bool | None = None
    """Whether there is any image."""
    plugin: Name | None = None
    """A function of yours that has to say yes as well: an entry point's name, or `module:function`."""


class Route(Section):
    """One rule; the first that takes an event decides."""

    name: Name
    """What metrics and verdicts call this route."""
    when: RouteWhen = RouteWhen()
    """What it takes."""
    services: Annotated[list[Name], Field(min_length=1)]
    """The services that judge it: text goes to the text services, each image to the image services."""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    """Its part of the quota, beside the weights of the other routes, while they compete for it."""
    deadline_seconds: Seconds | None = None
    """How old an event may be, from when its record was written, before anything is sent for it; none when not set."""
    on_deadline: Name = "review"
    """Where an older event goes: `review`, unjudged and unpaid, or the name of another route."""


class Quota(Section):
    """The account's limits, in calls a second. They belong to the account: give each deployment its share."""

    text_per_second: Annotated[int, Field(ge=1)] = 50
    """Calls of text services. The text page says 50."""
    image_per_second: Annotated[int, Field(ge=1)] = 100
    """Calls of image services. The image page says 100."""
    image_llm_per_second: Annotated[int, Field(ge=1)] = 50
    """Calls of the image services of large models (`…ByVL…`). The image price page says 50."""
    multimodal_submit_per_second: Annotated[int, Field(ge=1)] = 10
    """Tasks submitted to the multimodal services. The multimodal page says 10."""
    multimodal_query_per_second: Annotated[int, Field(ge=1)] = 10
    """Queries for the results of multimodal tasks. The multimodal page says 10."""
    jitter_seconds: Annotated[float, Field(ge=0, le=1)] = 0.03
    """How much the network may bunch calls up; for jitter up to this no call is ever refused."""


class Tasks(Section):
    """How the results of multimodal tasks are fetched. The multimodal page advises the first query after 30 s, one
    every 30 s from then on, and keeps results for 24 hours.
    """

    first_poll_seconds: Seconds = 30.0
    """When a task is first asked for, after it was submitted."""
    poll_interval_seconds: Seconds = 30.0
    """How often it is asked for from then on."""
    deadline_seconds: Seconds = 86_400.0
    """When a task without a result is given up, and its events go to `review`."""
    max_pending: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Events that may wait for results at the same time; they do not count as in flight."""


class Callbacks(Section):
    """Where the service may report the results of multimodal tasks; polling goes on as a net, less often.

    Without `url` results are only polled for.
    """

    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Where the service reaches the receiver from outside, such as `https://callbacks.example.com/moderation`."""
    account_id: Name | None = None
    """The id of the main Alibaba Cloud account; it is part of a callback's checksum."""
    secret: Secret | None = None
    """What the seeds of callbacks are derived from, at least 16 characters; all replicas of a group share it."""
    host: Name = "0.0.0.0"  # noqa: S104  # the service calls from outside
    """The address the receiver listens on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9465
    """The port the receiver listens on; 0 takes any free one."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1_048_576
    """Larger callbacks are refused."""


class Threads(Section):
    """How events of one thread are brought together into one call of a multimodal service."""

    max_age_seconds: Annotated[float, Field(ge=0)] = 2.0
    """How long the first event of a call may wait for others while the quota has tokens; 0 sends each by itself."""
    quiet_seconds: Annotated[float, Field(ge=0)] = 1.0
    """The longest wait for the next event of a thread while a token is free. The wait is three times what lies between
    the thread's events of late, and none where they usually come more rarely than this."""


class Policy(Section):
    """What to do at each risk level, and for single labels or categories; the most severe action wins."""

    none: Action = "pass"
    """No risk found."""
    low: Action = "pass"
    """Low risk."""
    medium: Action = "review"
    """Medium risk."""
    high: Action = "block"
    """High risk."""
    unknown: Literal["review", "block"] = "review"
    """No usable answer; it never passes."""
    labels: dict[Name, Action] = {}
    """Actions of single labels (`contraband_drug`) or categories (`contraband`)."""
    plugin: Name | None = None
    """A function of yours that has the last word: an entry point's name, or `module:function`. It is given the action
    that the rest of this section says."""


class Delivery(Section):
    """How events flow, and what is promised of them."""

    guarantee: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """`at_least_once`: after a fault some verdicts are written again. `exactly_once`: verdicts and offsets are written
    in one transaction, so that who reads committed records only sees each verdict once."""
    order: Literal["unordered", "key", "partition"] = "unordered"
    """In which order verdicts leave: as they come, in the order of the events of a key, or of a partition."""
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Events worked on at the same time."""
    memory_budget_bytes: Annotated[int, Field(ge=1_048_576)] = 64 * 1_048_576
    """Bytes of records held at the same time; one larger record is taken alone."""
    commit_interval_seconds: Seconds = 0.1
    """How often offsets are committed: what a crash has judged and paid again."""
    on_null: Literal["skip", "dead_letter"] = "skip"
    """What a record without a value becomes: skipped and counted, or a dead letter."""


class DeadLetters(Section):
    """When dead letters are too many to be the records' fault: the consumer then holds, and a person has to look."""

    max_in_a_row: Annotated[int, Field(ge=1)] | None = 1000
    """More dead letters than this, one after the other, are a hold; null for no limit."""
    max_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """A larger share of dead letters among the last `share_of` events is a hold; null for no limit."""
    share_of: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """How many events the share is taken of."""


class State(Section):
    """What outlives a process beside offsets: submitted tasks, and callbacks on their way to the replica that works."""

    topic: Topic | None = None
    """The state topic; the group's name with `.state` when not set. It is made if it is not there."""
    replication_factor: Annotated[int, Field(ge=1, le=32767)] | None = None
    """Of the topic, when it is made; the brokers' default when not set."""


class Shutdown(Section):
    """How a stop is spent; the sum should stay below the pod's grace period."""

    drain_seconds: Annotated[float, Field(ge=0)] = 10.0
    """For calls on the wire to be answered."""
    flush_seconds: Seconds = 5.0
    """For verdicts to be acknowledged and offsets committed."""
    leave_seconds: Seconds = 2.0
    """For the group to be left and connections closed."""


class Admin(Section):
    """The port of /metrics, /livez, /readyz and /status."""

    host: Name = "0.0.0.0"  # noqa: S104  # a pod is scraped from outside
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    """The port to listen on; 0 takes any free one."""


class Log(Section):
    """What is logged; never content, never secrets."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages to log."""
    format: Literal["console", "json"] = "json"
    """For people or for machines."""


class Tracing(Section):
    """Spans of events and calls, for OpenTelemetry. Needs the extra `tracing`; where they go is said by the standard
    variables of the environment, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """

    enabled: bool = False
    """Whether spans are made and exported, and carried on in the headers of verdicts and dead letters."""


class EmbeddedSettings(Section):
    """Everything that can be configured; without Kafka only events that are handed over can be judged."""

    kafka: Kafka | None = None
    """Where events are read from."""
    output: Output = Output()
    """Where verdicts and dead letters are written."""
    format: Format = Format()
    """How records are written."""
    mapping: Mapping = Mapping()
    """Where each field of an event is found in a record."""
    routes: list[Route] = []
    """Which services judge what; the built-in routes when empty."""
    moderation: Moderation
    """The moderation service."""
    quota: Quota = Quota()
    """The account's limits."""
    tasks: Tasks = Tasks()
    """How results of multimodal tasks are fetched."""
    callbacks: Callbacks = Callbacks()
    """Where results of multimodal tasks may be reported."""
    threads: Threads = Threads()
    """How events of a thread are judged together."""
    cache: Cache = Cache()
    """What is judged once."""
    packed: Packed = Packed()
    """Short texts judged together."""
    budgets: list[Budget] = []
    """What may be spent."""
    policy: Policy = Policy()
    """What to do at each risk level."""
    delivery: Delivery = Delivery()
    """How events flow."""
    dead_letters: DeadLetters = DeadLetters()
    """When dead letters are too many."""
    state: State = State()
    """What outlives a process."""
    shutdown: Shutdown = Shutdown()
    """How a stop is spent."""
    admin: Admin = Admin()
    """The port of metrics and health."""
    log: Log = Log()
    """What is logged."""
    tracing: Tracing = Tracing()
    """Spans of events and calls."""


class Settings(EmbeddedSettings):
    """Everything that can be configured of the sidecar."""

    kafka: Kafka
    """Where events are read from."""
