import os
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)  # on a busy machine the threads of small operations wait for each other
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before the kernel is imported, here and in Ray's workers


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of shards of object stores: one of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
