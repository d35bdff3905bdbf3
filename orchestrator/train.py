"""Training under Ray Train: one worker or many, checkpoints in the store, the finished networks an artifact."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from typing import Any

import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, get_device
from ray.util.queue import Empty, Queue
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from nets.metrics import ensemble
from nets.sampling import decode, prior
from nets.training import DivergedError
from nets.vaegan import System, build, fit, restore, state
from orchestrator import anneal, datasets, report
from orchestrator.cluster import connect
from orchestrator.config import TrainConfig
from orchestrator.console import progress, say
from orchestrator.errors import RequestError
from orchestrator.models import GENERATED, KEPT
from orchestrator.store import Store, digest, versions

REPORT_STEPS = 50
FAILURES = 3  # of workers, before a run gives up


def train_request(config: TrainConfig) -> dict[str, Any]:
    """All that makes the networks; its hash names the artifact."""
    return {
        "dataset": config.dataset.name,
        "model": config.system.model_dump(mode="json"),
        "batch": config.batch,
        "steps": config.steps,
        "validation": config.validation,
        "seed": config.seed,
    }


def train_name(config: TrainConfig) -> str:
    return f"{config.system.name}-s{config.seed}-{digest(train_request(config))}"


def _checkpoint(name: str) -> str:
    return f"models/{name}/checkpoint.safetensors"


def save_checkpoint(system: System, done: int, history: list[dict[str, float]], name: str, store: Store) -> None:
    """Networks, optimizers, position and losses so far, in place of the checkpoint before."""
    metadata = {"step": str(done), "history": json.dumps(history)}
    store.write_file(_checkpoint(name), save_tensors(state(system), metadata))


def resume(system: System, name: str, store: Store) -> tuple[int, list[dict[str, float]]]:
    """Steps done and losses so far of the checkpoint, put into ``system``; (0, []) where there is none.

    Raises:
        RequestError: the checkpoint is damaged or of another architecture.
    """
    path = f"{store.path}/{_checkpoint(name)}"
    if not store.fs.exists(path):
        return 0, []
    content = store.fs.cat_file(path)
    try:
        restore(system, load_tensors(content))
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        return int(metadata["step"]), json.loads(metadata["history"])
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise RequestError(f"{path}: not a checkpoint of this model: {str(error).splitlines()[0]}") from None


def _work(settings: dict[str, Any]) -> None:
    """What each worker does."""
    config, store, name, told = settings["config"], settings["store"], settings["name"], settings["told"]
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    system = build(config.system, get_device())
    start, history = resume(system, name, store)
    spins = datasets.read(config.dataset.name, store)
    held = len(spins) - max(2, round(config.validation * len(spins)))
    first = get_context().get_world_rank() == 0
    saved = time.monotonic()

    def tell(done: int, losses: dict[str, float]) -> None:
        nonlocal saved
        if not first:
            return
        history.append({"step": done, **losses})
        told.put((done, losses))
        if done < config.steps and time.monotonic() - saved >= config.checkpoint_seconds:
            save_checkpoint(system, done, history, name, store)
            saved = time.monotonic()

    try:
        fit(system, spins[:held], config.batch, range(start, config.steps), config.seed, tell, REPORT_STEPS)
    except DivergedError as error:
        if first:
            told.put((start, str(error)))
        return
    if first:
        _commit(system, config, name, history, spins, store)


def run(config: TrainConfig, store: Store, workers: int = 1, gpu: bool = False) -> tuple[str, dict[str, Any]]:
    """Name and card of a trained system, trained unless it is in the store.

    Args:
        workers: that share each batch; the losses are the same with any number, to rounding.
        gpu: a GPU each, otherwise a CPU.

    Raises:
        RequestError: the batch is not a multiple of ``workers``, the cluster is too small, or a loss is not finite.
    """
    name = train_name(config)
    if (card := store.card("models", name)) is not None:
        say(f"found models/{name}")
        return name, card
    if config.batch % workers:
        raise RequestError(f"--workers {workers}: expected a number that divides the batch of {config.batch}")
    begun, _ = resume(build(config.system), name, store)
    connect(0 if gpu else workers, workers if gpu else 0)
    anneal.make(config.dataset, store)
    say(f"training {name}: steps {begun} to {config.steps}, batch {config.batch}, on {workers} workers")
    told = Queue()
    with tempfile.TemporaryDirectory(prefix="orch-train-") as scratch:
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": config, "store": store, "name": name, "told": told},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            run_config=RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=FAILURES)),
        )
        _watch(trainer, told, config.steps, begun, name)
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{name}: no worker wrote it to {store.root}; expected a store that every node shares")
    return name, card


def _watch(trainer: TorchTrainer, told: Queue, steps: int, begun: int, name: str) -> None:
    """Run the training in a thread of its own, and show what its first worker tells."""
    failed: list[Exception] = []

    def train() -> None:
        try:
            trainer.fit()
        except Exception as error:
            failed.append(error)

    training = threading.Thread(target=train, daemon=True)  # which an interrupt does not wait for
    training.start()
    with progress() as bar:
        task = bar.add_task("steps", total=steps, completed=begun, note="")
        while training.is_alive() or not told.empty():
            try:
                done, losses = told.get(timeout=0.5)
            except Empty:
                continue
            if isinstance(losses, str):
                failed.append(RequestError(f"{name}: {losses}; the checkpoint before it is kept"))
            else:
                note = ", ".join(f"{key} {value:.4g}" for key, value in losses.items())
                bar.update(task, completed=done, note=note)
    if failed:
        raise failed[-1]


def _commit(
    system: System, config: TrainConfig, name: str, history: list[dict[str, float]], spins: datasets.Spins, store: Store
) -> None:
    hamiltonian = config.dataset.hamiltonian
    system.generator.eval()
    device = next(system.generator.parameters()).device
    codes = torch.from_numpy(prior(GENERATED, config.system.latent, config.seed)).to(device)
    generated = decode(system.generator, codes).cpu()
    data = ensemble(spins[torch.arange(min(GENERATED, len(spins)))], hamiltonian)
    figures = ensemble(generated, hamiltonian)
    figures |= {"data_kspace_mse": data["kspace_mse"], "diversity": figures["kspace_mse"] / data["kspace_mse"]}
    files = {
        f"{part}.safetensors": save_tensors(
            {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        )
        for part, network in system.networks().items()
    }
    files["generated.float32"] = generated[:KEPT].numpy().tobytes()
    files |= report.training(name, config, history, figures, data, generated.numpy())
    store.commit(
        "models",
        name,
        {
            "kind": "model",
            "config": train_request(config),
            "parents": [f"datasets/{config.dataset.name}"],
            "figures": figures,
            "history": history,
            "versions": versions(),
        },
        files,
    )
    if store.fs.exists(f"{store.path}/{_checkpoint(name)}"):
        store.fs.rm_file(f"{store.path}/{_checkpoint(name)}")
