"""A disk that fills while something is made: one line, what is whole is kept, and with more room the work goes on."""

import subprocess
from pathlib import Path

import pytest
from driving import HYBRID, SETTINGS, contents

from orchestrator.data import run as data
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import FailedError
from orchestrator.lease import records
from orchestrator.store import Store
from orchestrator.training import run as training

DATA = DatasetConfig.model_validate(SETTINGS["dataset"])


class Disk:
    """A file system of its own, of a size in kB that can be changed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def resize(self, kilobytes: int) -> None:
        options = f"size={kilobytes}k" + (",remount" if self.folder.is_mount() else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this user may not mount a file system")


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").mkdir()
    yield Disk(tmp_path / "disk")
    subprocess.run(["umount", str(tmp_path / "disk")], capture_output=True)


def test_a_data_set_on_a_full_disk_is_one_line_and_goes_on_with_more_room(on_ray, trained, disk):
    disk.resize(500)
    store = Store(str(disk.folder / "store"))
    with pytest.raises(OSError, match=r"No space left on device: .*/store/datasets/"):
        data.make(DATA, store)
    ((_, name, record),) = records(store)
    assert (name, record["state"], record["error"]) == (DATA.name, "failed", "OSError")
    whole = {path.name for path in Path(store.folder("datasets", DATA.name), "shards").iterdir()}
    disk.resize(20_000)
    data.make(DATA, store)
    assert len(whole) < len(data.shards(DATA))
    assert contents(store, "datasets") == contents(trained, "datasets")


@pytest.mark.slow
def test_a_training_on_a_full_disk_ends_and_goes_on_with_more_room(trained, disk):
    disk.resize(20_000)
    store = Store(str(disk.folder / "store"))
    for path, content in contents(trained, f"datasets/{DATA.name}").items():
        store.write_file(f"datasets/{DATA.name}/{path}", content)
    store.remove_file(f"datasets/{DATA.name}/card.json")
    data.make(DATA, store)
    used = int(subprocess.run(["du", "-sk", store.path], capture_output=True, text=True).stdout.split()[0])
    disk.resize(used + 60)
    with pytest.raises(FailedError, match=r"No space left on device.*checkpoint.safetensors"):
        training.run(HYBRID, store)
    disk.resize(20_000)
    training.run(HYBRID, store)
    for path, content in contents(trained, "models").items():
        if path.endswith(".safetensors"):
            assert contents(store, "models")[path] == content
