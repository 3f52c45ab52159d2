"""What moderating a set of records would cost and how long it would take, found by doing all of it but the calls."""

from __future__ import annotations
