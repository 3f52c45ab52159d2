"""Where moments are shown: a live view in a terminal, or a line a second where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from rich.live import Live

from consumer.demo.view import MIN_COLUMNS, MIN_LINES, render


if TYPE_CHECKING:
    from rich.console import Console

    from consumer.demo.snapshot import Row, Snapshot


__all__ = ["LiveScreen", "PlainScreen", "Screen", "answer", "moment", "screen"]


_LINE_SECONDS = 1.0
_ROW_SECONDS = 2.0
_EXCERPT = 50
_NOTE = 100


class Screen(Protocol):
    """What is told of each moment, while its context is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        """Show a moment; called several times a second."""
        ...


def screen(console: Console, *, plain: bool) -> Screen:
    """The live view, unless it is not wanted, or the terminal is none, or too small."""
    fits = console.width >= MIN_COLUMNS and console.height >= MIN_LINES
    if plain or not console.is_terminal or console.is_dumb_terminal or not fits:
        return PlainScreen(console)
    return LiveScreen(console)


class LiveScreen:
    """The whole terminal while it runs; the last moment stays above what is printed afterwards."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._last: Snapshot | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self._last is not None:
            columns, lines = self._console.size
            self._console.print(render(self._last, columns=columns, lines=min(lines, MIN_LINES + 3)))

    def show(self, snapshot: Snapshot) -> None:
        """Draw the moment."""
        self._last = snapshot
        columns, lines = self._console.size
        self._live.update(render(snapshot, columns=columns, lines=lines), refresh=True)


class PlainScreen:
    """A line a second, and now and then one with the last answer that is worth it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line_at = self._row_at = float("-inf")
        self._shown: Row | None = None
        self._note = ""

    def __enter__(self) -> Self:
        self._print(
            "moderation-consumer demo: invented events → Kafka → moderation-consumer → simulated service → verdicts"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._print("")

    def show(self, snapshot: Snapshot) -> None:
        """Print the moment, unless the last line is younger than a second."""
        now = snapshot.elapsed_seconds
        if now - self._line_at < _LINE_SECONDS:
            return
        self._line_at = now
        self._print(moment(snapshot))
        if snapshot.note and snapshot.note != self._note:
            self._note = snapshot.note
            self._print(f"        {_short(snapshot.note, _NOTE)}")
        row = next((row for row in snapshot.rows if row.action != "pass"), None)
        if row is not None and row is not self._shown and now - self._row_at >= _ROW_SECONDS:
            self._shown, self._row_at = row, now
            self._print(f"        {answer(row)}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def moment(snapshot: Snapshot) -> str:
    """A moment in one line."""
    reading = snapshot.reading
    quota = ", ".join(
        f"{name} {snapshot.quota_rates.get(name, 0):2.0f}/{reading.quota_limit.get(name, 0)}"
        for name in ("text", "image")
    )
    actions = " ".join(f"{action} {reading.actions.get(action, 0)}" for action in ("pass", "review", "block"))
    costs = " + ".join(f"{currency} {cost:.2f}" for currency, cost in sorted(reading.costs.items()))
    return (
        f"{snapshot.elapsed_seconds:4.0f} s  in {snapshot.sent:4} ({snapshot.sent_rate:3.0f}/s)  lag {snapshot.lag:3}  "
        f"{quota} calls/s  {actions} dead {reading.counts.dead_letters}  {costs}"
    ).rstrip()


def answer(row: Row) -> str:
    """An answer in one line."""
    risk = f", {row.risk_level} risk" if row.risk_level else ""
    return f"{row.clock} {row.action}{risk} ({row.labels}): {row.kind or 'record'} “{_short(row.excerpt, _EXCERPT)}”"


def _short(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
