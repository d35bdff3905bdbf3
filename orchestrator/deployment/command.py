"""Clusters: orch cluster token, orch cluster check, orch doctor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.errors import RequestError
from orchestrator.options import STORE, JsonOption, StoreOption

if TYPE_CHECKING:
    from orchestrator.deployment.doctor import Node

PANEL = "Run on a cluster"


def register(app: typer.Typer) -> None:
    cluster = typer.Typer(no_args_is_help=True, help="Prepare a cluster: its token, and the file of ray up.")
    cluster.command("token")(token_command)
    cluster.command("check")(check_command)
    app.add_typer(cluster, name="cluster", rich_help_panel=PANEL)
    app.command("doctor", rich_help_panel=PANEL)(doctor_command)


def token_command(as_json: JsonOption = False) -> None:
    """Make the token that every node and driver of a cluster needs, once; one that is there stays as it is."""
    from orchestrator.deployment.token import ensure_token

    path, made = ensure_token()
    print(json.dumps({"path": str(path), "made": made}) if as_json else f"{'made' if made else 'found'} {path}")


def check_command(
    file: Annotated[str, typer.Argument(help="The file of ray up, such as cluster.yaml.")],
    as_json: JsonOption = False,
) -> None:
    """Check the file of ray up: by Ray's own rules, and for what fails on a node later."""
    from orchestrator.deployment.launcher import faults

    found = faults(file)
    if as_json:
        print(json.dumps({"file": file, "faults": found}))
    elif not found:
        print(f"{file}: no fault found")
    if found and as_json:
        raise typer.Exit(2)
    if found:
        raise RequestError("\n".join(found))


def doctor_command(store: StoreOption = STORE, as_json: JsonOption = False) -> None:
    """Ask every node of the cluster for its versions, store, clock and speed; exit code 1 if one is at fault."""
    from dataclasses import asdict

    from orchestrator.deployment import doctor
    from orchestrator.result import print_lines
    from orchestrator.store import Store

    target, driver = Store(store), doctor.versions()
    nodes = doctor.inspect(target)
    found = doctor.faults(nodes, target.path if target.local else target.root, driver)
    if as_json:
        print(json.dumps({"store": target.path, "driver": driver, "nodes": [*map(asdict, nodes)], "faults": found}))
    else:
        columns = ("node", "CPUs", "GPUs", *driver, "clock", "store", "spin updates/s of a CPU")
        print_lines(columns, [_row(node, driver) for node in nodes])
        print("\n".join(found) if found else "no fault found")
    if found:
        raise typer.Exit(1)


def _row(node: Node, driver: dict[str, str]) -> tuple[str, ...]:
    has = node.name, f"{node.cpus:g}", f"{node.gpus:g}"
    if node.silent:
        return *has, *["-"] * (len(driver) + 3)
    shared = "shared" if node.sees and node.seen else "not shared"
    return *has, *(node.versions.get(key, "-") for key in driver), f"{node.ahead:+.3f} s", shared, f"{node.rate:.2g}"
