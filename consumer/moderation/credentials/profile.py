"""A profile of the vendor's command line: `~/.aliyun/config.json`, read anew each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from consumer.errors import StartError
from consumer.moderation.credentials.lease import Lease
from consumer.moderation.protocol.signing import Credentials


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["ProfileFile"]


# The modes that hold credentials themselves; the others say how to fetch some.
_MODES = {
    "AK": ("access_key_id", "access_key_secret"),
    "StsToken": ("access_key_id", "access_key_secret", "sts_token"),
}


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """Reads one profile; the file's current one when `profile` is None."""

    file: Path
    profile: str | None = None

    async def fetch(self) -> Lease:
        """The credentials in the profile, which do not say when they expire; see `Provider`."""
        try:
            config: Any = orjson.loads(self.file.read_bytes())  # a small file of our own host
            name = self.profile or config["current"]
            found = next((one for one in config["profiles"] if one["name"] == name), None)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StartError(
                f"{self.file} cannot be read: {reason}", "set moderation.credentials.profile_file"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(f"{self.file} holds no profiles", "make one with `aliyun configure`") from error
        if found is None:
            raise StartError(f"{self.file} has no profile {name}", "correct moderation.credentials.profile")
        mode = found.get("mode", "AK")
        if mode not in _MODES:
            raise StartError(
                f"profile {name} in {self.file} has the mode {mode}",
                f"use one with the mode {' or '.join(_MODES)}, or set moderation.credentials.provider",
            )
        values = [found.get(key) for key in _MODES[mode]]
        if not all(isinstance(value, str) and value for value in values):
            raise StartError(f"profile {name} in {self.file} is not complete", f"it needs {', '.join(_MODES[mode])}")
        return Lease(Credentials(*values))
