"""The account's limits: how many calls may be sent, and when; nothing here knows what a call is."""

from __future__ import annotations

from consumer.quota.breaker import Breaker
from consumer.quota.bucket import Bucket
from consumer.quota.guard import Guard, OpenGuard, StallGuard


__all__ = ["Breaker", "Bucket", "Guard", "OpenGuard", "StallGuard"]
