"""YAML and environment → `Settings`, each value knowing where it came from. Nothing here connects to anything."""

from __future__ import annotations

from consumer.settings.loaded import Loaded, Value, values
from consumer.settings.loader import load
from consumer.settings.models import Settings


__all__ = ["Loaded", "Settings", "Value", "load", "values"]
