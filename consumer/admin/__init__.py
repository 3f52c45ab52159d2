"""The admin port: /metrics, /livez, /readyz and /status."""

from consumer.admin.server import AdminServer, Health, Watched


__all__ = ["AdminServer", "Health", "Watched"]
