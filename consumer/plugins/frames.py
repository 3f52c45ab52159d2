"""Where an error in somebody's code comes from, in a word that holds nothing of what it was about."""

from __future__ import annotations

import traceback
from pathlib import Path


__all__ = ["place_of"]


_IMPORT = "<frozen importlib"


def place_of(error: BaseException, file: str | None = None) -> str:
    """The file's name and line of the frame that raised it: of the innermost one in `file`, where there is one."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [one for one in frames if one[0] == file] or [one for one in frames if not one[0].startswith(_IMPORT)]
    name, line = own[-1] if own else ("", 0)
    return f"{Path(name).name}:{line}" if name else "an unknown place"
