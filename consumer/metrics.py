"""Every metric: its name, labels, unit, and a sentence of advice, in one catalogue that is code."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from consumer.meters import Counter, Gauge, Histogram, Meter
from consumer.metric import FAST, TASKS, WHOLE, Metric
from consumer.metrics_delivery import DELIVERY
from consumer.metrics_money import MONEY
from consumer.recent import RecentErrors


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric as Family


__all__ = ["CATALOGUE", "CONTENT_TYPE", "PREFIX", "Metric", "Metrics"]


PREFIX = "moderation_"
CONTENT_TYPE = CONTENT_TYPE_LATEST

_M = TypeVar("_M", Counter, Gauge, Histogram)


CATALOGUE: tuple[Metric, ...] = (
    Metric(
        "events",
        Counter,
        "Records read, by topic.",
        "Falls to zero while lag grows: look at the hold and at /status.",
        ("topic",),
    ),
    Metric(
        "verdicts",
        Counter,
        "Verdicts acknowledged by the broker, by route, risk level and action.",
        "A sudden change of the shares is a new wave of content or a changed rule.",
        ("route", "risk_level", "action"),
    ),
    Metric(
        "dead_letters",
        Counter,
        "Records that could not be moderated, by the stage they failed at and the reason.",
        "Read them with their headers; one reason that grows is a producer or a mapping that changed.",
        ("stage", "reason"),
    ),
    Metric(
        "plugin_failures",
        Counter,
        "Times that a plugin raised an error or returned what its kind must not, by kind and by its name.",
        "The dead letters say the error and its line; where a policy failed, the reasons of its verdicts do.",
        ("kind", "plugin"),
    ),
    Metric(
        "skipped",
        Counter,
        "Records with nothing to judge that were skipped: without a value, or deletes and the like in a change stream.",
        "Tombstones are normal in compacted topics.",
        ("topic",),
    ),
    Metric(
        "schema_requests",
        Counter,
        "Schemas asked of the registry, by outcome: done, unknown, or failed.",
        "Failed: records wait for their schemas, look at /status. Unknown: a producer uses another registry than ours.",
        ("outcome",),
    ),
    Metric(
        "calls",
        Counter,
        "Requests to the moderation service, by operation, service and code of the answer.",
        "Codes other than 200 are explained in the codes table; `transport` means that no answer came.",
        ("operation", "service", "code"),
    ),
    Metric(
        "call_seconds",
        Histogram,
        "Time from sending a request to the end of its answer.",
        "Grows with the vendor's latency; compare with the event latency before looking elsewhere.",
        ("operation", "service"),
        FAST,
    ),
    Metric(
        "quota_wait_seconds",
        Histogram,
        "Time a call waited for a token of its quota.",
        "Long waits at full use mean that the account's limit is the bottleneck: have it raised.",
        ("quota",),
        FAST,
    ),
    Metric(
        "event_seconds",
        Histogram,
        "Time from reading a record to the acknowledgement of its verdict.",
        "Far above the call's latency: look at the quota wait and at retries.",
        ("route",),
        WHOLE,
    ),
    Metric(
        "late_events",
        Counter,
        "Events that were older than their route's deadline before anything was sent, by route and where they went.",
        "Grows: the quota is too small for the traffic; look at the weights of the routes and at quota_wait_seconds.",
        ("route", "went_to"),
    ),
    Metric(
        "retries",
        Counter,
        "Requests sent again, by service and the reason of the failure before.",
        "A steady share of one reason belongs in a ticket to the vendor, with request ids from the verdicts.",
        ("service", "reason"),
    ),
    Metric(
        "throttled",
        Counter,
        "Answers that said the account's limit was exceeded, by quota.",
        "Other deployments share the account: give each its fraction of the limits.",
        ("quota",),
    ),
    Metric(
        "quota_limit",
        Gauge,
        "Calls a second that are allowed now, by quota.",
        "Below the configured limit after throttling; it recovers by itself.",
        ("quota",),
    ),
    Metric(
        "quota_limit_full",
        Gauge,
        "Calls a second that this process may send where none is refused, by quota: the account's limit or its part.",
        "Above quota_limit for hours: something else uses the account; give each its fraction of the limits.",
        ("quota",),
    ),
    Metric(
        "quota_used",
        Counter,
        "Tokens taken, by quota.",
        "Its rate against the limit is the use of the quota.",
        ("quota",),
    ),
    Metric(
        "batch_wait_seconds",
        Histogram,
        "Time an event waited for others of its thread, before its call was submitted, by service.",
        "At threads.max_age_seconds all the time: tokens are never free, and the submit quota is the bottleneck.",
        ("service",),
        FAST,
    ),
    Metric(
        "batched_events",
        Counter,
        "Events submitted in multimodal tasks, by service; divided by the submissions it is the events of a task.",
        "One for each submission on busy threads: look at mapping.thread and threads.max_age_seconds.",
        ("service",),
    ),
    Metric(
        "tasks_resumed",
        Counter,
        "Events whose task had been submitted before, and was waited for instead of being submitted again, by service.",
        "Grows after restarts and rebalances only; each one is a payment saved.",
        ("service",),
    ),
    Metric(
        "cache_hits",
        Counter,
        "Calls that were not made since the same content had been judged before, by service.",
        "Few, though users repeat themselves: raise cache.seconds, or look at cache.normalize.",
        ("service",),
    ),
    Metric(
        "cache_joined",
        Counter,
        "Calls that were not made since one for the same content was under way, by service.",
        "Many are normal where the same text is posted by many at once.",
        ("service",),
    ),
    Metric(
        "cache_misses",
        Counter,
        "Judgements that a call was made for, since their content was not known, by service.",
        "Hits and joined calls over all three are what the cache saves; see saved_units.",
        ("service",),
    ),
    Metric(
        "cache_entries",
        Gauge,
        "Answers that are remembered.",
        "Far below what is judged within cache.seconds: cache.max_bytes is the limit.",
    ),
    Metric(
        "cache_bytes",
        Gauge,
        "Bytes that remembered answers take.",
        "At cache.max_bytes all the time: answers are forgotten before their time; raise it if there are too few hits.",
    ),
    Metric(
        "saved_units",
        Counter,
        "Units that were not billed since a call was not made, by what saved it and by moderation type.",
        "With billed_units it is what would have been billed without any saving.",
        ("how", "moderation_type"),
    ),
    Metric(
        "saved_cost",
        Counter,
        "Cost of the saved units at the configured prices, by what saved it, moderation type and currency.",
        "An estimate at list prices, like billed_cost.",
        ("how", "moderation_type", "currency"),
    ),
    Metric(
        "takeovers",
        Counter,
        "Times that partitions were taken over and opened.",
        "Often without a deployment: members come and go; look at rebalances and at the restarts of the pods.",
    ),
    Metric(
        "takeover_seconds",
        Histogram,
        "Time from an assignment of partitions until their records are let in.",
        "Over two seconds: the coordinator or the state topic is slow to answer.",
        (),
        WHOLE,
    ),
    Metric(
        "tasks_pending",
        Gauge,
        "Multimodal tasks whose results are waited for.",
        "Grows without end: results come slower than tasks are submitted; look at task_polls and callbacks.",
    ),
    Metric(
        "task_seconds",
        Histogram,
        "Time from submitting a multimodal task to its result, by how the result came.",
        "Polls that bring results although callbacks are configured: the callbacks do not arrive.",
        ("how",),
        TASKS,
    ),
    Metric(
        "tasks_given_up",
        Counter,
        "Multimodal tasks whose results never came, by the reason; their events go to review.",
        "Ask the vendor about the tasks named in the log; results are deleted 24 hours after their submission.",
        ("reason",),
    ),
    Metric(
        "task_polls",
        Counter,
        "Queries for results of multimodal tasks, by outcome.",
        "Many `running` for each `result`: the query quota limits how many tasks can be submitted; use callbacks.",
        ("outcome",),
    ),
    Metric(
        "callbacks",
        Counter,
        "Callbacks received, by outcome.",
        "Only `forged`: the account id or the secret is wrong; now and then: somebody tries the open port.",
        ("outcome",),
    ),
    Metric(
        "state_records_skipped",
        Counter,
        "Records of the state topic that could not be used, by reason.",
        "By `version`: another process of the group is newer; by any other: something else writes to the topic.",
        ("reason",),
    ),
    Metric(
        "state_writes_failed",
        Counter,
        "Records that the state topic did not take, by what they were.",
        "Tombstones that fail are harmless; callbacks come again; a task that fails ends the process.",
        ("what",),
    ),
    *DELIVERY,
    Metric(
        "kafka_certificate_expires_timestamp_seconds",
        Gauge,
        "When the first certificate of a file expires, in seconds since the epoch, by the setting that names the file.",
        "Less than two weeks ahead: have it renewed; a new file is used as soon as it is there.",
        ("file",),
    ),
    Metric(
        "kafka_certificates_stale",
        Gauge,
        "1 while a certificate file holds what cannot be used, and what it held before is still in use, else 0.",
        "The log says what is wrong: mend the file before the certificates in use expire, or the process is restarted.",
    ),
    Metric(
        "kafka_token_expires_timestamp_seconds",
        Gauge,
        "When the token for the brokers expires, in seconds since the epoch; 0 where there is none or it does not say.",
        "In the past: no connection can be opened; the log says why the token file or endpoint gives no other one.",
    ),
    Metric(
        "kafka_refused",
        Gauge,
        "1 while no broker lets a new connection of ours in, else 0.",
        "The log says why: a password, a certificate or a listener has changed, or the brokers are away.",
    ),
    Metric(
        "credentials_expire_at_seconds",
        Gauge,
        "When the credentials in use expire, in seconds since the epoch; 0 where they do not say.",
        "They are renewed 15 minutes before: less time left means that renewing fails, and the log says why.",
    ),
    Metric(
        "holding",
        Gauge,
        "1 while nothing is judged for this reason, else 0.",
        "The reason says what a person has to do: pay, grant a right, or mend the credentials.",
        ("reason",),
    ),
    Metric(
        "breaker_state",
        Gauge,
        "What a service's breaker lets out: 0 all calls, 1 one at a time, 2 one after each pause since most failed.",
        "At 2 nothing of this service is judged, and nothing is lost: look at the codes in calls.",
        ("service",),
    ),
    Metric(
        "breaker_openings",
        Counter,
        "Times that a service was held since most of its calls had failed.",
        "Many in an hour: the service fails now and then; send the vendor the request ids in the log.",
        ("service",),
    ),
    Metric(
        "up_since_seconds",
        Gauge,
        "When this process began to work, in seconds since the epoch.",
        "Jumps at each restart.",
    ),
    Metric(
        "config_reloads",
        Counter,
        "Times the settings were read again while the program ran, by result.",
        "Look into the log: of `refused` it names the faults, and of `restart` the keys that wait for one.",
        ("result",),
    ),
    Metric(
        "config_reload_failed",
        Gauge,
        "1 while the settings that were read last are refused, and those from before are at work; else 0.",
        "Mend the file before the next restart: the program would not start with it.",
    ),
    Metric(
        "config_restart_needed",
        Gauge,
        "Keys that differ between the settings read last and those at work, since they need a restart.",
        "Restart when it suits; the log names the keys.",
    ),
    Metric(
        "build",
        Gauge,
        "Always 1; its label names the version.",
        "Two versions for long: a roll-out is stuck.",
        ("version",),
    ),
    *MONEY,
)


class Metrics:
    """The catalogue's metrics in a registry of their own, and the last errors, which are too many words for metrics."""

    def __init__(self) -> None:
        self.errors = RecentErrors()
        self.registry = CollectorRegistry(auto_describe=False)
        self._made = {metric.name: metric.kind(metric.labels, metric.buckets) for metric in CATALOGUE}
        self.registry.register(_Catalogue(self._made))

    def counter(self, name: str) -> Counter:
        """The counter of this name. Raises KeyError or TypeError where the catalogue has no such counter."""
        return _of_kind(self._made[name], Counter)

    def gauge(self, name: str) -> Gauge:
        """The gauge of this name."""
        return _of_kind(self._made[name], Gauge)

    def histogram(self, name: str) -> Histogram:
        """The histogram of this name."""
        return _of_kind(self._made[name], Histogram)

    def totals(self, name: str) -> dict[tuple[str, ...], float]:
        """What a counter has counted so far, by the values of its labels."""
        return {labels: one.value for labels, one in self.counter(name).each()}

    def readings(self, name: str) -> dict[tuple[str, ...], float]:
        """What a gauge shows now, by the values of its labels."""
        return {labels: one.value for labels, one in self.gauge(name).each()}

    def render(self) -> bytes:
        """All metrics in OpenMetrics text."""
        return bytes(generate_latest(self.registry))  # type: ignore[no-untyped-call]  # the library has no types here

    def render_for(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the form that this `Accept` header asks for, and its content type.

        Only OpenMetrics has exemplars; who does not ask for it gets Prometheus' older text.
        """
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type

    def __iter__(self) -> Iterator[Metric]:
        return iter(CATALOGUE)


class _Catalogue(Collector):
    """What a scrape reads: all metrics, each with its sentences."""

    def __init__(self, made: Mapping[str, Meter]) -> None:
        self._made = made

    def collect(self) -> Iterator[Family]:
        for metric in CATALOGUE:
            yield self._made[metric.name].family(PREFIX + metric.name, f"{metric.help} {metric.advice}")


def _of_kind(made: object, kind: type[_M]) -> _M:
    if not isinstance(made, kind):
        raise TypeError(f"{made!r} is no {kind.__name__}")
    return made
