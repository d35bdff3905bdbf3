"""The trials of a sweep under Ray Tune: what starts them, ends them, and shows how far they are.

Tune's own state is disposable, see :mod:`orchestrator.sweeps.run`.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from typing import Any, Literal, NamedTuple

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.cluster import RETRIES
from orchestrator.console import Show, counted, log
from orchestrator.errors import FailedError
from orchestrator.lease import Lease
from orchestrator.store import Store
from orchestrator.sweeps.proposals import Proposals
from orchestrator.sweeps.request import SweepConfig, Trial
from orchestrator.sweeps.trials import label, reached, run_trial

TRIAL_BYTES = 600 * 2**20  # of a trial that waits for its workers, with Ray Train's controller
PENDING = 200  # trials that wait for a place, which an autoscaler sees, at least

State = Literal["finished", "pruned", "ended"]


class Outcome(NamedTuple):
    """How a trial went.

    Attributes:
        models: names of its trainings, in their order.
        state: "ended" before its last training, for a cause of its own.
    """

    trial: Trial
    models: list[str]
    state: State = "finished"
    cause: str = ""


def run_trials(config: SweepConfig, store: Store, held: Lease) -> list[Outcome]:
    """Every trial, in an order that does not depend on which ended first.

    Raises:
        FailedError: trials failed; the others were finished first.
    """
    resources, proposals = config.resources, Proposals(config)
    # The workers of a group hold the devices; the trial that waits for them holds memory alone.
    alone = {"cpu": resources.cpus, "gpu": resources.gpus}
    needed = {"cpu": 0, "memory": TRIAL_BYTES} if resources.workers[1] > 1 else alone

    # A process that imports torch takes as long as 50 steps; one goes on to the next trial where each ends by itself.
    def trainable(parameters: dict[str, Any]) -> None:
        run_trial(_trial(config, parameters), config, store)

    log(f"sweep {config.name}: {proposals.total} trials of at most {config.trial.length(config)} trainings")
    _set_up_tune()
    searcher = _Searcher(proposals)
    bar = counted("trials", held.report, total=proposals.total)
    with bar as show, tempfile.TemporaryDirectory(prefix="orch-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, needed),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=None if config.pruner == "none" else _Pruning(searcher),
                num_samples=proposals.total,
                reuse_actors=config.pruner == "none" and config.time_limit is None and needed is alone,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_Watcher(show, config, proposals.total, held)],
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        return _outcomes(config, list(tuner.fit()), searcher, held)


def _set_up_tune() -> None:
    pending = max(PENDING, int(1.1 * ray.cluster_resources().get("CPU", 0)))
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(pending))
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would end with half of the trials as if with all
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner ignores verbose=0


def _trial(config: SweepConfig, parameters: dict[str, Any]) -> Trial:
    point = dict(parameters)
    point.pop("proposal")
    number = int(point.pop("number"))
    if (points := config.points()) is not None:
        return config.at(points[number // config.seeds], number % config.seeds)
    return config.at(point, number)


def _outcomes(config: SweepConfig, results: list[Any], searcher: _Searcher, held: Lease) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    failed = []
    for result in results:
        trial = _trial(config, result.config)
        if result.error is not None:
            failed.append(f"trial {label(trial)}: {str(result.error).strip().splitlines()[-1]}")
            continue
        models, cause = result.metrics["stages"], result.metrics.get("ended", "")
        pruned = result.config["proposal"] in searcher.pruned
        if cause:
            held.say(f"trial {label(trial)}: {cause}; it ends after {len(models)}")
        key = str([str(trial.point[part]) for part in sorted(trial.point)])
        outcomes[key] = Outcome(trial, models, "ended" if cause else "pruned" if pruned else "finished", cause)
    if failed:
        raise FailedError("\n".join([*failed, f"{config.name}: the same command goes on from what is finished"]))
    return [outcomes[key] for key in sorted(outcomes)]


class _Searcher(Searcher):
    """Hands :class:`Proposals` to Tune."""

    def __init__(self, proposals: Proposals):
        super().__init__()
        self.proposals = proposals
        self.numbers: dict[str, int] = {}
        self.pruned: set[int] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        asked = self.proposals.ask()
        if asked is None:
            return None
        self.numbers[trial_id], parameters = asked
        return {**parameters, "proposal": self.numbers[trial_id]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self.numbers[trial_id]
        values = result.get("values") if result and not error else None
        self.proposals.tell(number, values, number in self.pruned)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the store is what a sweep goes on from."""


class _Pruning(FIFOScheduler):
    """Ends the trials that the pruner of a sweep is told to end."""

    def __init__(self, searcher: _Searcher):
        super().__init__()
        self.searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self.searcher.numbers[trial.trial_id]
        if "ended" in result or not self.searcher.proposals.prune(number, len(result["stages"]), result["values"][0]):
            return FIFOScheduler.CONTINUE
        self.searcher.pruned.add(number)
        return FIFOScheduler.STOP


class _Watcher(tune.Callback):
    """Moves the bar as trials end, says what is best so far, and forgets the deaths before a trial came farther."""

    def __init__(self, show: Show, config: SweepConfig, trials: int, held: Lease):
        self.config = config
        self.metric, mode = config.objective
        self.sign = 1 if mode == "min" else -1
        self.show, self.trials, self.held = show, trials, held
        self.done = self.failed = 0
        self.stages: dict[str, int] = {}
        self.values: dict[str, float] = {}
        self.reached: dict[str, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that is never made; a bar does not pickle

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.stages[trial.trial_id] = len(result["stages"])
        self.failed += "ended" in result
        self.values[trial.trial_id] = result["values"][0]
        self.held.needs(*(f"models/{name}" for name in result.get("stages", ())))
        self._show(trials)

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        store = self.held.store
        with contextlib.suppress(Exception):  # a program may raise here too, and ends after four tries
            now = reached(_trial(self.config, trial.config), lambda one: store.card("models", one.name), store)
            if now > self.reached.get(trial.trial_id, (0, 0)):
                trial.run_metadata.num_failures = 0
            self.reached[trial.trial_id] = now

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.done += 1
        self._show(trials)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.done += 1
        self.failed += 1
        self._show(trials)

    def _show(self, trials: list) -> None:
        known = [self.sign * value for value in self.values.values() if not math.isnan(value)]
        best = f"{self.metric} {self.sign * min(known):.4g}, " if known else ""
        running = sum(trial.status == "RUNNING" for trial in trials)
        failed = f", {self.failed} ended early" if self.failed else ""
        note = f"{best}{sum(self.stages.values())} trainings done, {running} trials running{failed}"
        self.show(self.done, self.trials, note)
