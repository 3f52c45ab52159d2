"""Settings → the parts that judge events: what the sidecar and an embedded moderator have in common."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from consumer.moderation.calling.client import ModerationClient
from consumer.moderation.calling.exchange import Exchange
from consumer.moderation.protocol.billing import price_list
from consumer.moderation.protocol.endpoints import endpoint_for, fallback_for, region_for
from consumer.moderation.protocol.services import QUOTAS, default_routes, resolve
from consumer.policy import Policy, PolicyPlugin
from consumer.quota import Bucket
from consumer.routing import Route, When, WhenPlugin
from consumer.verdict import ACTIONS, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.calling.purse import Purse
    from consumer.moderation.calling.transport import Transport
    from consumer.moderation.credentials import CredentialsSource
    from consumer.moderation.protocol.billing import Price
    from consumer.moderation.protocol.services import Quota
    from consumer.plugins.calling import Kind, Plugin
    from consumer.quota import Guard
    from consumer.settings import EmbeddedSettings, Settings
    from consumer.settings.models import RouteWhen
    from consumer.verdict import Action


__all__ = ["buckets", "hand_out", "limits", "moderation_client", "needed_topics", "policy", "routes"]


def needed_topics(settings: Settings) -> dict[str, str]:
    """Every topic that is read or written and has to be there, and the key that names it."""
    output = settings.output
    needed = dict.fromkeys(settings.kafka.topics, "kafka.topics")
    if any(action not in output.topics for action in ACTIONS):
        needed |= {output.topic: "output.topic"}
    needed |= {topic: f"output.topics.{action}" for action, topic in output.topics.items()}
    return needed | {output.dead_letters: "output.dead_letters"}


def routes(settings: EmbeddedSettings, metrics: Metrics | None = None) -> tuple[Route, ...]:
    """The configured routes, or the default ones for the region; `metrics` count what plugins fail at.

    Raises:
        SettingsError: a plugin cannot be used.
    """
    if not settings.routes:
        own = settings.moderation
        return default_routes(region_for(own.region, own.network, own.endpoint))
    return tuple(
        Route(
            one.name,
            tuple(one.services),
            _when(one.when, f"routes[{index}].when.plugin", metrics),
            weight=one.weight,
            deadline_seconds=one.deadline_seconds,
            on_deadline=one.on_deadline,
        )
        for index, one in enumerate(settings.routes)
    )


def _when(given: RouteWhen, setting: str, metrics: Metrics | None) -> When:
    when = When(
        kinds=frozenset(given.kind),
        origins=frozenset(given.origin),
        languages=frozenset(tag.lower() for tag in given.language),
        topics=frozenset(given.topic),
        has_text=given.has_text,
        has_images=given.has_images,
    )
    if given.plugin is None:
        return when
    return WhenPlugin(**_fields(when), rule=_plugin("rule", given.plugin, setting, metrics))


def policy(settings: EmbeddedSettings, metrics: Metrics | None = None) -> Policy:
    """The configured policy; `metrics` count what its plugin fails at.

    Raises:
        SettingsError: its plugin cannot be used.
    """
    own = settings.policy
    levels: dict[RiskLevel, Action] = {
        RiskLevel.NONE: own.none,
        RiskLevel.LOW: own.low,
        RiskLevel.UNKNOWN: own.unknown,
        RiskLevel.MEDIUM: own.medium,
        RiskLevel.HIGH: own.high,
    }
    plain = Policy(levels, dict(own.labels))
    if own.plugin is None:
        return plain
    return PolicyPlugin(**_fields(plain), plugin=_plugin("policy", own.plugin, "policy.plugin", metrics))


def _fields(given: When | Policy) -> dict[str, Any]:
    return {field.name: getattr(given, field.name) for field in fields(given)}


def _plugin(kind: Kind, name: str, setting: str, metrics: Metrics | None) -> Plugin[Any]:
    from consumer.plugins.loading import load  # noqa: PLC0415  # who has no plugins need not wait for it at each start

    return load(kind, name, setting, metrics)


def limits(settings: EmbeddedSettings) -> Mapping[str, int]:
    """The account's limits in calls a second, by the names of the buckets."""
    quota = settings.quota
    return {
        "text": quota.text_per_second,
        "image": quota.image_per_second,
        "image_llm": quota.image_llm_per_second,
        "multimodal_submit": quota.multimodal_submit_per_second,
        "multimodal_query": quota.multimodal_query_per_second,
    }


def buckets(settings: EmbeddedSettings, clock: Clock) -> Mapping[Quota, Bucket]:
    """A bucket for each of the account's limits, with all of its tokens."""
    jitter_seconds, all_of = settings.quota.jitter_seconds, limits(settings)
    return {name: Bucket(all_of[name], jitter_seconds=jitter_seconds, clock=clock) for name in QUOTAS}


def hand_out(buckets: Mapping[Quota, Bucket], tokens: Mapping[str, int]) -> None:
    """Leave each bucket with this process's part of its tokens; one that is not named has none."""
    for name, bucket in buckets.items():
        bucket.hand_out(tokens.get(name, 0))


def moderation_client(
    settings: EmbeddedSettings,
    *,
    transport: Transport,
    tokens: Mapping[Quota, Bucket],
    clock: Clock,
    metrics: Metrics,
    credentials: CredentialsSource,
    guard: Guard,
    prices: Mapping[str, Price] | None = None,
    purse: Purse | None = None,
    exchange: Callable[..., Exchange] = Exchange,
) -> ModerationClient:
    """The client of the moderation service, as configured; `prices` stand in for those of the settings."""
    own = settings.moderation
    return ModerationClient(
        transport,
        endpoint=endpoint_for(own.region, own.network, own.endpoint),
        credentials=credentials,
        tokens=tokens,
        prices=price_list(own.prices) if prices is None else prices,
        retry=own.retry,
        hold_probe_seconds=own.hold_probe_seconds,
        fallback=fallback_for(own.fallback_endpoint),
        on_denied=own.on_denied,
        services=resolve(own.services),
        clock=clock,
        metrics=metrics,
        guard=guard,
        purse=purse,
        exchange=exchange,
    )
