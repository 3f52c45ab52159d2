"""What would be saved: the same records under other settings, each with one saving less or one more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from consumer.batching.agreement import Agreement, risky_needed
from consumer.moderation.packable import packable
from consumer.moderation.protocol.services import resolve


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from consumer.estimate.outcome import Outcome
    from consumer.settings import Settings
    from consumer.settings.saving import Packed


__all__ = ["AS_CONFIGURED", "Variant", "measured", "variants"]


AS_CONFIGURED: Final = "as configured"

_EVIDENCE_VERSION: Final = 1
# Which longer windows are tried.
_PATIENT: Final = {"max_age_seconds": 10.0, "quiet_seconds": 5.0}
_FORMS: Final = ["unicode", "invisible", "repeats"]
_NO_CACHE: Final = {"seconds": 0.0}
_ALONE: Final = {"max_age_seconds": 0.0}
# What is remembered of the risk rate, in texts.
_RATE_TEXTS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Variant:
    """Other settings, and what people call them; `evidence` is what would have been measured of packed texts."""

    name: str
    settings: Settings
    evidence: bytes | None = None


def variants(settings: Settings, seen: Outcome, *, risk: float) -> Iterator[Variant]:
    """What is worth trying, by what was seen as configured: one variant for each saving that these records allow."""
    cache, threads = settings.cache, settings.threads
    services = resolve(settings.moderation.services)
    called = [services[name] for _, name in seen.calls if name in services]
    texts = {service.name for service in called if service.media == "text"}
    images = any(service.media == "image" for service in called)
    tasks = any(service.threads for service in called)
    packs = texts & packable(services, settings.moderation.services, settings.packed.services)
    evidence = measured(settings.packed, packs, risk)
    more: dict[str, dict[str, Any]] = {}

    yield Variant("without any saving", _changed(settings, cache=_NO_CACHE, threads=_ALONE, packed={"mode": "off"}))
    if cache.seconds and (texts or (images and cache.image_urls)):
        yield Variant("without the cache", _changed(settings, cache=_NO_CACHE))
    if threads.max_age_seconds and tasks:
        yield Variant("without threads together", _changed(settings, threads=_ALONE))
    yield Variant(AS_CONFIGURED, settings)
    if cache.seconds and texts and set(cache.normalize) != set(_FORMS):
        more["cache"] = {"normalize": _FORMS}
        yield Variant("texts normalised, too", _changed(settings, cache={"normalize": _FORMS}))
    if cache.seconds and images and not cache.image_urls:
        more["cache"] = {**more.get("cache", {}), "image_urls": True}
        yield Variant("images by URL, too", _changed(settings, cache={"image_urls": True}))
    if tasks and threads.max_age_seconds < _PATIENT["max_age_seconds"]:
        more["threads"] = _PATIENT
        yield Variant("threads waiting up to 10 s", _changed(settings, threads=_PATIENT))
    if packs:
        more["packed"] = {"mode": "on"}
        yield Variant("texts packed, too", _changed(settings, packed={"mode": "on"}), evidence)
    if len(more) > 1:
        yield Variant("all of these", _changed(settings, **more), evidence)


def measured(packed: Packed, services: Collection[str], risk: float) -> bytes:
    """What a group would have noted of packed texts that miss nothing: enough to have these services' texts packed."""
    risky = 2 * risky_needed(packed.least_agreement)
    texts = max(packed.least_samples, risky, round(risky / risk) if risk else 0)
    counts = Agreement(texts, risky, calls=texts).to_dict()
    rate = [risk * _RATE_TEXTS, _RATE_TEXTS]
    return orjson.dumps(
        {"version": _EVIDENCE_VERSION, "services": {name: {**counts, "rate": rate} for name in services}}
    )


def _changed(settings: Settings, **sections: Mapping[str, Any]) -> Settings:
    """The same settings, but for some keys of some sections."""
    update = {name: getattr(settings, name).model_copy(update=dict(keys)) for name, keys in sections.items()}
    return settings.model_copy(update=update)
