import struct

import numpy as np
import pytest

from physics import ovf

HEADER = """# OOMMF OVF 2.0
#
# Segment count: 1
# Begin: Segment
# Begin: Header
# Title: m
# Desc: Total simulation time:  5e-10  s   ## a comment
# meshtype: rectangular
# meshunit: m
# valuedim: 3
# valuelabels: m_x m_y m_z
# valueunits: 1 1 1
# xnodes: 2
# ynodes: 2
# znodes: 1
# xstepsize: 2e-09
# ystepsize: 2e-09
# zstepsize: 1e-09
# xbase: 1e-09
# ybase: 1e-09
# zbase: 5e-10
# xmin: 0
# ymin: 0
# zmin: 0
# xmax: 4e-09
# ymax: 4e-09
# zmax: 1e-09
# End: Header
"""
NUMBERS = [1, 0, 0, 0, 1, 0, 0, 0, -1, 0.5, -0.5, 0.25]  # (x, y) = (0, 0), (1, 0), (0, 1), (1, 1)
SPINS = np.array([[[1, 0], [0, 0.5]], [[0, 1], [0, -0.5]], [[0, 0], [-1, 0.25]]])


def by_hand(form):
    """A file as the specification has it, byte by byte."""
    if form == "Text":
        data = b"1 0 0\n0 1 0\n# between lines\n0\t0 -1\r\n 0.5 -5e-1 .25\n"
    elif form == "Binary 4":
        data = struct.pack("<13f", 1234567.0, *NUMBERS) + b"\n"
    else:
        data = struct.pack("<13d", 123456789012345.0, *NUMBERS) + b"\n"
    return (
        HEADER.encode() + f"# Begin: Data {form}\n".encode() + data + f"# End: Data {form}\n# End: Segment\n".encode()
    )


@pytest.mark.parametrize("form", ["Text", "Binary 4", "Binary 8"])
def test_files_written_by_hand_from_the_specification_are_read(form, tmp_path):
    path = tmp_path / "m.ovf"
    path.write_bytes(by_hand(form))
    np.testing.assert_array_equal(ovf.read(path), SPINS)
    path.write_bytes(by_hand(form).replace(b"meshtype", b"MeshType").replace(b"Begin: Data B", b"begin: data b"))
    np.testing.assert_array_equal(ovf.read(path), SPINS)


@pytest.mark.parametrize("form", ["text", "binary4", "binary8"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trips_keep_every_digit_that_the_form_holds(form, dtype, tmp_path, random_spins):
    spins = random_spins(6).numpy().astype(dtype)[:, :4]
    ovf.write(tmp_path / "m.ovf", spins, form)
    kept = np.float32 if form == "binary4" else dtype
    np.testing.assert_array_equal(ovf.read(tmp_path / "m.ovf").astype(kept), spins.astype(kept))


def test_the_header_says_where_the_cells_are(tmp_path, random_spins):
    ovf.write(tmp_path / "m.ovf", random_spins(4).numpy()[:, :2], "text", cell=2e-9, title="labyrinth")
    lines = (tmp_path / "m.ovf").read_text().splitlines()
    assert lines[0] == "# OOMMF OVF 2.0"
    for line in ("# Title: labyrinth", "# xnodes: 4", "# ynodes: 2", "# znodes: 1", "# xmax: 8e-09", "# ybase: 1e-09"):
        assert line in lines


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"OVF 2.0", b"OVF 1.0", "expected OVF 2.0"),
        (b"valuedim: 3", b"valuedim: 1", "valuedim: expected 3, found 1"),
        (b"znodes: 1", b"znodes: 2", "znodes: expected 1, found 2"),
        (b"meshtype: rectangular", b"meshtype: irregular", "meshtype: expected rectangular, found irregular"),
        (b"xnodes: 2", b"xnodes: two", "xnodes, ynodes: expected whole numbers"),
        (b"xnodes: 2", b"xnodes: 3", "no '# End: Data' after 18 numbers"),
        (struct.pack("<f", 1234567.0), struct.pack(">f", 1234567.0), "wrong check value"),
        (struct.pack("<f", 0.25) + b"\n# End: Data", b"# End: Data", "no '# End: Data' after 12 numbers"),
        (b"Data Binary 4", b"Data Binary 2", "no '# Begin: Data'"),
    ],
)
def test_files_that_are_not_a_layer_of_spins_are_refused(old, new, message, tmp_path):
    content = by_hand("Binary 4")
    assert old in content
    (tmp_path / "m.ovf").write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=f"m.ovf.*{message}"):
        ovf.read(tmp_path / "m.ovf")


def test_a_text_that_is_cut_short_is_refused(tmp_path):
    (tmp_path / "m.ovf").write_bytes(by_hand("Text").replace(b" .25\n", b"\n"))
    with pytest.raises(ValueError, match="expected 12 numbers, found 11"):
        ovf.read(tmp_path / "m.ovf")
    (tmp_path / "m.ovf").write_bytes(by_hand("Text").partition(b" .25")[0])
    with pytest.raises(ValueError, match="cut short"):
        ovf.read(tmp_path / "m.ovf")
