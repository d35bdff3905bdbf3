"""How a command that makes something is declared: its settings, the options that all such commands share, its result.

Nothing here imports torch, Ray or matplotlib, so that help and completion answer at once.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_type_hints

import typer
from pydantic import ValidationError

from physics.registry import cut, explained

if TYPE_CHECKING:
    from orchestrator.store import Kind, Store

STORE = "store"
MAKING: set[str] = set()
"""Names of the commands that make something."""
Colors = Literal["wheel", "safe"]
EVERY = "Options of every command"
COMMON = "Options of every command that makes something"
STORE_HELP = "Folder or fsspec address of the store."
StoreOption = Annotated[str, typer.Option("--store", envvar="ORCH_STORE", help=STORE_HELP, rich_help_panel=EVERY)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=EVERY)]


def _shared(kind: Any, default: Any, name: str, text: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[kind, typer.Option(name, help=text, rich_help_panel=COMMON, **more)], default


SHARED = {
    "config": _shared(str | None, None, "--config", "YAML file with settings; options go over it. Default: none."),
    "settings": _shared(
        list[str] | None,
        None,
        "--set",
        "One setting, by its dotted key; repeatable. Default: none.",
        metavar="KEY=VALUE",
    ),
    "scale": _shared(str | None, None, "--scale", "A scale of the YAML file, such as paper. Default: none."),
    "seed": _shared(int | None, None, "--seed", "Seed of all random numbers. Default: 0, or of the YAML file."),
    "colors": _shared(
        Colors | None,
        None,
        "--colors",
        "Of spins on pages: wheel, or safe for colour-blind readers. Default: wheel.",
        envvar="ORCH_COLORS",
    ),
    "store": (StoreOption, STORE),
    "dry_run": _shared(bool, False, "--dry-run", "Print the plan and make nothing."),
    "as_json": (JsonOption, False),
}


class Setting(NamedTuple):
    """An option that is short for ``--set key=value``.

    Attributes:
        key: dotted, of the request.
        default: of the request, as the help shows it.
        option: its name on the command line; the last part of the key if empty.
    """

    key: str
    kind: type
    help: str
    default: Any = None
    option: str = ""

    @property
    def parameter(self) -> str:
        return self.key.replace(".", "__")

    @property
    def annotation(self) -> Any:
        name = self.option or "--" + self.key.rpartition(".")[2].replace("_", "-")
        default = "" if self.default is None else f" Default: {self.default}."
        return Annotated[self.kind | None, typer.Option(name, help=self.help + default)]


@dataclass(frozen=True)
class Common:
    """What the shared options said, and the settings that a command's own options stand for."""

    config: str | None
    settings: list[str] | None
    scale: str | None
    seed: int | None
    colors: Colors | None
    store: str
    dry_run: bool
    as_json: bool
    given: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def target(self) -> Store:
        from orchestrator.store import Store

        return Store(self.store)

    @cached_property
    def existing(self) -> Store:
        """The store, or RequestError if there is none yet."""
        return existing(self.store)

    def request(
        self,
        kind: Any,
        over: Mapping[str, Any] | None = None,
        source: str | None = None,
        references: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Any:
        """The request: ``defaults``, the file, its scale, ``over``, the command's options and last ``--set``.

        Args:
            source: a shipped file to start from, if the command is given none.
        """
        from orchestrator.config import assignment, load

        seed = {} if self.seed is None or "seed" not in kind.model_fields else {"seed": self.seed}
        settings = {**(over or {}), **self.given, **seed, **dict(map(assignment, self.settings or []))}
        return load(kind, source if self.config is None else self.config, self.scale, settings, references, defaults)


class Job(NamedTuple):
    """What a command makes.

    Attributes:
        kind: of artifact; None if it makes files, whose paths ``run`` returns as the card.
        plan: what is found and what would be made, line by line.
        run: makes it; returns its name and card.
        name: of the artifact, where that is known before it is made.
    """

    kind: Kind | None
    store: Store
    plan: Callable[[], list[str]]
    run: Callable[[], tuple[str, Any]]
    name: str | None = None

    @property
    def place(self) -> str | None:
        """Kind and name of the artifact, where they are known."""
        return f"{self.kind}/{self.name}" if self.kind and self.name else None


def making(
    app: typer.Typer,
    name: str,
    panel: str,
    settings: Sequence[Setting] = (),
    config: tuple[Any, Any] = SHARED["config"],
) -> Callable[[Callable[..., Job]], None]:
    """Register a command: a function of :class:`Common` and its own options to a :class:`Job`.

    Args:
        settings: options that are short for ``--set``.
        config: annotation and default of the option that names a YAML file.
    """
    shared = {**SHARED, "config": config}
    keyword = inspect.Parameter.KEYWORD_ONLY

    def register(function: Callable[..., Job]) -> None:
        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [
            *(parameter.replace(annotation=hints[parameter.name], kind=keyword) for parameter in own),
            *(inspect.Parameter(s.parameter, keyword, default=None, annotation=s.annotation) for s in settings),
            *(inspect.Parameter(key, keyword, default=d, annotation=a) for key, (a, d) in shared.items()),
        ]

        def command(**values: Any) -> Any:
            given = {s.key: values.pop(s.parameter) for s in settings}
            chosen = {key: values.pop(key) for key in shared}
            common = Common(**chosen, given={key: value for key, value in given.items() if value is not None})
            return _answer.get()(partial(function, common, **values), common)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__doc__ = function.__doc__
        app.command(name, rich_help_panel=panel)(command)
        MAKING.add(name)

    return register


def run_job(job: Job, common: Common) -> None:
    """Print the plan, or make it and print the result."""
    if common.dry_run:
        lines = job.plan()
        print(json.dumps({"plan": lines}) if common.as_json else "\n".join(lines))
        return
    if common.colors:
        os.environ["ORCH_COLORS"] = common.colors  # which pages are drawn by, here and where Ray draws them
    name, card = job.run()
    if job.kind is None:
        print(json.dumps(card) if common.as_json else "\n".join(card))
        return
    from orchestrator.catalogue import index
    from orchestrator.result import print_result

    index.renew(job.store)
    print_result(job.kind, name, card, job.store, common.as_json)


_answer: ContextVar[Callable[[Callable[[], Job], Common], Any]] = ContextVar(
    "answer", default=lambda job, common: run_job(job(), common)
)
"""What is done with the job that a command stands for, given what makes it."""


def job_of(app: typer.Typer, words: Sequence[str], ready: bool = True) -> Job | None:
    """The job that a command line stands for, its words those after ``orch``; nothing is made or printed.

    Args:
        ready: whether what the words refer to is there; if not, they alone are checked, and there is no job.

    Raises:
        RequestError: the command line is wrong, or of a command that makes nothing.
    """
    from orchestrator.errors import RequestError

    if not words or words[0] not in MAKING:
        raise RequestError(f"{cut(' '.join(words))}: expected one of {', '.join(sorted(MAKING))} and its options")
    asked: list[Job | None] = []
    answer = _answer.set(lambda job, common: asked.append(job() if ready else None))
    group = typer.main.get_command(app)
    try:
        with group.make_context("orch", list(words)) as context:
            group.invoke(context)
    except UsageError as error:
        raise RequestError(usage(error)) from None
    except typer.Exit:
        raise RequestError(f"{cut(' '.join(words))}: expected a command that makes something") from None
    finally:
        _answer.reset(answer)
    return asked[0]


UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer brings or finds


def usage(error: Any) -> str:
    """What is wrong with an option or argument, or that there is no such thing."""
    command = error.ctx.command_path if error.ctx else "orch"
    if isinstance(error.__cause__, ValidationError):
        return f"{command} {error.param.opts[0]}: {next(explained(error.__cause__))}"
    return f"{command}: {error.format_message()}"


def existing(root: str) -> Store:
    """A store that has been made, or RequestError."""
    from orchestrator.errors import RequestError
    from orchestrator.store import Store

    store = Store(root)
    if not store.created():
        raise RequestError(f"{root}: no store here; expected the folder or address of one that a command has made")
    return store
