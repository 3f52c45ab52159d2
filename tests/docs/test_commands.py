"""Every command on the pages: it is run, or looked at as closely as a machine without a cluster can."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
import pytest
import yaml

from consumer import cli
from consumer.metrics import CATALOGUE, PREFIX
from tests.docs.pages import PAGES, ROOT, blocks, name_of
from tests.docs.playground import Playground
from tests.docs.shell import PROGRAMS, SHELL, Line, inline, lines, shell_blocks
from tests.helm.binaries import helm_or_skip
from tests.image.composition import COMPOSE, tool


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


__all__: list[str] = []


NOT_RUN = {
    "moderation-consumer bench": "it takes ten seconds; tests/cli/test_bench.py runs it",
    "moderation-consumer estimate config.yaml --from": "this broker knows no times: tests/cli/test_estimate.py",
    "moderation-consumer run": "it goes on until it is stopped; one runs beside these tests",
    "moderation-consumer simulate": "it goes on until it is stopped; one runs beside these tests",
    "moderation-consumer test examples/plugin/config.yaml": "needs the package: tests/plugins/test_example.py",
    "cd": "into a folder that git makes",
    "docker": "needs Docker: services, files, arguments and the commands of ours in it are looked at",
    "gh": "asks GitHub about a release",
    "git clone": "copies this very folder",
    "helm install": "needs a cluster: the chart is rendered with the same arguments",
    "journalctl": "needs systemd",
    "kafka-acls.sh": "needs Kafka's own tools, and three seconds of Java each: options are looked at",
    "kafka-configs.sh": "the same",
    "kafka-console-consumer.sh": "the same; what it is piped into reads real verdicts",
    "kafka-consumer-groups.sh": "the same",
    "kafka-get-offsets.sh": "the same",
    "kcat": "not everywhere installed",
    "kill": "tests/app/test_reload.py sends the signal",
    "kubectl": "needs a cluster: labels, files and the commands of ours in it are looked at",
    "make": "takes minutes: make says what it would do",
    "openssl": "reads a certificate out of a cluster",
    "pip": "installs: names, extras and files are looked at",
    "python": "takes minutes: the module and its options are looked at",
    "python3": "makes an environment",
    "systemctl": "needs systemd",
}
"""What is not run here, each with its reason; the longest beginning of a command counts."""

KAFKA_OPTIONS = {
    "kafka-acls.sh": "add list command-config allow-principal operation topic group transactional-id "
    "resource-pattern-type",
    "kafka-configs.sh": "alter describe entity-type entity-name add-config",
    "kafka-console-consumer.sh": "topic partition offset max-messages from-beginning timeout-ms",
    "kafka-console-producer.sh": "topic",
    "kafka-consumer-groups.sh": "describe group members",
    "kafka-get-offsets.sh": "topic",
}
KUBECTL = {"create", "describe", "exec", "get", "logs", "port-forward", "top"}
CHART_CONFIG = "/etc/moderation-consumer/config.yaml"
CODES = {"letter.json": 65}  # the letter dies of the same cause as long as nobody mends the configuration
LETTER = "3@1042"
WITH_COMMANDS = [page for page in PAGES if next(shell_blocks(page), None)]


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """The consumer at work on the embedded broker, before the simulator."""
    with Playground(tmp_path_factory.mktemp("playground")) as playground:
        yield playground


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_work(page: Path, playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command in a block of a page does what it should where it can be run, and else makes sense."""
    monkeypatch.chdir(playground.folder)
    for name, value in playground.variables.items():
        monkeypatch.setenv(name, value)
    playground.prepare(page)
    for block in shell_blocks(page):
        for line in lines(block):
            said = _ran(line, playground) if reason(line.words) is None else _seen(line, playground)
            for words in line.filters:
                said = _filtered(line, words, said, real=line.program == "curl")
            if line.target and said:
                target = Path(line.target).expanduser()
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(said, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_in_sentences_are_right(page: Path) -> None:
    """Each command of ours that stands in a sentence or a table has the options and targets that it names."""
    for line in inline(page):
        _inspected(line, line.words)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_a_shell_understands_the_blocks(page: Path) -> None:
    """No block of commands has a fault that a shell would find."""
    for block in shell_blocks(page):
        done = subprocess.run(["sh", "-n"], input=block.text, text=True, capture_output=True, check=False)
        assert done.stderr == "", str(block)


def test_no_command_hides_from_these_tests() -> None:
    """A block without a language begins with no program, and no other block with a command of ours."""
    for page in PAGES:
        known = set(shell_blocks(page))
        for block in blocks(page):
            if block in known or block.language not in {"", "text", "plain"}:
                assert block.language not in SHELL or block in known
                continue
            word = block.text.split(maxsplit=1)[0]
            assert shutil.which(word) is None, str(block)
            assert "moderation-consumer run" not in block.text, str(block)


def test_whatever_is_not_run_is_still_on_a_page() -> None:
    """Each entry of the table of what is not run is the reason of a command."""
    every = [line for page in PAGES for block in shell_blocks(page) for line in lines(block)]
    words = [line.words for line in every] + [one for line in every for one in line.filters]
    used = {reason(one) for one in words}
    assert set(NOT_RUN) - used == set()
    named = {path for why in NOT_RUN.values() for path in re.findall(r"tests/[\w/]+\.py", why)}
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_metric_on_a_page_is_there() -> None:
    """Whatever begins like a metric of ours on a page is one, or the beginning of some."""
    endings = ("", "_total", "_bucket", "_sum", "_count")
    names = {f"{PREFIX}{metric.name}{ending}" for metric in CATALOGUE for ending in endings}
    for page in PAGES:
        found = set(re.findall(rf"\b{PREFIX}[a-z_]*[a-z]\b(?![.:/*\-])", page.read_text(encoding="utf-8")))
        unknown = {name for name in found - names if not any(one.startswith(f"{name}_") for one in names)}
        assert unknown - {"moderation_consumer", "moderation_type"} == set(), name_of(page)


def reason(words: Sequence[str]) -> str | None:
    """The entry of the table that says why a command is not run; None for one that is."""
    said = " ".join([words[0].rpartition("/")[2], *words[1:]])
    fitting = [name for name in NOT_RUN if f"{said} ".startswith(f"{name} ")]
    return max(fitting, key=len, default=None)


def _ran(line: Line, playground: Playground) -> str:
    """Run a command: what it says."""
    own = {LETTER: playground.letter, CHART_CONFIG: "config.yaml"}
    words = [own.get(word, word) for word in line.words]
    match line.program:
        case "moderation-consumer":
            arguments = words[1:]
            if arguments[:2] == ["dead-letters", "replay"] and not {"--yes", "--dry-run"} & set(arguments):
                arguments.append("--yes")  # there is no terminal to ask at
            code, said = playground.ours(arguments)
            assert code == CODES.get(words[-1], 0), f"{line}\n{said}"
            assert said or "--raw" in words, str(line)
            return said
        case "curl":
            options = dict(pairwise(words))
            data = options.get("-d")
            return playground.fetch(words[-1], options.get("-X", "POST" if data else "GET"), data)
        case "echo":
            return f"{words[1]}\n"
        case "export":
            assert all(re.fullmatch(r"[A-Z_]+=\S+", word) for word in words[1:]), str(line)
            return ""
    raise AssertionError(f"{line}: how is this run? Or say in NOT_RUN why it is not")


def _seen(line: Line, playground: Playground) -> str:
    """Look at a command that is not run: what it would say, as far as something else says that."""
    _inspected(line, line.words)
    if line.words[:2] == ("kubectl", "logs"):
        return playground.log.read_text(encoding="utf-8")
    if any("console-consumer" in word for word in line.words):
        return playground.verdicts
    return ""


def _filtered(line: Line, words: Sequence[str], said: str, *, real: bool) -> str:
    """What a command behind a `|` makes of it."""
    if words[0] in PROGRAMS or reason(words) is not None:
        _inspected(line, words)
        return ""
    if words[0] == "grep" and "kubectl" in line.words:
        _is_logged(line, words[-1])
    if words[0] == "jq" and not real:
        said = "\n".join(one for one in said.splitlines() if one.startswith(("{", "["))) or "{}"
    command = [tool(words[0], words[0]), *words[1:]]
    done = subprocess.run(command, input=said, text=True, capture_output=True, check=False)
    assert not done.stderr, f"{line}\n{done.stderr}"
    if real and words[0] == "jq" and words[-1].startswith("{"):
        _is_known(line, orjson.loads(said), orjson.loads(done.stdout))
    if real and words[0] == "grep":
        assert done.stdout, str(line)
    return done.stdout


def _is_known(line: Line, status: dict[str, object], found: dict[str, object]) -> None:
    """What a filter takes out of the status is there; a value may be null, a name may not be unknown."""
    assert {name for name, value in found.items() if value is None and name not in status} == set(), str(line)


def _is_logged(line: Line, pattern: str) -> None:
    """What a page looks for in the log is said somewhere in the source."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "consumer").rglob("*.py"))
    assert [word for word in pattern.split("|") if word not in source] == [], str(line)


def _inspected(line: Line, words: Sequence[str]) -> None:
    """Whether a command that is not run makes sense."""
    program = words[0].rpartition("/")[2]
    check = _INSPECTORS.get(program)
    if check is not None:
        check(line, words)
    else:
        assert reason(words) is not None, str(line)


def _parses(line: Line, words: Sequence[str]) -> None:
    """A command of ours has these arguments and options."""
    if set(words[1:]) <= {"--help", "--version"}:
        return
    command: click.Command = cli.group
    context = click.Context(cli.group, info_name=words[0])
    rest = list(words[1:])
    while isinstance(command, click.Group) and rest:
        found = command.get_command(context, rest[0])
        assert found is not None, str(line)
        command, rest = found, rest[1:]
    try:
        with command.make_context(command.name, _without_files(rest), parent=context):
            pass
    except click.ClickException as error:
        if isinstance(error, click.MissingParameter) and not rest:
            return  # a command that is only named needs no arguments
        raise AssertionError(f"{line}: {error.format_message()}") from error


def _without_files(arguments: Sequence[str]) -> list[str]:
    """Files that a command would open become its standard input: what is looked at are the words."""
    return ["-" if one.endswith((".jsonl", ".jsonl.gz", "record.json")) else one for one in arguments]


def _docker(line: Line, words: Sequence[str]) -> None:
    match words[1:3]:
        case ["compose", "up" | "down"]:
            return
        case ["compose", "exec"]:
            rest = [word for word in words[3:] if word != "-T"]
            assert rest[0] in yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"], str(line)
            _inspected(line, rest[1:])
        case ["buildx", "build"] | ["build", *_]:
            told = [words[number + 1] for number, word in enumerate(words) if word == "--build-arg"]
            named = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
            assert {one.partition("=")[0] for one in told} <= named, str(line)
            assert words[-1] == ".", str(line)
        case ["run", *_]:
            _parses(line, ["moderation-consumer", *words[words.index("moderation-consumer") + 1 :]])
        case ["buildx", "imagetools"] | ["stop", _]:
            return
        case _:
            raise AssertionError(str(line))


def _kafka(line: Line, words: Sequence[str]) -> None:
    program = words[0].rpartition("/")[2]
    options = {word for word in words if word.startswith("--")}
    known = {f"--{name}" for name in KAFKA_OPTIONS[program].split()} | {"--bootstrap-server"}
    assert options <= known, str(line)
    assert "--bootstrap-server" in options, str(line)


def _kubectl(line: Line, words: Sequence[str]) -> None:
    assert words[1] in KUBECTL, str(line)
    if "-l" in words:
        assert words[words.index("-l") + 1] == "app.kubernetes.io/name=moderation-consumer", str(line)
    if words[1] == "exec":
        inner = words[words.index("--") + 1 :]
        if inner[0] != "python":
            assert inner[-1] == CHART_CONFIG, str(line)
            _inspected(line, inner)


def _helm(line: Line, words: Sequence[str]) -> None:
    values = next(
        block.text
        for page in PAGES
        for block in blocks(page)
        if block.text.startswith(f"# {Path('moderation.yaml')}\n")
    )
    Path("moderation.yaml").write_text(values, encoding="utf-8")
    command = [str(helm_or_skip("v4")), "template", *(word.replace("…", "moderation") for word in words[2:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def _make(line: Line, words: Sequence[str]) -> None:
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def _pip(line: Line, words: Sequence[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert words[1] == "install", str(line)
    name, _, extras = words[-1].partition("[")
    if not name.startswith("./"):
        assert name == project["name"], str(line)
        assert set(filter(None, extras.rstrip("]").split(","))) <= project["optional-dependencies"].keys(), str(line)


def _python(line: Line, words: Sequence[str]) -> None:
    assert words[1] == "-m", str(line)
    module = words[2]
    spec = find_spec(module) or find_spec(f"{module}.__main__")
    assert spec is not None, str(line)
    if not module.startswith(("benchmarks", "chaos", "tests", "config")):
        return
    parts = ROOT.joinpath(*module.split("."))
    sources = list(parts.glob("*.py")) if parts.is_dir() else [parts.with_suffix(".py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    options = [word for word in words[3:] if word.startswith("--") and word != "--help"]
    told = [option for option in options if not re.search(rf'"{option}"|\b{option[2:].replace("-", "_")}\b', text)]
    assert told == [], str(line)


_INSPECTORS: dict[str, Callable[[Line, Sequence[str]], None]] = {
    "docker": _docker,
    "helm": _helm,
    "kubectl": _kubectl,
    "make": _make,
    "moderation-consumer": _parses,
    "pip": _pip,
    "python": _python,
    **dict.fromkeys(KAFKA_OPTIONS, _kafka),
}
