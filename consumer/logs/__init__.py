"""How the program logs: structured lines, for people or for machines, without content and without secrets."""

from consumer.logs.setup import Logging, configure, set_level


__all__ = ["Logging", "configure", "set_level"]
