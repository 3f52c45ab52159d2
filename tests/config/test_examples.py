"""The examples in config/: each is checked as its reader would check it, and begins with what its editor needs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from consumer import cli


FOLDER = Path(__file__).resolve().parents[2] / "config"
SHARED = FOLDER / "several-clusters" / "shared.yaml"
ALONE = sorted(file for file in FOLDER.glob("*.yaml") if not file.name.endswith(".tests.yaml"))
CLUSTERS = sorted(set(SHARED.parent.glob("*.yaml")) - {SHARED})
SECRETS = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
    "MODERATION__KAFKA__SECURITY__SASL_PASSWORD": "secret",
    "MODERATION__CALLBACKS__SECRET": "a-secret-of-enough-characters",
}


class _Editor(yaml.SafeLoader):
    """Reads YAML as editors do, to whom a time is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way of having them
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def checked(
    files: list[Path], options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str]:
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        cli.main(["check", *map(str, files), *options])
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


@pytest.mark.parametrize(
    "files",
    [*([file] for file in ALONE), *([SHARED, file] for file in CLUSTERS)],
    ids=lambda files: files[-1].name,
)
def test_an_example_is_good(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`moderation-consumer check` accepts the example and has nothing to note about it."""
    code, said = checked(files, [], monkeypatch, capsys)
    assert code == 0, said
    assert "settings: ok" in said
    assert "note:" not in said


@pytest.mark.parametrize("file", [*ALONE, SHARED, *CLUSTERS], ids=lambda file: file.name)
def test_an_example_names_its_schema_and_keeps_to_it(file: Path) -> None:
    """The first line leads an editor to the schema, and the schema takes the whole file."""
    text = file.read_text(encoding="utf-8")
    match = re.match(r"# yaml-language-server: \$schema=(\S+)\n# \S", text)
    assert match, "the first line names the schema, the second says what the example is"
    schema = json.loads((file.parent / match[1]).read_text(encoding="utf-8"))
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(yaml.load(text, _Editor))] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("posts-and-comments", "thread: p-9"), ("profiles", "image: oss://"), ("images", "call: baselineCheck_global")],
)
def test_the_records_that_an_example_shows_are_mapped(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The records in an example's comments go the way that it describes."""
    file = FOLDER / f"{name}.yaml"
    comments = "".join(line[1:] for line in re.findall(r"^#.*", file.read_text(encoding="utf-8"), re.MULTILINE))
    decoder = json.JSONDecoder()
    records = [decoder.raw_decode(comments, match.start())[0] for match in re.finditer(r"(?<=   )\{", comments)]
    sample = tmp_path / "records.jsonl"
    sample.write_text("\n".join(map(json.dumps, records)))
    code, output = checked([file], ["--sample", str(sample)], monkeypatch, capsys)
    assert code == 0, output
    assert said in output


def test_the_index_names_every_example() -> None:
    """config/README.md has a line for each example."""
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [file.name for file in ALONE if f"({file.name})" not in index] == []
    assert "(several-clusters/shared.yaml)" in index


def test_the_smallest_one_is_the_readme_s() -> None:
    """What the README shows as the smallest useful configuration is what stands in the file that it names."""
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"\(config/minimal\.yaml\)\):\n\n```yaml\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    assert yaml.safe_load(shown[1]) == yaml.safe_load((FOLDER / "minimal.yaml").read_text(encoding="utf-8"))
