"""Clusters: orch cluster token, orch cluster check, orch doctor."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orchestrator.errors import RequestError
from orchestrator.options import JsonOption

PANEL = "Run on a cluster"


def register(app: typer.Typer) -> None:
    cluster = typer.Typer(no_args_is_help=True, help="Prepare a cluster: its token, and the file of ray up.")
    cluster.command("token")(token_command)
    cluster.command("check")(check_command)
    app.add_typer(cluster, name="cluster", rich_help_panel=PANEL)


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
