"""`moderation-consumer explain`: one event's whole way, without paying or connecting."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from consumer.rehearsal.explaining import CallShown, Explained


__all__ = ["command"]


_SHOWN_CHARACTERS = 60


class _Unreadable(click.ClickException):
    """There is no such record."""

    exit_code = os.EX_NOINPUT


def _header(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[tuple[str, bytes]]:
    headers = []
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{value!r} is no header; write it as NAME=VALUE", context, parameter)
        headers.append((name, text.encode()))
    return headers


@click.command(short_help="show one event's whole way, without paying")
@click.argument("config", nargs=-1, type=click.Path(path_type=str))
@click.argument("record")
@click.option("--key", metavar="TEXT", help="The record's key.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", callback=_header, help="One of its headers.")
@click.option("--topic", metavar="TOPIC", help="Where it comes from.  [default: the first of kafka.topics]")
@click.option("--verdict", is_flag=True, help="Have the simulator judge it, too, in memory, and print the verdict.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with nothing cut short.")
def command(
    *,
    config: tuple[str, ...],
    record: str,
    key: str | None,
    headers: list[tuple[str, bytes]],
    topic: str | None,
    verdict: bool,
    as_json: bool,
) -> int:
    """Show which way an event goes: each field's source, the rules, the calls and their price, and the topics.

    RECORD is a file with its value, - for standard input, or JSON itself. CONFIG is what `run` takes. Nothing is
    connected to, and no account is needed. The exit code is 65 if the record would be a dead letter.

    \b
    Examples:
      moderation-consumer explain config.yaml '{"id": "m-1", "text": "hello"}'
      kcat -C -c 1 -t ugc.events | moderation-consumer explain config.yaml - --verdict
    """  # noqa: D301  # the \b is click's sign to leave the lines below it as they are
    import time

    from consumer import logs
    from consumer.cli.invented import without_secrets
    from consumer.record import Partition, Record
    from consumer.rehearsal.explaining import explain
    from consumer.settings import load

    value = _value(record)
    with redirect_stdout(sys.stderr):  # a plugin may print whatever it likes
        loaded = load(config, without_secrets(os.environ))
        logs.configure(level="critical", form="console")
        partition = Partition(topic or loaded.settings.kafka.topics[0], 0)
        now_ms = round(time.time() * 1000)
        given = Record(partition, 0, now_ms, None if key is None else key.encode(), value, tuple(headers))
        found = explain(loaded, given, judged=verdict)
    if as_json:
        click.echo(json.dumps(_as_dict(found, judged=verdict), indent=2, ensure_ascii=False))
    else:
        for line in _lines(found, judged=verdict):
            click.echo(line)
    return 0 if found.error is None else os.EX_DATAERR


def _value(record: str) -> bytes:
    """The value's bytes. A line break at the end, which editors and `echo` put there, is none of it."""
    if record.lstrip().startswith(("{", "[")) or (_is_json(record) and not os.path.exists(record)):  # noqa: PTH110  # pathlib's raises where a text is too long for a name
        return record.encode()
    try:
        value = sys.stdin.buffer.read() if record == "-" else Path(record).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _Unreadable(
            f"{record} cannot be read: {reason}; RECORD is a file, - for standard input, or JSON in quotes"
        ) from None
    lines = [line for line in value.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}") for line in lines):
        raise click.UsageError(
            f"there are {len(lines)} records in it; give one, or see all of them with `check --sample {record}`"
        )
    return value.removesuffix(b"\n")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _lines(found: Explained, *, judged: bool) -> Iterator[str]:
    if found.fields:
        yield "event:"
        shown = [one for one in found.fields if one.value not in (None, "", [], {})]
        yield from _table((one.name, _short(one.value), f"{one.source}  ({one.origin})") for one in shown)
    if found.rules:
        yield "routes:"
        yield from _table((one.route, "takes it" if one.takes else "no", one.why) for one in found.rules)
    if found.calls:
        yield f"calls: {len(found.calls)}, {_money(found)} at list or configured prices"
        for call in found.calls:
            yield from _call(call)
    yield from (f"note: {note}" for note in found.notes)
    if found.skipped:
        yield f"SKIPPED: {found.skipped}"
        return
    if found.error is not None:
        code = f"{found.error.stage}/{found.error.reason}"
        yield f"DEAD LETTER to {found.dead_letters}: {code}: {found.error}"
        return
    yield "verdict:"
    yield from _table((f"risk {way.risk_level}", way.action, f"to {way.topic}") for way in found.ways)
    yield from (f"  label {label}: {action}, if that is more severe" for label, action in found.labels.items())
    if judged:
        said = "never" if found.verdict is None else json.dumps(found.verdict, indent=2, ensure_ascii=False)
        yield f"the simulator's verdict, which says nothing of the real service's: {said}"


def _call(call: CallShown) -> Iterator[str]:
    yield f"  {call.service}  ({call.operation})"
    yield from (f"    {name}: {_short(value)}" for name, value in call.parameters.items())
    for line in call.billed:
        units = "1 unit" if line.units == 1 else f"{line.units} units"
        yield f"    price: {units} of {line.moderation_type}, {line.cost.normalize():f} {line.currency}"
    yield f"    quota: {call.quota}, {call.per_second} calls a second"


def _money(found: Explained) -> str:
    return " and ".join(f"{cost.normalize():f} {currency}" for currency, cost in found.cost.items()) or "free"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text if text.isprintable() else json.dumps(text, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"


def _table(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    rows = list(rows)
    first, second = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    yield from (f"  {name.ljust(first)}  {value.ljust(second)}  {why}".rstrip() for name, value, why in rows)


def _as_dict(found: Explained, *, judged: bool) -> dict[str, Any]:
    from dataclasses import asdict

    error = found.error
    written = {
        "fields": [asdict(one) for one in found.fields],
        "routes": [asdict(one) for one in found.rules],
        "calls": [
            {
                "service": call.service,
                "operation": call.operation,
                "parameters": call.parameters,
                "quota": call.quota,
                "per_second": call.per_second,
                "billed": [line.to_dict() for line in call.billed],
            }
            for call in found.calls
        ],
        "cost": {currency: float(cost) for currency, cost in found.cost.items()},
        "notes": list(found.notes),
        "ways": [asdict(one) for one in found.ways],
        "labels": dict(found.labels),
        "skipped": found.skipped or None,
        "dead_letter": None
        if error is None
        else {"topic": found.dead_letters, "stage": error.stage, "reason": error.reason, "error": str(error)},
    }
    return {**written, "verdict": found.verdict} if judged else written
