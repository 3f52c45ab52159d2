"""YAML and environment → `Settings`, each value knowing where it came from. Nothing here connects to anything."""

from __future__ import annotations

from consumer.settings.loaded import Loaded, Value, values
from consumer.settings.loader import KafkaSettings, load, load_embedded, load_kafka, sources
from consumer.settings.models import EmbeddedSettings, Settings


__all__ = [
    "EmbeddedSettings",
    "KafkaSettings",
    "Loaded",
    "Settings",
    "Value",
    "load",
    "load_embedded",
    "load_kafka",
    "sources",
    "values",
]
