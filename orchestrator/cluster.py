"""Ray: the cluster that is there, or else this machine."""

from __future__ import annotations

import logging
import os

import ray

from orchestrator.errors import RequestError


def connect() -> None:
    """Join the cluster that ``ray up`` or ``ray start`` made; without one, start Ray on this machine."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address="auto", **options)
    except ConnectionError:
        ray.init(include_dashboard=False, **options)


def require(cpus: float, gpus: float, what: str) -> None:
    """Raise RequestError unless one node of the cluster has that many CPUs and GPUs."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        largest = max((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
        raise RequestError(
            f"{what}: expected a node with {cpus:g} CPUs and {gpus:g} GPUs, "
            f"found at most {largest[0]:g} CPUs and {largest[1]:g} GPUs"
        )


def cpus() -> int:
    """CPUs of the whole cluster."""
    return int(ray.cluster_resources().get("CPU", 1))
