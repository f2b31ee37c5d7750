"""What the command line says: progress, tables and errors, for a terminal and for a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_EVERY_S = 5.0
"""Seconds between two progress lines of the same step where there is no terminal."""

WIDE = 120
"""Characters that the widest table needs."""

ProgressCallback = Callable[[float, str], None]


@contextmanager
def shown_progress() -> Iterator[ProgressCallback]:
    """A callback `progress(fraction, message)`: a bar on a terminal, plain lines elsewhere; both on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress()
        return
    percentage = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percentage, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Starting", total=1.0)
        yield lambda fraction, message: bar.update(task, completed=fraction, description=escape(message))


def _plain_progress() -> ProgressCallback:
    shown_message, shown_at = None, 0.0

    def progress(fraction: float, message: str) -> None:
        nonlocal shown_message, shown_at
        now = time.monotonic()
        if message != shown_message or now - shown_at >= PLAIN_EVERY_S:
            print(f"{fraction * 100:3.0f} % {message}", file=sys.stderr, flush=True)
            shown_message, shown_at = message, now

    return progress


def show_error(error: Exception) -> None:
    """An error as one short block on stderr."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)


def _table_console() -> Console:
    """A console for tables: as wide as the terminal, and wide enough for every column where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def show_hits(result: dict) -> None:
    """The similar cases of every tumor, as a table each; the shares of the blocks only where there is room for them."""
    console = _table_console()
    for number, tumor in enumerate(result["tumors"], start=1):
        where = tumor["area"] or "area unknown"
        title = f"Tumor {number}: {where}, core {tumor['core_ml']:.1f} ml, whole {tumor['whole_ml']:.1f} ml"
        table = Table(title=escape(title), title_justify="left")
        blocks = list(tumor["hits"][0]["blocks"]) if tumor["hits"] and console.width >= WIDE else []
        for name in ("", "case", "type", "area"):
            table.add_column(name, no_wrap=name == "case")
        for name in ("ml", "similarity", *blocks):
            table.add_column(name, justify="right")
        for rank, hit in enumerate(tumor["hits"], start=1):
            volume = "" if hit["volume_ml"] is None else f"{hit['volume_ml']:.1f}"
            words = (str(rank), hit["case"], hit["type"] or "", hit["area"] or "", volume, f"{hit['score']:.3f}")
            shares = (f"{hit['blocks'][name]:+.3f}" for name in blocks)
            table.add_row(*(escape(word) for word in words), *shares)
        console.print(table if tumor["hits"] else f"{escape(title)}\nNo case in the index passes the filters.")
        if "slice_evidence" in tumor:
            console.print(_slice_evidence(tumor["slice_evidence"]))


def _slice_evidence(found: dict) -> str:
    """What single slices say of a tumor's type, as one line."""
    types = sorted(found["types"].items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in types)
    return escape(f"Type by {found['slices']} single slices: {shares}; {found['label']}")


def show_examination(rows: list[tuple[str, str, str, bool]]) -> None:
    """What `doctor` found: (section, item, text, whether that is well)."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "", "item", "found"):
        table.add_column(name, overflow="fold")
    for section, item, text, well in rows:
        table.add_row("[green]ok[/]" if well else "[bold red]BAD[/]", section, escape(item), escape(text))
    Console().print(table)


def show_listing(plan: dict) -> None:
    """The cases that a dry run has found, one row each."""
    table = Table(box=None, pad_edge=False)
    for name in ("case", "patient", "labels", "mask", "flair"):
        table.add_column(name, no_wrap=name == "case")
    for row in plan["cases"]:
        mask = row["mask_scheme"] or "yes" if row["mask"] else "none: the network's"
        known = " (indexed)" if row["case"] in plan["already"] else ""
        words = (row["case"] + known, row["patient"], row["labels"], mask, "yes" if row["flair"] else "no")
        table.add_row(*(escape(word) for word in words))
    _table_console().print(table)


def show_outcome(result: dict) -> None:
    """What became of the cases of an archive; notes and problems on stderr."""
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    for problem in result["problems"]:
        print(f"Left out: {problem['path']}: {problem['reason']}", file=sys.stderr)
    if "added" in result:
        outlined = len(result["network_masks"])
        by_network = f" ({outlined} outlined by the network)" if outlined else ""
        added = f"Added {len(result['added'])}{by_network}, already there {len(result['already'])}"
        print(f"{added}, left out {len(result['problems'])}. The index holds {result['index']['cases']} cases.")
    else:
        print(f"{len(result['cases'])} cases would be indexed, {len(result['problems'])} left out.")


def show_scores(rows: dict[str, dict[str, float | None]]) -> None:
    """A table of scores: name of a row -> name of a column -> value, empty where there is none."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, row in rows.items():
        known = ("" if row.get(column) is None else f"{row[column]:.3f}" for column in columns)
        table.add_row(escape(name), *known)
    _table_console().print(table)
