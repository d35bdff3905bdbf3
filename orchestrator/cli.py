"""The command ``orch``: the commands of every room, and what a person is told when one of them fails."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

import nets
import physics
import search
from orchestrator.analysis import command as analysis
from orchestrator.catalogue import command as listing
from orchestrator.catalogue import housekeeping, status
from orchestrator.data import command as data
from orchestrator.deployment import command as deployment
from orchestrator.errors import FailedError, RequestError
from orchestrator.evaluation import command as evaluation
from orchestrator.optimization import command as optimization
from orchestrator.options import UsageError, usage
from orchestrator.reproduction import command as reproduction
from orchestrator.sweeps import command as sweeps
from orchestrator.training import command as training
from physics.registry import LONGEST, cut, shown, writable

app = typer.Typer(
    help="Spin physics and generative models on Ray: sample, train, sweep, search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for room in (
    *(data, training, sweeps, optimization, evaluation, analysis, reproduction),
    *(listing, status, housekeeping, deployment),
):
    room.register(app)

OURS = nets, physics, search  # imported before a person's folder can shadow them
INTERRUPTED = 130  # what newer typers return after Ctrl-C; older ones raise Abort
AGAIN = 0.1  # seconds after which a Ctrl-C comes again that met a callback


DEBUG = "--debug"


@app.callback()
def everywhere(debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error was raised.")] = False) -> None:
    return  # it is taken out of the arguments before they come here, so that it may stand anywhere


def main() -> None:
    """Exit codes: 0 done, 2 the request is wrong, 1 anything else."""
    sys.unraisablehook = interrupt_again
    sys.path.append(str(Path.cwd()))  # for a person's own module:Class; our packages are imported by now
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    try:
        _check_writable([*arguments, os.environ.get("ORCH_STORE", "")])
        code = app(arguments, standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        if DEBUG in sys.argv:
            traceback.print_exc()
        message, code = told(error)
        print(*(cut(line, LONGEST) for line in message.splitlines()), sep="\n", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def interrupt_again(lost: Any) -> None:
    """Send Ctrl-C once more if Python has dropped it, as in a callback of a compiler; print what else it drops."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


def told(error: BaseException) -> tuple[str, int]:
    """What a person is told of an error, a line for each thing, and the exit code."""
    match error:
        case RequestError():
            return str(error), 2
        case FailedError():
            return str(error), 1
        case UsageError():
            return usage(error), 2
        case KeyboardInterrupt() | typer.Abort():
            from orchestrator.console import kept_so_far

            kept = kept_so_far() or "what was whole"
            return f"interrupted; kept: {kept}; the same command goes on", 1
        case OSError(filename=str(file), strerror=str(reason)):
            return f"orch: {file}: {reason}", 1
        case OSError():
            return f"orch: {_first_line(error)}", 1
    return f"orch: unexpected {type(error).__name__}: {_first_line(error)} (orch {DEBUG} shows where)", 1


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _check_writable(arguments: list[str]) -> None:
    """Raise RequestError for an argument that could not be printed, or be the name of a file."""
    for argument in arguments:
        if not writable(argument):
            raise RequestError(f"{shown(argument)}: expected text without control characters")


if __name__ == "__main__":
    main()
