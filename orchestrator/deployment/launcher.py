"""What is wrong with a file for ``ray up``, found before a node is paid for.

Ray's own validation comes first.  It lets pass what fails later, on a node: an image below our Python, workers without
access to the bucket, versions that differ between nodes, a token that is not there.  The rest is for that.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import RequestError
from orchestrator.files import in_a_line
from physics.registry import reason, shown

TOKEN = "~/.ray/auth_token"
PYTHON = 3, 11  # the oldest, as pyproject.toml says
SETUP = "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"
START = "head_start_ray_commands", "worker_start_ray_commands"
INSTALL = re.compile(r"pip3? install ([^;&|]*)")
TAKES_VALUE = "-r", "--requirement", "-c", "--constraint", "--python", "-p", "--index-url", "--extra-index-url"
PINNED = re.compile(r"([\w.-]+)(?:\[.*\])?==([\w.+!-]+)")
RAY_IMAGE = re.compile(r"rayproject/ray:(\d+\.\d+\.\d+)-py3(\d+)")

Config = dict[str, Any]
Fault = tuple[str, str, Any]
"""The key, what is expected, and what was found."""


def faults(path: str) -> list[str]:
    """A line for each fault of a cluster file: key, what is expected, what was found; none if it is sound.

    Raises:
        RequestError: the file cannot be read, or is not YAML.
    """
    config = _read(path)
    if refused := _refused(config):
        return [f"{path}: {refused}"]
    found = [*_node_types(config), *_aws(config), *_token(config), *_ports(config)]
    found += [*_python(config), *_packages(config, Path(path).parent)]
    return [f"{path}: {key}: expected {expected}, found {shown(value)}" for key, expected, value in found]


def _read(path: str) -> Config:
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: not readable: {reason(error)}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RequestError(f"{path}: not readable as YAML{f' at line {mark.line + 1}' if mark else ''}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected keys and values, found {shown(content)}")
    return content


def _refused(config: Config) -> str:
    """What Ray itself says against the file, in a line; nothing if it takes it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            validate_config(prepare_config(config))
    except KeyError as error:
        return f"{error.args[0]}: expected, found nothing"
    except Exception as error:  # jsonschema's, click's and Ray's own
        where = ".".join(map(str, getattr(error, "absolute_path", ())))
        return (f"{where}: " if where else "") + in_a_line(error)
    return ""


def _types(config: Config) -> Iterator[tuple[str, Config]]:
    """Key and content of each node type; a cluster of machines of one's own has none."""
    for name, node in config.get("available_node_types", {}).items():
        yield f"available_node_types.{name}", node


def _node_types(config: Config) -> Iterator[Fault]:
    if not config.get("auth", {}).get("ssh_user"):
        yield "auth.ssh_user", "the user that Ray logs in as", None
    for key, node in _types(config):
        for resource in node.get("resources", {}):
            if resource != resource.upper() and resource.upper() in ("CPU", "GPU"):
                yield f"{key}.resources", resource.upper(), resource


def _aws(config: Config) -> Iterator[Fault]:
    """Image, instance profile, disk and the way back from spot, of every node type."""
    if config["provider"]["type"] != "aws":
        return
    for key, node in _types(config):
        own = node["node_config"]
        if str(own.get("ImageId") or "latest_dlami").lower() == "latest_dlami":
            yield f"{key}.node_config.ImageId", "an image of yours (Ray's own is an Ubuntu 18.04)", own.get("ImageId")
        if not own.get("IamInstanceProfile"):
            yield f"{key}.node_config.IamInstanceProfile", "a profile that may use the bucket", None
        if not any("VolumeSize" in disk.get("Ebs", {}) for disk in own.get("BlockDeviceMappings", [])):
            yield f"{key}.node_config.BlockDeviceMappings", "a disk with a VolumeSize", own.get("BlockDeviceMappings")
        if _is_spot(node):
            if key.endswith(f".{config['head_node_type']}"):
                yield f"{key}.node_config.InstanceMarketOptions", "a head at full price, since all end with it", "spot"
            elif not any(_stands_in(other, node) for _, other in _types(config)):
                yield key, "the same InstanceType at full price with a lower priority", own.get("InstanceType")


def _is_spot(node: Config) -> bool:
    return node["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot"


def _stands_in(other: Config, spot: Config) -> bool:
    """Whether Ray starts ``other`` where there is no ``spot`` to be had, and only then."""
    same = other["node_config"].get("InstanceType") == spot["node_config"].get("InstanceType")
    workers = other.get("max_workers", 1) > 0
    return same and workers and not _is_spot(other) and other.get("priority", 0) < spot.get("priority", 0)


def _token(config: Config) -> Iterator[Fault]:
    mounts = config.get("file_mounts", {})
    if TOKEN not in mounts:
        yield "file_mounts", f"{TOKEN}: {TOKEN}, made by 'orch cluster token'", ", ".join(mounts)
    for key in START:
        starts = [command for command in config.get(key, []) if re.search(r"\bray start\b", command)]
        if not starts:
            yield key, "a command with 'RAY_AUTH_MODE=token ray start'", None
        for command in starts:
            if "RAY_AUTH_MODE=token" not in command:
                yield key, "RAY_AUTH_MODE=token before 'ray start'", command


def _ports(config: Config) -> Iterator[Fault]:
    """What is open to the world besides SSH."""
    for permission in config["provider"].get("security_group", {}).get("IpPermissions", []):
        if (permission.get("FromPort"), permission.get("ToPort")) != (22, 22):
            opened = f"{permission.get('FromPort')} to {permission.get('ToPort')}"
            yield "provider.security_group.IpPermissions", "no open port but 22", opened
    for key in START:
        for command in config.get(key, []):
            if re.search(r"--dashboard-host[= ](0\.0\.0\.0|::)", command):
                yield key, "a dashboard that 'ray dashboard' reaches by SSH", command


def _commands(config: Config) -> Iterator[tuple[str, str]]:
    """Key and text of each command that sets a node up."""
    for key in SETUP:
        yield from ((key, command) for command in config.get(key, []))
    for where, node in _types(config):
        for key in SETUP:
            yield from ((f"{where}.{key}", command) for command in node.get(key, []))


def _image(config: Config) -> str:
    """Of the container that all runs in, if there is one."""
    docker = config.get("docker", {})
    return str(docker.get("image") or docker.get("head_image") or "")


def _python(config: Config) -> Iterator[Fault]:
    wanted = f"{PYTHON[0]}.{PYTHON[1]} or newer"
    if image := _image(config):
        if (known := RAY_IMAGE.match(image)) and int(known[2]) < PYTHON[1]:
            yield "docker.image", f"Python {wanted}", image
        if image.rpartition(":")[2] == "latest" or not re.search(r"[:@]", image):
            yield "docker.image", "a tag or digest that stays the same", image
        return
    chosen = [
        (key, version)
        for key, command in _commands(config)
        for version in re.findall(r"(?:--python |\bpython)(\d+\.\d+[\d.]*)", command)
    ]
    if not chosen:
        yield "setup_commands", f"'uv venv --python' of {wanted}, or a docker.image", None
    for key, version in chosen:
        if tuple(map(int, version.split(".")[:2])) < PYTHON:
            yield key, f"Python {wanted}", version


def _packages(config: Config, folder: Path) -> Iterator[Fault]:
    """That nodes install the lock file, which is there, and nothing else without a version or with another one."""
    locks = {
        word: key for key, command in _commands(config) for word in command.split() if word.endswith((".lock", ".txt"))
    }
    pins: dict[str, str] = {}
    for lock, key in locks.items():
        path = _local(lock, config, folder)
        if path is None:
            yield key, "a lock file below one of the file_mounts", lock
        elif not path.is_file():
            yield key, f"a lock file that is there: {path}", lock
        else:
            pins |= pinned(path.read_text())
    if not locks and not _image(config):
        yield "setup_commands", "the packages of a lock file", None
    if pins and "ray" not in pins:
        yield next(iter(locks.values())), "a lock file with ray", ", ".join(locks)
    known = RAY_IMAGE.match(_image(config))
    if known and known[1] != pins.get("ray", known[1]):
        yield "docker.image", f"ray {pins['ray']} of the lock file", known[1]
    for key, command in _commands(config):
        for package in _installed(command):
            exact = PINNED.fullmatch(package)
            if exact is None:
                yield key, "package==version", package
            elif pins.get(_plain(exact[1]), exact[2]) != exact[2]:
                yield key, f"{pins[_plain(exact[1])]} of the lock file", package


def _local(path: str, config: Config, folder: Path) -> Path | None:
    """Where a file of a node comes from."""
    for remote, local in config.get("file_mounts", {}).items():
        if path == remote or path.startswith(remote.rstrip("/") + "/"):
            below = path[len(remote.rstrip("/")) :].lstrip("/")
            return (folder / Path(local).expanduser() / below) if below else folder / Path(local).expanduser()
    return None


def _installed(command: str) -> Iterator[str]:
    """Packages that a command installs by name."""
    for arguments in INSTALL.findall(command):
        words = iter(shlex.split(arguments))
        for word in words:
            if word in TAKES_VALUE:
                next(words, None)
            elif not word.startswith("-") and not re.match(r"[~./$]", word):
                yield word


def pinned(lock: str) -> dict[str, str]:
    """Version of each package of a lock file."""
    return {_plain(found[1]): found[2] for line in lock.splitlines() if (found := PINNED.match(line))}


def _plain(package: str) -> str:
    """A name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()
