"""A client for one kind of request, signed POSTs to one host: a fifth of the work of one that can do everything."""

from __future__ import annotations

from consumer.moderation.calling.lean.transport import LeanTransport


__all__ = ["LeanTransport"]
