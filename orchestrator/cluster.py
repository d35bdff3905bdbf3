"""Ray: the cluster that is there, or else this machine, and the actors that work on it."""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import signal
import socket
import sys
import sysconfig
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import psutil
import ray
from ray import cloudpickle
from ray._private.services import find_bootstrap_address
from ray.exceptions import AuthenticationError, RayError, RayTaskError

from orchestrator.console import kept_so_far, log
from orchestrator.errors import FailedError, RequestError
from orchestrator.files import in_a_line
from orchestrator.store import Store
from physics.registry import MODULES, NAMED
from physics.registry import OURS as PACKAGES

RETRIES = 3  # of a trial, a training or a piece of work whose workers died, before it is given up
MOST_ACTORS = 1000  # of a pool: Ray starts and ends that many in three seconds
TOGETHER_SECONDS = 1.0  # deaths this close count as one: a node that goes takes many actors along
PLACED_SECONDS = 60.0  # without any actor, before it is said that there is no room for one
LISTEN_SECONDS = 10.0  # for the address of a cluster to answer
AGENTS = "ray::DashboardAgent", "ray::RuntimeEnvAgent"  # started by each raylet
OURS = *PACKAGES, "__main__"

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def connect(cpus: float = 0, gpus: float = 0) -> None:
    """Join the cluster that ``ray up`` or ``ray start`` made; without one, start Ray on this machine.

    Raises:
        RequestError: the cluster does not answer, or refuses the token; or there is none, and this machine has fewer
            CPUs or GPUs than a trial asks for (a cluster may grow to have them).
    """
    if ray.is_initialized():
        return
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # before Ray's own end, where it would be a traceback
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS") or find_bootstrap_address(None) or "local"
    if address == "local":
        _end_orphans()
    # Ray prints every death of a worker on standard output, whatever its options say.
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None
    _check_answers(address)
    try:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env=_environment() or None,
        )
    except (ConnectionError, AuthenticationError) as error:
        raise RequestError(
            f"RAY_ADDRESS {address}: expected a Ray cluster that takes the token of this machine, found none; give "
            "~/.ray/auth_token the token of the cluster, and set RAY_AUTH_MODE=token. Ray says: "
            f"{in_a_line(error)}"
        ) from None
    here = ray.cluster_resources()
    if address == "local" and (here.get("CPU", 0) < cpus or here.get("GPU", 0) < gpus):
        raise RequestError(
            f"resources: expected a machine with {cpus:g} CPUs and {gpus:g} GPUs, "
            f"found {here.get('CPU', 0):g} and {here.get('GPU', 0):g}; a cluster is joined when there is one"
        )


def _environment() -> dict[str, Any]:
    """What travels to the workers besides this package: modules that a person named, and the colours of pages."""
    named = ",".join(sorted({name.partition(".")[0] for name in NAMED} - {*OURS}))
    variables = {MODULES: named, "ORCH_COLORS": os.environ.get("ORCH_COLORS")}
    travels = {
        "py_modules": [str(path) for path in own_modules()] if named else [],
        "env_vars": {name: value for name, value in variables.items() if value},
    }
    return {key: value for key, value in travels.items() if value}


def _check_answers(address: str) -> None:
    """Raise RequestError if nobody listens at the address of a cluster, which Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTEN_SECONDS).close()
    except (OSError, OverflowError) as error:
        begun_here = "" if os.environ.get("RAY_ADDRESS") else "; `ray stop` forgets the one that `ray start` began here"
        raise RequestError(
            f"RAY_ADDRESS {address}: expected a Ray cluster, found none: {in_a_line(error)}{begun_here}"
        ) from None


def _end_orphans() -> None:
    """End the agents of raylets of this user that are dead: they live on when a driver is killed with its Ray."""
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid() or not process.cmdline() or process.cmdline()[0] not in AGENTS:
                continue
            raylet = process.parent()
            if raylet is None or raylet.name() != "raylet":
                process.kill()
        except psutil.Error:  # it has ended, or is not ours to look at
            continue


def check_shared(store: Store) -> None:
    """Raise RequestError where a worker does not see the store that its driver has begun, or sees another there."""
    if (created := store.created()) and store.sent in (None, store.identity()):
        return
    what = "another store than the driver's" if created else "not a store"
    raise RequestError(
        f"{store.root}: {what} on the node {socket.gethostname()} ({ray.util.get_node_ip_address()}); "
        "expected one that every node shares"
    )


def own_modules() -> list[Path]:
    """Files and folders of the modules that a person named as ``module:name``, and of what was imported beside them."""
    installed = {Path(sysconfig.get_path(key)) for key in ("stdlib", "purelib", "platlib")}
    tops = {name.partition(".")[0] for name in NAMED} - {*OURS}
    folders = {path.parent for name in tops if (path := _source(sys.modules.get(name)))} - installed
    found = {_source(module) for name, module in list(sys.modules.items()) if "." not in name and name not in OURS}
    return sorted(path for path in found if path and path.parent in folders and path.exists())


def _source(module: ModuleType | None) -> Path | None:
    """The file of a module, or the folder of a package."""
    if folders := list(getattr(module, "__path__", [])):
        return Path(folders[0]).resolve()
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") else None


class Worker:
    """A function that is made once and then does pieces of work; the class of the actors of a :class:`Pool`."""

    def __init__(self) -> None:
        self._work: Callable[[Any], Any] | None = None

    def ready(self, pickled: bytes) -> None:
        """Unpickled here, so that what arguments raise is told as it is."""
        if self._work is None:
            make, arguments = cloudpickle.loads(pickled)
            for store in arguments:
                if isinstance(store, Store):
                    check_shared(store)
            if "torch" in sys.modules:  # not imported for work without it
                import torch

                torch.set_num_threads(1)
            self._work = make(*arguments)

    def work(self, piece: Any) -> Any:
        assert self._work is not None
        return self._work(piece)


class Pool(Generic[Piece, Result]):
    """Actors that all hold the same function, and do pieces of work with it; they end with the ``with`` block.

    As many are asked for as there is work for.  Those that the cluster has no room for yet wait in Ray's queue, where
    an autoscaler sees them; work is given to those that have answered, however few.  One that dies is replaced and its
    piece given to another.

    Args:
        what: they do, for messages.
        make: called with ``arguments`` once in each actor; returns the function of a piece of work.
        size: how many pieces there are to do at once.
        actors: how many work side by side at most, if a person said so.
        gpu: each takes a GPU instead of a CPU.
        cpus: that each takes otherwise; 0 of those that have actors of their own.

    Attributes:
        most: actors that had answered, when they were most.
    """

    def __init__(
        self,
        what: str,
        make: Callable[..., Callable[[Piece], Result]],
        arguments: Sequence[Any],
        size: int,
        actors: int | None = None,
        gpu: bool = False,
        cpus: float = 1,
    ):
        self.what, self.most = what, 0
        self._pickled = cloudpickle.dumps((make, tuple(arguments)))
        self._size = min(size, actors or MOST_ACTORS)
        self._takes = {"num_cpus": 0, "num_gpus": 1} if gpu else {"num_cpus": cpus}
        self._calls: dict[Any, tuple[Any, int | None]] = {}  # actor and piece, None of one that is asked to answer
        self._idle: list[Any] = []
        self._actors: set[Any] = set()
        self._answered: set[Any] = set()
        self._deaths, self._died = 0, -math.inf  # deaths since the last answer; time of the last one told

    def __enter__(self) -> Pool[Piece, Result]:
        for _ in range(self._size):
            self._start()
        return self

    def __exit__(self, *error: object) -> None:
        for actor in [*self._actors - self._answered, *self._answered]:  # or those that wait would start
            ray.kill(actor)

    def map(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, Result]]:
        """Number and result of each piece, as they are finished; to be taken to the end before the next.

        Raises:
            FailedError: a piece's actors, or actors that had not answered yet, died more than ``RETRIES`` times.
            Exception: what the function raised.
        """
        queue, tried, left = deque(range(len(pieces))), Counter[int](), len(pieces)
        while left:
            while queue and self._idle:
                actor, number = self._idle.pop(), queue.popleft()
                self._calls[actor.work.remote(pieces[number])] = actor, number
            done, result, error = self._receive()
            if done is None:
                continue
            if error is None:
                left -= 1
                yield done, result
                continue
            tried[done] += 1
            if tried[done] > RETRIES:
                raise self._failure(f"piece {done + 1} of {len(pieces)}: {tried[done]} actors died of it", error)
            queue.appendleft(done)

    def answered(self) -> int:
        """How many actors take work by now; waits for the first."""
        while self._calls and (not self._answered or ray.wait(list(self._calls), timeout=0)[0]):
            self._receive()
        return len(self._answered)

    def _start(self) -> Any:
        actor = ray.remote(Worker).options(max_restarts=0, **self._takes).remote()
        self._actors.add(actor)
        self._ask(actor)
        return actor

    def _ask(self, actor: Any) -> None:
        self._calls[actor.ready.remote(self._pickled)] = actor, None

    def _receive(self) -> tuple[int | None, Any, RayError | None]:
        """Wait for a call to end: the number of its piece, if it was one, with its result or its actor's death."""
        reference = self._wait()
        actor, number = self._calls.pop(reference)
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            raise cause_of(error) from error
        except RayError as error:
            self._replace(actor, error)
            return number, None, error
        self._idle.append(actor)
        self._answered.add(actor)
        self.most, self._deaths = max(self.most, len(self._answered)), 0
        return number, result, None

    def _wait(self) -> Any:
        """The next call that ends; while there is no actor it is said, once, what they wait for."""
        patience = None if self._answered else PLACED_SECONDS
        done, _ = ray.wait(list(self._calls), timeout=patience)
        if not done:
            log(
                f"{self.what}: no actor could be placed for {PLACED_SECONDS:.0f} s; {len(self._calls)} wait, each for "
                f"{'a GPU' if 'num_gpus' in self._takes else 'a CPU'}, until the cluster has room"
            )
            done, _ = ray.wait(list(self._calls))
        return done[0]

    def _replace(self, actor: Any, error: RayError) -> None:
        """Start another actor for one that died, unless none lives that has answered and too many died before.

        The idle ones are asked again whether they live, since those of a node go together.
        """
        ray.kill(actor)
        answered = actor in self._answered
        self._answered.discard(actor)
        self._actors.discard(actor)
        told = time.monotonic() - self._died <= TOGETHER_SECONDS
        if not told:
            self._deaths, self._died = self._deaths + (not answered), time.monotonic()
        if self._deaths > RETRIES and not self._answered:
            raise self._failure(f"actors died {self._deaths} times in a row before they could work", error)
        if not told:
            log(f"{self.what}: an actor died ({reason(error)}); another takes its place")
        if answered or self._deaths <= RETRIES:
            self._start()
        while self._idle:
            self._ask(self._idle.pop())

    def _failure(self, what: str, error: RayError) -> FailedError:
        return FailedError(f"{self.what}: {what} ({reason(error)}); kept: {kept_so_far() or 'what was whole'}")


class Alone(Generic[Piece, Result]):
    """The work of a :class:`Pool` done in this process, one piece after the other."""

    most = 1

    def __init__(self, make: Callable[..., Callable[[Piece], Result]], arguments: Sequence[Any]):
        self._work = make(*arguments)

    def __enter__(self) -> Alone[Piece, Result]:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def map(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, Result]]:
        yield from ((number, self._work(piece)) for number, piece in enumerate(pieces))

    def answered(self) -> int:
        return 1


def cause_of(error: RayTaskError) -> Exception:
    """What was raised in the actor, without Ray's account of it."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception) and not isinstance(cause, RayTaskError):
        return cause
    return FailedError(str(error).strip().splitlines()[-1])


def reason(error: RayError) -> str:
    """Why an actor died, in a few words of Ray's."""
    found = re.search(r"because (.+?)(?:\. |\.?$)", str(error), re.MULTILINE)
    return found[1] if found else str(error).strip().splitlines()[0]
