"""The command ``orch``: the commands of every room, and what a person is told when one of them fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

import nets
import physics
import search
from orchestrator import listing
from orchestrator.analysis import command as analysis
from orchestrator.data import command as data
from orchestrator.errors import FailedError, RequestError
from orchestrator.evaluation import command as evaluation
from orchestrator.optimization import command as optimization
from orchestrator.sweeps import command as sweeps
from orchestrator.training import command as training

app = typer.Typer(
    help="Spin physics and generative models on Ray: sample, train, sweep, search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for room in (data, training, sweeps, optimization, evaluation, analysis, listing):
    room.register(app)

OURS = nets, physics, search  # imported before a person's folder can shadow them
UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer brings or finds
INTERRUPTED = 130  # what newer typers return after Ctrl-C; older ones raise Abort


def main() -> None:
    """Exit codes: 0 done, 2 the request is wrong, 1 anything else."""
    sys.path.append(str(Path.cwd()))  # for a person's own module:Class; our packages are imported by now
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except RequestError as error:
        print(error, file=sys.stderr)
        code = 2
    except FailedError as error:
        print(error, file=sys.stderr)
        code = 1
    except UsageError as error:
        print(f"{error.ctx.command_path if error.ctx else 'orch'}: {error.format_message()}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        from orchestrator.console import kept_so_far

        print(f"interrupted; kept: {kept_so_far() or 'what was whole'}; the same command goes on", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
