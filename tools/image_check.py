"""Builds the image twice without Docker, compares and weighs the two, and runs one as a container would.

Needs Linux, root, and Debian's `buildah` and `debootstrap`. No base image is fetched: one that is made like Python's
own, of Debian's packages, takes its name. It is kept in `.cache/image`. The exit code is 0 when all is as promised.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__: list[str] = []


ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "image"
BASE = "docker.io/library/python:3.13-slim-trixie"
EPOCH = 1_767_225_600
# Uncompressed, as a node stores it; and what of it is ours, which is the same on every base.
MOST_BYTES = 150_000_000
MOST_OWN_BYTES = 36_000_000
NEEDED = ("buildah", "debootstrap", "unshare")

# Python's own image has no manuals, no translations and no bytecode; neither must its stand-in, to be as heavy.
SLIM = r"""
rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/man/* var/cache/debconf/*-old var/log/*.log var/log/apt
find usr/share/doc -mindepth 2 -type f ! -name copyright -delete
find usr/share/locale -mindepth 1 -maxdepth 1 ! -name en -exec rm -rf {} +
find . -name __pycache__ -prune -exec rm -rf {} +
"""

# What a container runtime does before it starts a program: PID 1, its user, no privileges to gain, nothing to write to.
CONTAINER = """
import ctypes, json, os, subprocess, sys
job = json.loads(sys.argv[1])
def mount(*arguments): subprocess.run(["mount", *arguments], check=True)
mount("--make-rprivate", "/")
mount("--bind", job["root"], job["root"])
mount("-t", "proc", "proc", job["root"] + "/proc")
mount("--rbind", "/dev", job["root"] + "/dev")
mount("--bind", "-o", "ro", job["mounted"], job["root"] + "/mnt")
mount("-o", "remount,bind,ro", job["root"])
os.chroot(job["root"])
os.chdir("/")
os.umask(0o022)
os.setgroups([])
os.setresgid(job["gid"], job["gid"], job["gid"])
os.setresuid(job["uid"], job["uid"], job["uid"])
PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG = 38, 1
libc = ctypes.CDLL(None)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0):
    sys.exit("prctl failed")
assert os.getpid() == 1
os.execvpe(job["command"][0], job["command"], job["environment"])
"""


class Failure(Exception):
    """Something about the image is not as promised."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: its id, what its configuration says, and the uncompressed bytes of each layer."""

    identity: str
    config: dict[str, Any]
    diff_ids: tuple[str, ...]
    layer_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a command in the container came to."""

    code: int
    output: str
    seconds: float


class Buildah:
    """buildah with a storage of its own, so that nothing else on the machine sees or cleans it."""

    def __init__(self, storage: Path) -> None:
        storage.mkdir()
        self._options = ["--root", str(storage / "root"), "--runroot", str(storage / "run"), "--storage-driver"]
        self._options.append("overlay")
        try:
            self("images")
        except Failure:  # the files of this machine are an overlay themselves; copying all of them takes longer
            shutil.rmtree(storage)
            self._options[-1] = "vfs"

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command of buildah; its output.

        Raises:
            Failure: it failed, with the end of what it said.
        """
        command = ["buildah", *self._options, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
        if done.returncode:
            raise Failure(f"buildah {arguments[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout.strip()

    def build(self, tag: str, source: Path, *arguments: str) -> None:
        """Build the Dockerfile anew. The certificates of this machine are seen by the build, and not kept."""
        options = ["--no-cache", "--pull-never", "--isolation", "chroot", "--network", "host"]
        options += ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", "--timestamp", str(EPOCH)]
        options += ["--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", *arguments]
        self("bud", *options, "--tag", tag, source)

    def image(self, tag: str) -> Image:
        """What was built."""
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            self("push", "--quiet", "--disable-compression", tag, f"dir:{name}")
            manifest = json.loads(Path(name, "manifest.json").read_text(encoding="utf-8"))
            identity = manifest["config"]["digest"]
            config = json.loads(Path(name, identity.removeprefix("sha256:")).read_text(encoding="utf-8"))
        sizes = tuple(layer["size"] for layer in manifest["layers"])
        return Image(identity, config["config"], tuple(config["rootfs"]["diff_ids"]), sizes)

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        """The files of an image."""
        container = self("from", "--pull-never", tag)
        try:
            yield Path(self("mount", container))
        finally:
            self("rm", container)


class Container:
    """Runs commands in an image: as its user and PID 1, with its environment, and with a root that is read-only."""

    def __init__(self, root: Path, image: Image) -> None:
        self._root = root
        self._image = image

    @contextmanager
    def started(self, *arguments: str, entrypoint: Sequence[str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """The image's program with these arguments; it is killed at the end, if it still runs."""
        config = self._image.config
        uid, gid = map(int, config["User"].split(":"))
        job = {
            "root": str(self._root),
            "mounted": str(ROOT / "config" / "compose"),
            "uid": uid,
            "gid": gid,
            "command": [*(config["Entrypoint"] if entrypoint is None else entrypoint), *arguments],
            "environment": dict(pair.split("=", 1) for pair in config["Env"])
            | {"ALIBABA_CLOUD_ACCESS_KEY_ID": "testid", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testsecret"},
        }
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, "-c", CONTAINER]
        with subprocess.Popen(  # noqa: S603  # our own words
            [*command, json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, *arguments: str, entrypoint: Sequence[str] | None = None) -> Result:
        """Run it to its end."""
        started = time.perf_counter()
        with self.started(*arguments, entrypoint=entrypoint) as process:
            output, _ = process.communicate(timeout=30)
        return Result(process.returncode, output, time.perf_counter() - started)


def copy_source(target: Path) -> Path:
    """A copy of what the build may see, so that a change meanwhile does not make two builds differ."""
    names = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]
    for name in ["Dockerfile", ".dockerignore", *(line[1:] for line in names)]:
        made = target / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, made, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, made)
    return target


def _as_elsewhere(source: Path) -> Path:
    """The same source as another person has it: with other dates, and files that the group may write."""
    for path in source.rglob("*"):
        path.touch()
        path.chmod(0o775 if path.is_dir() else 0o664)
    return source


def make_base(buildah: Buildah) -> None:
    """Put the stand-in for Python's image into the storage, made by debootstrap the first time."""
    archive = CACHE / "base-trixie.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            packages = "--include=python3,python3-venv,ca-certificates,netbase,tzdata"
            _sh("debootstrap", "--variant=minbase", packages, "trixie", name)
            _sh("sh", "-ceu", SLIM, cwd=Path(name))
            made = archive.with_suffix(".part")
            _sh("tar", "--create", "--numeric-owner", "--file", str(made), "--directory", name, ".")
            made.replace(archive)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, archive, "/")
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", container)
    buildah("commit", "--quiet", "--rm", container, BASE)


def _sh(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    if done.returncode:
        raise Failure(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def expect(told: bool, what: str, detail: str = "") -> None:  # noqa: FBT001  # what is expected, as in assert
    """Print what holds.

    Raises:
        Failure: it does not.
    """
    if not told:
        raise Failure(f"not so: {what}" + (f"\n{detail}" if detail else ""))
    sys.stdout.write(f"  ok  {what}\n")
    sys.stdout.flush()


def check_files(root: Path, image: Image) -> None:
    """What is in it, and how much."""
    ours = [path for path in (root / "opt").rglob("*") if not path.is_symlink()]
    own, whole = sum(path.stat().st_size for path in ours if path.is_file()), sum(image.layer_bytes)
    expect(whole < MOST_BYTES, f"{whole / 1e6:.1f} MB in all, less than {MOST_BYTES / 1e6:.0f}")
    expect(own < MOST_OWN_BYTES, f"{own / 1e6:.1f} MB of it are ours, less than {MOST_OWN_BYTES / 1e6:.0f}")
    writable = [path for path in ours if path.stat().st_mode & 0o022 or path.stat().st_uid]
    expect(not writable, "all of it belongs to root, and nobody else may write it", str(writable[:5]))
    special = [path for path in ours if path.stat().st_mode & 0o6000]
    expect(not special, "nothing of it runs as somebody else", str(special[:5]))
    stray = [path for path in ours if path.name in {"__pycache__", "tests", "pip", "hatchling", ".git"}]
    expect(not stray, "no tests, no build tools and no strays", str(stray[:5]))
    expect(image.config["Entrypoint"][0] != "/bin/sh", "the entry point starts no shell")


def check_runs(container: Container, version: str) -> None:
    """That it works as a container that may nothing."""
    helped = container.run("--help")
    expect(helped.code == 0 and "dead-letters" in helped.output, f"--help, in {helped.seconds:.2f} s", helped.output)
    plain = container.run(*())
    expect(plain.code == 0 or "Usage" in plain.output, "a bare start says what there is", plain.output)
    versioned = container.run("--version")
    expect(versioned.output.strip() == version, f"--version says {version}", versioned.output)
    checked = container.run("check", "/mnt/consumer.yaml")
    expect(checked.code == 0, "check takes the configuration of compose.yaml", checked.output)
    refused = container.run("run", "/mnt/nowhere.yaml")
    expect(refused.code == os.EX_CONFIG, "a wrong configuration is exit code 78", refused.output)
    loaded = container.run("-v", "-c", "import consumer.app, consumer.cli.run, uvloop", entrypoint=["python"])
    slow = [line for line in loaded.output.splitlines() if "code object from" in line and not line.endswith(".pyc'")]
    compiled = [line for line in slow if ".pyc" not in line]
    expect(loaded.code == 0 and not compiled, "nothing is compiled at start", "\n".join(compiled[:10]))
    who = container.run("-c", _WHO, entrypoint=["python"])
    expect(who.output.strip() == "1 10001 10001 EROFS", "PID 1 of user 10001 on a read-only root", who.output)
    for number, name in ((15, "SIGTERM"), (2, "SIGINT")):
        code, output, seconds = _stopped(container, number)
        expect(code == 0 and "Ledger" in output, f"PID 1 ends in order after {name}, in {seconds:.2f} s", output)


_WHO = """
import errno, os
try:
    open("/tmp/x", "w")
except OSError as error:
    print(os.getpid(), os.getuid(), os.getgid(), errno.errorcode[error.errno])
"""


def _stopped(container: Container, number: int) -> tuple[int, str, float]:
    """Send a signal to the program, which is PID 1 of its own processes, once it says that it listens."""
    with container.started("simulate", "--port", "0") as process:
        if process.stdout is None:
            raise Failure("no pipe")
        greeting = process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        if len(children) != 1:
            raise Failure(f"one process was expected to run, not {children}: {greeting}{process.stdout.read()}")
        sent = time.perf_counter()
        os.kill(int(children[0]), number)
        output, _ = process.communicate(timeout=30)
        return process.returncode, greeting + output, time.perf_counter() - sent


def check(buildah: Buildah, work: Path, locks: Sequence[str]) -> None:
    """All of it."""
    sys.path.insert(0, str(ROOT))
    import consumer  # noqa: PLC0415  # its version is all that is asked of it

    make_base(buildah)
    here = copy_source(work / "here")
    buildah.build("localhost/first", here)
    shutil.copytree(here, work / "there")
    buildah.build("localhost/second", _as_elsewhere(work / "there"))
    first, second = buildah.image("localhost/first"), buildah.image("localhost/second")
    if first.diff_ids != second.diff_ids:
        with buildah.mounted("localhost/first") as one, buildah.mounted("localhost/second") as other:
            differing = subprocess.run(["diff", "-rq", one / "opt", other / "opt"], capture_output=True, text=True)  # noqa: PLW1510,S603,S607  # differing is its answer
        raise Failure(f"two builds differ:\n{differing.stdout[:2000]}")
    expect(first.diff_ids == second.diff_ids, f"two builds give the same layers, {first.diff_ids[-1][:23]}")
    expect(first.identity == second.identity, f"and the same image, {first.identity[:23]}")
    with buildah.mounted("localhost/first") as root:
        check_files(root, first)
        check_runs(Container(root, first), consumer.__version__)
    for lock in locks:
        buildah.build(f"localhost/{lock}", here, "--build-arg", f"LOCK={lock}")
        with buildah.mounted(f"localhost/{lock}") as root:
            image = buildah.image(f"localhost/{lock}")
            done = Container(root, image).run("--version")
            size = sum(image.layer_bytes) / 1e6
            expect(done.code == 0, f"LOCK={lock} builds and starts, {size:.1f} MB in all", done.output)


def main() -> int:
    """Check, and clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", action="append", default=[], help="also build with this one of locks/")
    arguments = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid():
        sys.stderr.write(f"the image cannot be checked: {', '.join(missing) + ' missing' if missing else 'not root'}\n")
        return os.EX_UNAVAILABLE
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="work-", dir=CACHE))
    started = time.perf_counter()
    try:
        check(Buildah(work / "storage"), work, arguments.lock)
    except Failure as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    finally:
        shutil.rmtree(work)
    sys.stdout.write(f"the image is as promised, seen in {time.perf_counter() - started:.0f} s\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
