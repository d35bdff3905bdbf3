"""Ray: the cluster that is there, or else this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import ray

from orchestrator.errors import RequestError

RETRIES = 3  # of a trial or of a training whose workers died, before it is given up
CURRENT_CLUSTER = Path("/tmp/ray/ray_current_cluster")  # written by `ray start`


def connect(cpus: float = 0, gpus: float = 0) -> None:
    """Join the cluster that ``ray up`` or ``ray start`` made; without one, start Ray on this machine.

    Raises:
        RequestError: this machine has fewer CPUs or GPUs than a trial asks for (a cluster may grow to have them).
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    joined = bool(os.environ.get("RAY_ADDRESS")) or CURRENT_CLUSTER.exists()
    ray.init(include_dashboard=False, **options)
    here = ray.cluster_resources()
    if not joined and (here.get("CPU", 0) < cpus or here.get("GPU", 0) < gpus):
        raise RequestError(
            f"resources: expected a machine with {cpus:g} CPUs and {gpus:g} GPUs, "
            f"found {here.get('CPU', 0):g} and {here.get('GPU', 0):g}; a cluster is joined when there is one"
        )


def cpus() -> int:
    """CPUs of the whole cluster."""
    return int(ray.cluster_resources().get("CPU", 1))


def gpus() -> int:
    """GPUs of the whole cluster."""
    return int(ray.cluster_resources().get("GPU", 0))
