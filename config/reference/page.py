"""The page of all keys: docs/configuration.md."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from config.reference.walk import Key, entry, groups, keys, paragraph, section_of
from consumer.settings.environment import CONFIG
from consumer.settings.models import Section, Settings
from consumer.settings.validation import SHARED


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["EXAMPLES", "examples", "page"]


EXAMPLES = Path(__file__).with_name("examples.yaml")
"""A short example of each section, as text: comments and layout are shown as they are written."""

_INTRODUCTION = f"""\
# Configuration

<!-- Made from the models in consumer/settings by `python -m config.reference`. Change those, then run it. -->

Every key there is. Examples of whole files, each with comments, are in [config](../config/README.md).

- **Files** are YAML. `moderation-consumer run a.yaml b.yaml` reads several, later ones over earlier ones, key by key;
  lists are replaced as a whole. Without a file on the command line, `{CONFIG}` names it.
- **Variables** win over files: each key names its own below. In a variable a list of words is separated by commas, any
  other list or mapping is YAML. What stands in a list or in a mapping of names has no variable of its own.
- **Anchors** (`&name`) and what repeats them (`*name`, `<<: *name`) work as YAML has them. A key at the top that begins
  with `{SHARED}` is no setting: what several sections share can stand there. A file that stands for more than 100,000
  values by that is refused.
- **Secrets** can also be in files: the key with `_file` behind it names one, as does the variable with `_FILE`.
- **`moderation-consumer check FILE`** says what is wrong, where, and the nearest right name; `--origins` prints every
  value and where it comes from.
- **Editors** with the YAML language server complete and check what you type where the file begins with
  `# yaml-language-server: $schema=…`, with the path or address of [config/schema.json](../config/schema.json). To it
  a number is a number: one in quotes is read by the program, but marked by the editor.
- Keys marked **live** can change while the program runs; [reload.md](reload.md) says how. All others need a restart.
"""


def examples() -> dict[str, str]:
    """The examples by section: the text below each key of the file, with the key itself."""
    text = EXAMPLES.read_text(encoding="utf-8")
    starts = [(match[1], match.start()) for match in re.finditer(r"^(\w+):", text, re.MULTILINE)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return {name: text[start:end].rstrip() for (name, start), end in zip(starts, ends, strict=True)}


def page() -> str:
    """The whole page."""
    shown = examples()
    lines = [_INTRODUCTION.rstrip(), "", "| section | what it is about |", "|---|---|"]
    grouped = groups()
    lines += [f"| [`{name}`](#{name}) | {_title(name)} |" for names in grouped.values() for name in names]
    for title, names in grouped.items():
        lines += ["", f"## {title}"]
        for name in names:
            lines += ["", *_top(name, shown[name])]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    return _cell(paragraph(Settings.model_fields[name].description or ""))


def _top(name: str, example: str) -> Iterator[str]:
    (key,) = (one for one in keys(Settings) if one.name == name)
    model, entries = section_of(key.shape)
    if model is None:
        raise TypeError(f"{name} is no section: this page has no place for it")
    yield from (f"### {name}", "")
    yield from _wrapped(_about(key, model, entries=entries))
    yield from ("", "```yaml", example, "```", "")
    path: tuple[str | None, ...] = (name, None) if entries else (name,)
    yield from _section(model, path)


def _about(key: Key, model: type[Section], *, entries: bool) -> str:
    said = paragraph(model.__doc__ or "") + (" **Live**, all of it." if _all_live(model, key.path) else "")
    if entries:
        ways = f" `{key.variables[0]}` takes the whole list as YAML." if key.variables else ""
        return f"A list. {said}{ways}"
    return said


def _all_live(model: type[Section], path: tuple[str | None, ...]) -> bool:
    return all(key.live for key in keys(model, path))


def _section(model: type[Section], path: tuple[str | None, ...]) -> Iterator[str]:
    """The table of one section, then those of the sections within it."""
    own = list(keys(model, path))
    mixed = not _all_live(model, path)
    rows = [_row(key, marked=mixed and key.live) for key in own if key.shape.section is None]
    if rows:
        yield from ("| key | takes | default | what it means |", "|---|---|---|---|", *rows)
    for key in own:
        inner, entries = section_of(key.shape)
        if inner is None:
            continue
        name = ".".join(str(part) for part in key.path if part is not None)
        yield from ("", f"#### {name}", "")
        said = paragraph(inner.__doc__ or "")
        yield from _wrapped(f"By name. {said}" if entries else said)
        yield ""
        yield from _section(inner, (*key.path, None) if entries else key.path)


def _row(key: Key, *, marked: bool) -> str:
    meaning = _cell(key.description)
    notes = (["**live**"] if marked else []) + [" or ".join(f"`{name}`" for name in key.variables)]
    note = " · ".join(filter(None, notes))
    return f"| `{key.name}` | {_takes(key)} | {_default(key)} | {meaning}{f'<br>{note}' if note else ''} |"


def _takes(key: Key) -> str:
    shape = key.shape
    if shape.choices:
        words = " · ".join(f"`{word}`" for word in shape.choices)
        return words if not shape.examples else f"{words}, or a time such as `{shape.examples[0]}`"
    if shape.secret:
        return "text, secret"
    if shape.base is list:
        return _list(key)
    if shape.base is dict and shape.item is not None:
        if shape.item.section is not None:
            return "a section for each name"
        names = " · ".join(f"`{word}`" for word in shape.key.choices) if shape.key and shape.key.choices else "names"
        values = " · ".join(f"`{word}`" for word in shape.item.choices) or "a text"
        return f"{names}, each with {values}"
    unit = f", in {key.unit}" if key.unit else ""
    said, such, example = shape.expected.partition(" such as ")
    return _cell(f"{said}{_above(key)}{unit}{f', such as `{example}`' if such else ''}")


def _above(key: Key) -> str:
    """The upper end of a range that the words of the settings leave open."""
    below = next((one.lt for one in key.shape.constraints if hasattr(one, "lt")), None)
    if below is not None:
        return f" and below {below}"
    low = any(hasattr(one, "ge") for one in key.shape.constraints)
    most = next((one.le for one in key.shape.constraints if hasattr(one, "le")), None)
    return f", {most} at the most" if most is not None and not low else ""


def _list(key: Key) -> str:
    item = entry(key.shape.item)
    several = "one or more" if any(getattr(one, "min_length", 0) for one in key.shape.constraints) else "any number"
    if item.choices:
        return f"a list: {several} of {' · '.join(f'`{word}`' for word in item.choices)}"
    such = f" such as `{item.examples[0]}`" if item.examples else ""
    return f"a list: {several} of texts{such}"


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    value = key.default
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`" if value < 1e6 else f"`{value}`"  # %g would have an exponent
    return f"`{_flow(value)}`"


def _flow(value: Any) -> str:
    if isinstance(value, list | dict):
        return yaml.safe_dump(value, default_flow_style=True).strip()
    return str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _wrapped(text: str) -> Iterator[str]:
    for number, part in enumerate(text.split("\n\n")):
        if number:
            yield ""
        yield from textwrap.wrap(part, 118, break_long_words=False, break_on_hyphens=False)
