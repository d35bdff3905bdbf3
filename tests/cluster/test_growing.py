"""Clusters that grow: what a command leaves in Ray's queue, and the nodes that an autoscaler adds for it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import ray
import yaml
from driving import HYBRID, orch
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.cluster_utils import Cluster

from orchestrator.store import Store

pytestmark = pytest.mark.slow

SWEEP = {
    "dataset": HYBRID.dataset.model_dump(mode="json"),
    "system": {"name": "evae-2021"},
    "batch": 16,
    "steps": 100_000,
    "seeds": 5,
}
TRAIN = {**{key: SWEEP[key] for key in ("dataset", "system", "batch", "steps")}, "resources": {"workers": 4}}
ANNEAL = ["anneal", "--L", "16", "--sweeps", "100", "--finish", "20", "--n"]


@pytest.fixture(scope="module")
def small():
    """A cluster of one node with one CPU."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def demand(address: str) -> Counter[tuple[float, ...]]:
    """CPUs of all that waits: of a request by itself, or of the parts of one that is to be placed together."""
    state = get_cluster_resource_state(GcsClient(address=address))
    waiting: Counter[tuple[float, ...]] = Counter()
    for one in state.pending_resource_requests:
        waiting[(one.request.resources_bundle["CPU"],)] += one.count
    for gang in state.pending_gang_resource_requests:
        waiting[tuple(part.resources_bundle["CPU"] for part in gang.requests)] += 1
    return waiting


@pytest.mark.parametrize(
    ("command", "waits"),
    [
        ([*ANNEAL, "32768"], {(1,): 15}),  # 16 shards
        (["optimize", "--model", HYBRID.name, "--population", "1000", "--iterations", "100000"], {(1,): 7}),
        (["evaluate", HYBRID.name, "--n", "4096", "--steps", "10000"], {(1,): 35}),  # 16 blocks twice, and four of data
        (["sweep", "--space", SWEEP], {(1,): 4}),
        (["train", "--model", TRAIN], {(1, 1, 1, 1): 1}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_a_command_could_use_waits_where_an_autoscaler_sees_it(command, waits, trained, small, tmp_path):
    for number, part in enumerate(command):
        if isinstance(part, dict):
            (tmp_path / "request.yaml").write_text(yaml.safe_dump(part))
            command[number] = str(tmp_path / "request.yaml")
    with (tmp_path / "printed").open("w") as output:
        driver = subprocess.Popen(
            orch(*command, "--store", trained.path),
            env={**os.environ, "RAY_ADDRESS": small.address},
            stdout=output,
            stderr=output,
        )
        try:
            deadline, seen = time.monotonic() + 300, Counter()
            while not seen >= Counter(waits):
                assert driver.poll() is None, (tmp_path / "printed").read_text()
                assert time.monotonic() < deadline, f"waiting: {seen}"
                seen = demand(small.address)
                time.sleep(0.5)
            assert seen.keys() == waits.keys()
        finally:
            driver.kill()
            driver.wait()
    deadline = time.monotonic() + 60
    while demand(small.address):  # what a dead driver asked for is taken back
        assert time.monotonic() < deadline
        time.sleep(0.5)


HEAD = "f" * 51 + "00000"  # the name that Ray's provider of nodes on one machine gives the head


def scaling(machine, types: dict[str, dict]) -> str:
    """The file of a cluster whose nodes Ray's autoscaler starts on this machine."""
    lists = [
        f"{kind}_commands"
        for kind in ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    ]
    provider = {
        # by its address, since a file that its own name asks for is not in the wheels of Ray
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "gcs_address": f"{ray.util.get_node_ip_address()}:{machine.port}",
        "head_node_id": HEAD,
        "launch_multiple": True,
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    file = machine.folder / "scaling.json"
    file.write_text(
        json.dumps(
            {
                "cluster_name": "one-machine",
                "max_workers": 4,
                "idle_timeout_minutes": 60,
                "upscaling_speed": 10.0,
                "provider": provider,
                "available_node_types": {"ray.head.default": head, **types},
                "head_node_type": "ray.head.default",
                "auth": {},
                "docker": {},
                "file_mounts": {},
                "cluster_synced_files": [],
                **{key: [] for key in lists},
            }
        )
    )
    return str(file)


@pytest.mark.parametrize("command", ["anneal", "sweep"])
def test_an_autoscaler_adds_the_nodes_that_a_command_uses(command, machine):
    (machine.home / "sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "steps": 10, "seeds": 2}))
    types = {"worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2}}
    own = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }
    start = f"~/venv/bin/ray start --head --num-cpus=0 --port={machine.port} --include-dashboard=false"
    machine.start(f"{start} --autoscaling-config={scaling(machine, types)}", **own)
    store = Store(str(machine.folder / "store"))
    asked = [*ANNEAL, "4096"] if command == "anneal" else ["sweep", "--space", str(machine.home / "sweep.yaml")]
    done = machine.orch(*asked, "--store", store.path, RAY_AUTH_MODE="disabled")
    assert done.returncode == 0, done.stderr
    log = Path(machine.folder, "ray", "session_latest", "logs", "monitor.log").read_text()
    assert log.count("Adding 1 node(s) of type worker") + 2 * log.count("Adding 2 node(s) of type worker") == 2
    assert store.names("datasets" if command == "anneal" else "sweeps")
