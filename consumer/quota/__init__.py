"""The account's limits: how many calls may be sent, and when; nothing here knows what a call is."""

from __future__ import annotations

from consumer.quota.bucket import Bucket


__all__ = ["Bucket"]
