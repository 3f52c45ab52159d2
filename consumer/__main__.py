"""`python -m consumer` is the command `moderation-consumer`."""

from __future__ import annotations

from consumer.cli import main


__all__: list[str] = []


if __name__ == "__main__":
    main()
