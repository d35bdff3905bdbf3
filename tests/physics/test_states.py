"""Files of states and masks: what is damaged, or claims more than it holds, is refused in one line."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from physics.states import mask_named, read_states, read_together

UP = np.stack([np.zeros((4, 4)), np.zeros((4, 4)), np.ones((4, 4))]).astype(np.float32)


def header(shape: tuple, descr: object = "<f4") -> bytes:
    """Of a .npy file, with no data after it."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def saved(path: Path, array: object) -> bytes:
    np.save(path, np.asarray(array), allow_pickle=True)
    return path.read_bytes()


NPY = {
    "nothing": (b"", "not a whole array of NumPy"),
    "magic": (b"\x93NUMPY", "not a whole array of NumPy"),
    "no header": (b"\x93NUMPY\x01\x00\xff\xff{'descr", "not a whole array of NumPy"),
    "code in header": (b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('true')   ", "not a whole array of NumPy"),
    "a pickle": (pickle.dumps(UP), "not a whole array of NumPy"),
    "terabytes": (header((2, 3, 10**6, 10**6)), "not a whole array of NumPy"),
    "more than there are bytes": (header((2**40, 3, 2**40, 2**40)), "not a whole array of NumPy"),
    "a negative shape": (header((-1, 3, 4, 4)), "not a whole array of NumPy"),
    "an end that is missing": (header((3, 4, 4)) + UP.tobytes()[:-1], "not a whole array of NumPy"),
    "text for a type": (header((3, 4, 4), "nonsense") + UP.tobytes(), "not a whole array of NumPy"),
}
ARRAYS = {
    "objects": (np.array([{}, 1], object), "not a whole array of NumPy"),
    "complex": (UP + 0j, "expected real numbers, found complex64 of shape (3, 4, 4)"),
    "records": (np.zeros((3, 4, 4), [("a", "f4")]), "expected real numbers"),
    "text": (np.array([["up"]]), "expected real numbers"),
    "integers": (UP.astype(int), "expected floating-point numbers, found int64"),
    "booleans": (UP.astype(bool), "expected floating-point numbers, found bool"),
    "a number": (np.float32(1), "expected numbers of shape (3, L, L)"),
    "no states": (np.zeros((0, 3, 4, 4)), "expected real numbers, found float64 of shape (0, 3, 4, 4)"),
    "no sites": (np.zeros((3, 0, 0)), "expected real numbers"),
    "five axes": (UP[None, None], "expected numbers of shape (3, L, L)"),
    "four components": (np.ones((4, 4, 4)), "expected numbers of shape (3, L, L)"),
    "not a number": (np.where(UP == 1, np.nan, UP), "expected finite numbers, found nan"),
    "infinite": (np.where(UP == 1, -np.inf, UP), "expected finite numbers, found -inf"),
}


@pytest.mark.parametrize("case", [*NPY, *ARRAYS])
def test_a_numpy_file_that_holds_no_states_is_refused(case, tmp_path):
    path = tmp_path / "m.npy"
    content, said = NPY[case] if case in NPY else (saved(path, ARRAYS[case][0]), ARRAYS[case][1])
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_states(path)
    assert str(error.value).startswith(f"{path}: {said}")
    assert len(str(error.value).splitlines()) == 1


def test_what_a_header_claims_takes_no_memory(tmp_path):
    path = tmp_path / "m.npy"
    path.write_bytes(header((2, 3, 20_000, 20_000)))  # 9 GiB, that a machine may well promise
    tracemalloc.start()
    with pytest.raises(ValueError, match="not a whole array"):
        read_states(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


OVF = """# OOMMF OVF 2.0
# meshtype: rectangular
# valuedim: 3
# xnodes: 2
# ynodes: 2
# znodes: 1
# Begin: Data Text
0 0 1 0 0 1 0 0 1 0 0 1
# End: Data Text
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("xnodes: 2", "xnodes: 1000000000000", "text data: expected 6000000000000 numbers, found 12"),
        ("xnodes: 2", f"xnodes: {'9' * 5000}", "xnodes, ynodes: expected whole numbers"),
        ("xnodes: 2", "xnodes: -2", "xnodes, ynodes: expected at least 1, found -2 and 2"),
        ("xnodes: 2", "xnodes: 0", "xnodes, ynodes: expected at least 1, found 0 and 2"),
        ("ynodes: 2", "ynodes: 2.5", "xnodes, ynodes: expected whole numbers"),
        ("0 0 1 0", "0 0 up 0", "text data: could not convert string to float"),
        ("0 0 1 0", "0 0 nan 0", "expected finite numbers, found nan"),
        ("0 0 1 0", "0 0 1e999 0", "expected finite numbers, found inf"),
        ("valuedim: 3", f"valuedim: {'3' * 5000}", "valuedim: expected 3, found 333"),
        ("# OOMMF", "\udcff OOMMF", "expected OVF 2.0, found"),
        ("meshtype: rect", "meshtype: \udcff\udcfe\0rect", "meshtype: expected rectangular, found"),
        ("# End: Data Text\n", "", "text data: cut short"),
    ],
)
def test_an_ovf_file_that_holds_no_states_is_refused(old, new, said, tmp_path):
    path = tmp_path / "m.ovf"
    path.write_bytes(OVF.replace(old, new, 1).encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError) as error:
        read_states(path)
    assert str(error.value).startswith(f"{path}: {said}")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 200 + len(str(path))


@pytest.mark.parametrize("suffix", [".npy", ".ovf"])
def test_what_is_no_file_is_named(suffix, tmp_path):
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zeros{suffix}").symlink_to("/dev/zero")
    names = dict.fromkeys(("folder", "pipe", "zeros"), "expected a file, found a folder or a device")
    names |= {"missing": "no such file or directory", "loop": "too many levels"}
    for name, said in {**names, "x" * 300: "file name too long"}.items():
        path = tmp_path / f"{name}{suffix}"
        with pytest.raises(ValueError) as error:
            read_states(path)
        assert str(error.value).startswith(f"{path}: {said}")


@pytest.mark.parametrize("name", ["m.npy", "m.ovf"])
def test_a_file_without_permission_is_named(name, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr("physics.states.open_memmap", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"{name}: permission denied"):
        read_states(tmp_path / name)


def test_of_several_files_the_one_at_fault_is_named(tmp_path):
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    np.save(paths[0], UP)
    np.save(paths[1], np.where(UP == 1, np.nan, UP))
    with pytest.raises(ValueError, match=r"b.npy: expected finite numbers, found nan"):
        read_together(paths)


@pytest.mark.parametrize(("scale", "dtype"), [(1e30, np.float32), (1e-30, np.float32), (1e150, np.float64)])
def test_lengths_are_right_however_long_the_spins_are(scale, dtype, tmp_path):
    np.save(tmp_path / "a.npy", UP.astype(dtype) * dtype(scale))
    unit, present = read_together([tmp_path / "a.npy"])
    np.testing.assert_array_equal(unit[0], UP)
    assert present.all()


@pytest.mark.filterwarnings("error")
def test_lengths_beyond_all_numbers_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", 1e200 * UP.astype(float))
    with pytest.raises(ValueError, match=r"a.npy: expected numbers whose squares are finite, found 1e\+200"):
        read_together([tmp_path / "a.npy"])


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones((4, 4), complex), "expected real numbers, found complex128"),
        (np.array([[None]]), "not a whole array of NumPy"),
        (np.full((4, 4), np.nan), "expected 0 and 1 of shape (4, 4), found float64 of (4, 4)"),
        (np.full((4, 4), 2), "expected 0 and 1 of shape (4, 4), found int64 of (4, 4)"),
        (np.ones((4, 5)), "expected 0 and 1 of shape (4, 4), found float64 of (4, 5)"),
        (np.ones(16), "expected 0 and 1 of shape (4, 4), found float64 of (16,)"),
        (np.array([["1"]]), "expected real numbers"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_a_mask_of_anything_but_sites_is_refused(mask, said, tmp_path):
    path = tmp_path / "mask.npy"
    saved(path, mask)
    with pytest.raises(ValueError) as error:
        mask_named(str(path), 4)
    assert str(error.value).startswith(f"mask {path}: {said}")


def test_a_mask_may_be_of_booleans_or_of_zeros_and_ones(tmp_path):
    disk = mask_named("disk", 8)
    for dtype in (bool, int, np.float32):
        np.save(tmp_path / "mask.npy", disk.astype(dtype))
        found = mask_named(str(tmp_path / "mask.npy"), 8)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, disk)


@pytest.mark.parametrize("text", ["", "disc", "x" * 9000, "missing.npy", "a\0.npy"])
def test_what_is_no_mask_is_refused(text):
    with pytest.raises(ValueError, match="mask ") as error:
        mask_named(text, 8)
    assert len(str(error.value)) < 200
