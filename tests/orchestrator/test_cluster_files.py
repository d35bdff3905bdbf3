"""cluster.yaml and cluster-onprem.yaml: what Ray takes, what our check finds, which machine Ray would start."""

from __future__ import annotations

import copy
import json
import re
import stat
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.deployment.launcher import faults, pinned
from orchestrator.deployment.token import ensure_token
from orchestrator.errors import RequestError

ROOT = Path(__file__).parents[2]
AWS, ONPREM = ROOT / "cluster.yaml", ROOT / "cluster-onprem.yaml"


def content(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


@pytest.mark.parametrize("file", [AWS, ONPREM], ids=lambda file: file.name)
def test_ray_and_our_check_take_the_file(file):
    prepared = prepare_config(content(file))
    validate_config(prepared)
    assert prepared["provider"] == content(file)["provider"]
    assert faults(str(file)) == []


def without(*keys):
    """An edit that removes what lies at the keys."""

    def edit(config):
        *path, last = keys
        for key in path:
            config = config[key]
        del config[last]

    return edit


def put(value, *keys):
    """An edit that puts a value where the keys lead."""

    def edit(config):
        *path, last = keys
        for key in path:
            config = config.setdefault(key, {}) if isinstance(config, dict) else config[key]
        config[last] = value

    return edit


def command(key, old, new):
    """An edit of the commands of a list."""

    def edit(config):
        changed = [text.replace(old, new) for text in config[key]]
        assert changed != config[key]
        config[key] = changed

    return edit


TYPES = "available_node_types"
WRONG = [
    (AWS, "provider", without("provider"), "provider"),
    (AWS, "a key that Ray does not know", put(1, "max_wokers"), "max_wokers"),
    (AWS, "too many workers wanted", put(9, TYPES, "cpu", "min_workers"), "max_workers"),
    (AWS, "no user", without("auth", "ssh_user"), "auth.ssh_user"),
    (AWS, "gpu in small letters", put({"gpu": 1}, TYPES, "gpu", "resources"), f"{TYPES}.gpu.resources"),
    *((AWS, f"no image of {n}", without(TYPES, n, "node_config", "ImageId"), f"{TYPES}.{n}.node_config.ImageId")
      for n in ("head", "cpu", "cpu-spot", "gpu", "gpu-spot")),
    *((AWS, f"no profile of {n}", without(TYPES, n, "node_config", "IamInstanceProfile"),
       f"{TYPES}.{n}.node_config.IamInstanceProfile") for n in ("head", "cpu", "cpu-spot", "gpu", "gpu-spot")),
    (AWS, "Ray's own image", put("latest_dlami", TYPES, "cpu", "node_config", "ImageId"),
     f"{TYPES}.cpu.node_config.ImageId"),
    (AWS, "no disk", without(TYPES, "gpu", "node_config", "BlockDeviceMappings"),
     f"{TYPES}.gpu.node_config.BlockDeviceMappings"),
    (AWS, "a head on spot", put({"MarketType": "spot"}, TYPES, "head", "node_config", "InstanceMarketOptions"),
     f"{TYPES}.head.node_config.InstanceMarketOptions"),
    (AWS, "spot that nothing stands in for", without(TYPES, "gpu"), f"{TYPES}.gpu-spot"),
    (AWS, "spot of another machine", put("c7i.large", TYPES, "cpu", "node_config", "InstanceType"),
     f"{TYPES}.cpu-spot"),
    (AWS, "spot that does not come first", put(0, TYPES, "cpu-spot", "priority"), f"{TYPES}.cpu-spot"),
    (AWS, "an open port", put([{"FromPort": 22, "ToPort": 8265}], "provider", "security_group", "IpPermissions"),
     "provider.security_group.IpPermissions"),
    *((file, f"{edited}", edit, key) for file in (AWS, ONPREM) for edited, edit, key in (
        ("token not mounted", without("file_mounts", "~/.ray/auth_token"), "file_mounts"),
        ("head without token", command("head_start_ray_commands", "RAY_AUTH_MODE=token ", ""),
         "head_start_ray_commands"),
        ("worker without token", command("worker_start_ray_commands", "RAY_AUTH_MODE=token ", ""),
         "worker_start_ray_commands"),
        ("worker that starts nothing", put(["true"], "worker_start_ray_commands"), "worker_start_ray_commands"),
        ("an open dashboard", command("head_start_ray_commands", "--head", "--head --dashboard-host=0.0.0.0"),
         "head_start_ray_commands"),
        ("an old Python", command("setup_commands", "--python 3.11.18", "--python 3.8"), "setup_commands"),
        ("any Python", command("setup_commands", "--python 3.11.18 ", ""), "setup_commands"),
        ("a lock that is not there", command("setup_commands", "requirements-cluster.lock", "none.lock"),
         "setup_commands"),
        ("a lock without ray", command("setup_commands", "orch/requirements-cluster.lock", "orch/docs/none.txt"),
         "setup_commands"),
        ("a lock that nobody brings", command("setup_commands", "~/orch/requirements-cluster.lock", "/a.lock"),
         "setup_commands"),
        ("a package of any version", put(["pip install -U 'ray[default]'"], "head_setup_commands"),
         "head_setup_commands"),
        ("a package of another version", put(["pip install ray[default]==2.9.0"], "worker_setup_commands"),
         "worker_setup_commands"),
        ("a container of another ray", put({"image": "rayproject/ray:2.9.0-py311", "container_name": "a"}, "docker"),
         "docker.image"),
        ("a container of an old Python", put({"image": "rayproject/ray:2.60.0-py310", "container_name": "a"}, "docker"),
         "docker.image"),
        ("a container of any day", put({"image": "rayproject/ray:latest", "container_name": "a"}, "docker"),
         "docker.image"),
    )),
    (ONPREM, "no head", without("provider", "head_ip"), "head_ip"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "what", "edit", "key"), WRONG, ids=[f"{w[0].stem}: {w[1]}" for w in WRONG])
def test_a_fault_that_is_put_in_is_found(file, what, edit, key, tmp_path):
    config = copy.deepcopy(content(file))
    edit(config)
    config["file_mounts"]["~/orch"] = str(ROOT)
    (tmp_path / "edited.yaml").write_text(yaml.safe_dump(config))
    found = faults(str(tmp_path / "edited.yaml"))
    assert len(found) == 1
    assert key in found[0]


def test_what_is_found_is_a_line_each_and_exit_code_2(tmp_path):
    config = content(AWS)
    without(TYPES, "cpu", "node_config", "ImageId")(config)
    without("auth", "ssh_user")(config)
    config["file_mounts"]["~/orch"] = str(ROOT)
    file = tmp_path / "edited.yaml"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(RequestError) as refused:
        CliRunner().invoke(app, ["cluster", "check", str(file)], catch_exceptions=False)
    assert len(str(refused.value).splitlines()) == 2
    result = CliRunner().invoke(app, ["cluster", "check", str(file), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["faults"] == str(refused.value).splitlines()
    assert "no fault" in CliRunner().invoke(app, ["cluster", "check", str(AWS)]).stdout


@pytest.mark.parametrize("text", ["- a list", "a: [1", "a: \x00", "provider: aws", "provider: {}", "{}"])
def test_a_file_that_is_none_of_a_cluster_is_refused_in_one_line(text, tmp_path):
    file = tmp_path / "none.yaml"
    file.write_text(text)
    try:
        found = faults(str(file))
    except RequestError as error:
        found = str(error).splitlines()
    assert len(found) == 1
    assert str(file) in found[0]


def test_what_is_pinned_runs_on_the_oldest_python_that_is_promised():
    pins = pinned((ROOT / "requirements.lock").read_text())
    oldest = re.search(r'^requires-python = ">=([\d.]+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    here = [part for part in distributions() if pins.get(canonicalize_name(part.name)) == part.version]
    needs = {part.name: part.metadata["Requires-Python"] or "" for part in here}
    assert len(needs) > 50
    assert {name: need for name, need in needs.items() if f"{oldest}.0" not in SpecifierSet(need)} == {}


def test_nodes_install_what_the_lock_file_says():
    nodes, here = (
        pinned((ROOT / "requirements-cluster.lock").read_text()),
        pinned((ROOT / "requirements.lock").read_text()),
    )
    shared = nodes.keys() & here.keys()
    assert {name: nodes[name] for name in shared} == {name: here[name] for name in shared}
    needed = re.findall(r'^    "([\w-]+)[\[>]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(needed) > 20
    assert {name.lower() for name in needed} <= shared
    assert {"s3fs", "boto3", "grpcio", "nvidia-cudnn-cu13"} <= nodes.keys()


def test_what_is_said_of_kubernetes_and_slurm_names_the_versions_of_the_lock_file():
    ray = pinned((ROOT / "requirements-cluster.lock").read_text())["ray"]
    page = (ROOT / "docs" / "cluster.md").read_text()
    manifest = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    assert manifest["spec"]["rayVersion"] == ray
    assert f"FROM rayproject/ray:{ray}-py311" in page
    groups = manifest["spec"]["workerGroupSpecs"]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in groups}
    version = re.search('^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert images == {f"registry.example.org/orch:{version[1]}"}
    assert manifest["spec"]["authOptions"] == {"mode": "token"}
    script = page.partition("```bash\n")[2].partition("```")[0]
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert "RAY_AUTH_MODE=token" in script


def started(demand: dict, count: int, failed: dict[str, float]) -> dict[str, int]:
    """What Ray's autoscaler would start for a demand, after these node types were not to be had."""
    prepared = prepare_config(content(AWS))
    sizes = {"head": {"CPU": 8}, "cpu": {"CPU": 32}, "gpu": {"CPU": 8, "GPU": 1}}
    for name, node in prepared[TYPES].items():
        node["resources"] = sizes[name.removesuffix("-spot")]  # as Ray asks AWS for
    config = AutoscalingConfig(prepared, skip_content_hash=True)
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            disable_launch_config_check=True,
            resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(demand)] * count),
            recoverable_resource_availabilities=failed,
        )
    )
    return {launch.instance_type: launch.count for launch in reply.to_launch}


def test_spot_comes_first_and_what_is_not_to_be_had_is_replaced():
    gpus, cpus = ({"GPU": 1, "CPU": 4}, 2), ({"CPU": 1}, 64)
    assert started(*gpus, {}) == {"gpu-spot": 2}
    assert started(*cpus, {}) == {"cpu-spot": 2}
    assert started(*gpus, {"gpu-spot": 0.0}) == {"gpu": 2}
    assert started(*cpus, {"cpu-spot": 0.5}) == {"cpu": 2}
    assert started({"GPU": 1}, 6, {}) == {"gpu-spot": 4, "gpu": 2}


def test_a_token_is_made_once_and_read_by_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path, made = ensure_token()
    token = path.read_text()
    assert made
    assert path == tmp_path / "home" / ".ray" / "auth_token"
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert ensure_token() == (path, False)
    assert path.read_text() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("")
    with pytest.raises(RequestError, match="empty file"):
        ensure_token()
