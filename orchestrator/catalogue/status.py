"""What is unfinished: orch status, orch logs, orch stop, and the record of one artifact."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from orchestrator.catalogue.command import PANEL
from orchestrator.catalogue.lookup import NAME, find, is_unfinished
from orchestrator.options import STORE, JsonOption, StoreOption, existing
from orchestrator.store import Kind, Store
from physics.registry import printable

Unfinished = tuple[Kind, str, dict[str, Any]]
COLUMNS = ("name", "state", "done", "rate, time left", "by", "since", "last sign of life", "try", "cause")
WATCH_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    app.command("status", rich_help_panel=PANEL)(status_command)
    app.command("logs", rich_help_panel=PANEL)(logs_command)
    app.command("stop", rich_help_panel=PANEL)(stop_command)


def status_command(
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew every 2 s, until nothing runs any more.")
    ] = False,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Show what is unfinished: how far it is, who makes it, and why it ended if it did."""
    from orchestrator.result import print_lines

    target = existing(store)
    if watch and not as_json:
        _watch(target)
    found = unfinished(target)
    if as_json:
        print(json.dumps([{"kind": k, "name": name, **record, **pace(record)} for k, name, record in found]))
    elif not found:
        print("nothing is unfinished")
    else:
        print_lines(COLUMNS, [_row(*entry) for entry in found])


def _watch(store: Store) -> None:
    """What is unfinished, in place, as long as something runs."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from orchestrator.lease import RUNNING
    from orchestrator.result import aligned

    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        while (found := unfinished(store)) and found[0][2].get("state") == RUNNING:  # those that run come first
            lines = aligned([COLUMNS, *(_row(*entry) for entry in found)])
            live.update(Text("\n".join(lines), overflow="ellipsis", no_wrap=True), refresh=True)
            time.sleep(WATCH_SECONDS)


def logs_command(name: Annotated[str, NAME], store: StoreOption = STORE, as_json: JsonOption = False) -> None:
    """Print what each try at an unfinished artifact said, and the log of those that failed."""
    from orchestrator.errors import RequestError
    from orchestrator.lease import tries

    target = existing(store)
    kind, name = find(target, name)
    found = tries(target, kind, name)
    if not found:
        raise RequestError(f"{kind}/{name}: it is whole, and keeps no log; 'orch show {name}' says what it is")
    if as_json:
        print(json.dumps([{"kind": kind, "name": name, **record} for record in found]))
        return
    for record in found:
        done = progress_text(record)
        print(f"try {record.get('try', '-')}, {record.get('state')}, {who(record)}" + f", {done}" * (done != "-"))
        for text in (*record.get("said", []), record.get("note"), record.get("log") or cause_text(record)):
            if text:
                print(str(text).rstrip())


def stop_command(name: Annotated[str, NAME], store: StoreOption = STORE, as_json: JsonOption = False) -> None:
    """End the command that makes an artifact, wherever it runs; what it has made is kept."""
    from orchestrator.lease import stop

    target = existing(store)
    kind, name = find(target, name)
    record = stop(target, kind, name)
    if as_json:
        print(json.dumps({"kind": kind, "name": name, **record}))
        return
    print(f"{kind}/{name}: {who(record)} has ended; the same command goes on")


def unfinished(store: Store) -> list[Unfinished]:
    """The records of :func:`orchestrator.lease.records`, without strangers' files and what is whole by now.

    Those that a process makes come first, then the newest.
    """
    from orchestrator.lease import RUNNING, records

    found = [
        (kind, name, record)
        for kind, name, record in records(store)
        if not name.startswith(".") and is_unfinished(store, kind, name)
    ]
    return sorted(found, key=lambda entry: (entry[2].get("state") != RUNNING, -_number(entry[2].get("started"))))


def pace(record: dict[str, Any]) -> dict[str, float]:
    """Share done, rate and seconds left, as far as they can be told."""
    from orchestrator.lease import RUNNING

    done, total = _number(record.get("done")), _number(record.get("total"))
    if not total > 0:
        return {}
    found = {"percent": 100 * done / total}
    first = record.get("first")
    first = first if isinstance(first, dict) else {}
    seconds = _number(record.get("reported")) - _number(first.get("at"))
    made = done - _number(first.get("done"))
    if made > 0 and seconds > 0:
        found["rate"] = made / seconds
        if record.get("state") == RUNNING:
            passed = time.time() - _number(record.get("reported"))
            found["seconds_left"] = max(0.0, (total - done) * seconds / made - passed)
    return found


def _number(value: Any) -> float:
    from orchestrator.lease import is_number

    return float(value) if is_number(value) else 0.0


def progress_text(record: dict[str, Any]) -> str:
    """Done of total, and the share."""
    found = pace(record)
    return (
        f"{record.get('done', 0)} of {record['total']} {record.get('unit', '')}, {found['percent']:.0f} %"
        if found
        else "-"
    )


def rate_text(record: dict[str, Any]) -> str:
    found = pace(record)
    if "rate" not in found:
        return "-"
    rate = f"{found['rate']:.3g} {record.get('unit', '')}/s"
    return f"{rate}, {duration(found['seconds_left'])} left" if "seconds_left" in found else rate


def cause_text(record: dict[str, Any]) -> str:
    """Why a try ended, in a line."""
    if record.get("cause"):
        return f"{record.get('error', '')}: {record['cause']}".removeprefix(": ")
    return ""


def duration(seconds: float) -> str:
    """A time as a person says it."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _row(kind: Kind, name: str, record: dict[str, Any]) -> tuple[str, ...]:
    from orchestrator.catalogue.summary import local_time

    beat = record.get("beat")
    return (
        printable(f"{kind}/{name}"),
        str(record.get("state")),
        progress_text(record),
        rate_text(record),
        who(record),
        local_time(record.get("started")),
        f"{duration(max(0.0, time.time() - _number(beat)))} ago" if beat else "-",
        str(record.get("try", "-")),
        printable(cause_text(record)),
    )


def who(record: dict[str, Any]) -> str:
    """Which process made the last try."""
    return f"process {record['pid']} on {record.get('host')}" if record.get("pid") else "-"


def print_unfinished(store: Store, kind: Kind, name: str, as_json: bool) -> None:
    """All that is known of an unfinished artifact, with the log of a failure."""
    record = next((record for *place, record in unfinished(store) if place == [kind, name]), {})
    from orchestrator.catalogue.lineage import parents_of

    folder = f"{store.path}/{store.work(kind, name)}"
    if as_json:
        print(json.dumps({"kind": kind, "name": name, "path": folder, "record": record}))
        return
    values = _row(kind, name, record)
    said = dict(zip(("", "state", "done", "rate", "by", "since", "last sign", "try", "cause"), values, strict=True))
    print(f"{said.pop('')}: unfinished")
    said |= {key: str(record[key]) for key in ("note", "command") if record.get(key)}
    said["made from"] = ", ".join(parents_of(record))
    for key, value in said.items():
        if value and value != "-":
            print(f"  {key:<12}  {value}")
    for text in record.get("said", []):
        print(f"  {text}")
    print(f"files: {folder}")
    for file in store.entries(store.work(kind, name)):
        print(f"  {folder}/{file}")
    if record.get("log"):
        print(f"log:\n{record['log'].rstrip()}")
