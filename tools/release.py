"""What a release consists of: `python -m tools.release` writes wheel, sdist, SBOMs and their checksums into dist/.

The backend that builds them is the one of locks/build.txt, checked by its hashes; the same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tools import sbom
from tools.dependencies import ROOT


__all__ = ["build", "release"]


_LOCK = ROOT / "locks" / "build.txt"
_BUILD = """\
import sys
from hatchling.build import build_sdist, build_wheel

build_wheel(sys.argv[1])
build_sdist(sys.argv[1])
"""


def _backend() -> Path:
    """Where the locked backend is installed; it is fetched once for each state of its lock.

    Raises:
        subprocess.CalledProcessError: It could not be fetched.
    """
    folder = ROOT / ".cache" / "build" / hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        # Beside its place first: others may look at the cache meanwhile.
        parts = folder.with_name(f"{folder.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes"]
        subprocess.run(  # noqa: S603 - nothing of it comes from outside
            [*pip, "--no-deps", "--only-binary", ":all:", "--target", str(parts), "-r", str(_LOCK)], check=True
        )
        if not folder.exists():
            parts.rename(folder)
    return folder


def build(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist into `folder`, and return their paths.

    Raises:
        subprocess.CalledProcessError: The backend could not be fetched, or failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "1767225600")  # the date that the image's files have, too
    environment = {**os.environ, "PYTHONPATH": str(_backend()), "SOURCE_DATE_EPOCH": epoch}
    command = [sys.executable, "-c", _BUILD, str(folder.resolve())]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)  # noqa: S603 - nothing of it comes from outside
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def release(folder: Path) -> list[Path]:
    """Write all files of a release into `folder`, the file of their checksums as the last.

    Raises:
        UnlikeTheLock: What is installed is not what the locks name.
        subprocess.CalledProcessError: A tool failed.
    """
    for old in [*folder.glob("*.whl"), *folder.glob("*.tar.gz"), *folder.glob("*.cdx.json")]:
        old.unlink()
    files = [*build(folder), *sbom.write(folder)]
    sums = folder / "SHA256SUMS"
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(files)]
    sums.write_text("".join(lines), encoding="utf-8")
    return [*files, sums]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build what a release consists of.")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist", help="where to (dist)")
    for written in release(parser.parse_args().folder):
        print(written)  # noqa: T201 - the answer of a command
