"""Writes the bytecode of all that the program imports below a folder, for an image whose root is read-only.

Official Python images have no bytecode of the standard library, and a user who may not write anything compiles it at
every start. What is written depends on the sources alone: not on their dates, and not on what was compiled before.
"""

from __future__ import annotations

import importlib
import pkgutil
import py_compile
import subprocess
import sys
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from types import CodeType


__all__: list[str] = []


_OPTIONAL = ("uvloop",)  # loaded when the event loop is made


def _imported() -> list[str]:
    """The sources of everything that is loaded when every module of the program is."""
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    get_code = SourceFileLoader.get_code

    def noted(loader: SourceFileLoader, name: str) -> CodeType | None:
        """Also of modules whose import fails in the end, and of which no other trace is left."""
        loaded.add(loader.path)
        return get_code(loader, name)

    SourceFileLoader.get_code = noted  # type: ignore[assignment,method-assign]  # what every import of a source goes through
    import consumer  # noqa: PLC0415  # only the process that lists modules loads them

    ours = [module.name for module in pkgutil.walk_packages(consumer.__path__, "consumer.")]
    for name in (*ours, *_OPTIONAL):
        if not name.endswith("__main__"):
            with suppress(ImportError):  # parts that need an extra which is not installed
                importlib.import_module(name)
    return sorted(file for file in loaded if file and file.endswith(".py"))


def main(target: str) -> None:
    """Compile each source in a fresh interpreter, and in order."""
    if target == "--list":
        sys.stdout.write("\n".join(_imported()))
        return
    listed = subprocess.run([sys.executable, __file__, "--list"], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  # itself
    sources = [source for source in listed.stdout.splitlines() if Path(source).resolve() != Path(__file__).resolve()]
    sys.pycache_prefix = target
    for source in sources:
        py_compile.compile(
            source,
            cache_from_source(source),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    sys.stdout.write(f"bytecode of {len(sources)} modules in {target}\n")


if __name__ == "__main__":
    main(sys.argv[1])
