"""YAML as a person may write it: what is read, and what is refused in one short line."""

from pathlib import Path

import pytest

from orchestrator.config import assignment, load
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected keys and values, found None"),
        ("[1]", "expected keys and values, found [1]"),
        ("L: 8\nL: 16\n", "not readable as YAML at line 2: L is given twice"),
        ("L: !!int x", "L: expected an integer, unable to parse string as an integer, found 'x'"),
        ("L: !!timestamp 2001-99-99", "not readable as YAML at line 1: could not determine a constructor for the tag"),
        ("L: !!python/object:os.system x", "not readable as YAML at line 1: could not determine a constructor"),
        ("L: !!bool x", "not readable as YAML"),
        ("L: 2001-01-01", "L: expected an integer, unable to parse string as an integer, found '2001-01-01'"),
        ("L: 1:30", "L: expected an integer, unable to parse string as an integer, found '1:30'"),
        (f"L: {'9' * 5000}", "L: expected a smaller integer, found '99999"),
        ("L: 9223372036854775808", "L: expected a number of at most 18 digits, found 9223372036854775808"),
        ("sampler: {torque: 1e400}", "sampler.torque: expected a finite number, found inf"),
        ("sampler: {torque: .nan}", "sampler.torque: expected a finite number, found nan"),
        ("sampler: {T_start: [1]}", "sampler.T_start: expected a number, found [1]"),
        ("hamiltonian: [1]", "hamiltonian: expected keys and values, found [1]"),
        ("sampler: 3", "sampler: expected keys and values, found 3"),
        ("1: 2", "expected keys of text, found 1"),
        ("hamiltonian: {null: 2}", "hamiltonian: expected keys of text, found None"),
        ("[1]: 2", "not readable as YAML at line 1: found unhashable key"),
        ('imported: "a\\nb"', r"imported: expected text without control characters, found 'a\nb'"),
        ('imported: "\\ud800"', "imported: expected text without control characters"),
        ("L: " + "[" * 3000, "not readable as YAML: nested too deeply"),
        ("L: " + "[" * 50 + "]" * 50, "L: expected at most 20,000 values, 20 deep, found more"),
        ("L: &a [*a]", "L: expected at most 20,000 values, 20 deep, found more"),
        ("scale: []", "scale []: expected one of none"),
        ("scale: large\nscales: {paper: {}}", "scale 'large': expected one of paper"),
        ("scale: large\nscales: [large]", "scales: expected keys and values, found ['large']"),
        ("scale: large\nscales: {large: 3}", "scales.large: expected keys and values, found 3"),
        (f"{'x' * 900}: 1", "unknown key, expected one of"),
        (f"L: {'x' * 9000}", "L: expected an integer"),
        ("L: \0", "not readable as YAML"),
        ("L: 8\n\tseed: 1", "not readable as YAML at line 2"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_file_with_what_no_request_holds_is_one_short_line(text, said, tmp_path: Path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RequestError) as error:
        load(DatasetConfig, str(tmp_path / "a.yaml"))
    message = str(error.value)
    assert said in message
    assert "a.yaml: " in message
    assert len(message.splitlines()) == 1
    assert len(message) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("L: 8".encode("utf-16"), "not readable as YAML: expected text in UTF-8"),
        (b"\x93NUMPY\x01\x00", "not readable as YAML: expected text in UTF-8"),
        (b"L: [" + b"1, " * 10**6 + b"1]", "not readable as YAML: more than 20,000 values"),
        (b"#" * (4 * 2**20 + 1), "expected at most 4,194,304 bytes, found 4,194,305"),
    ],
    ids=["UTF-16", "NumPy", "a million", "long"],
)
def test_a_file_that_is_not_text_or_too_long_is_refused(content, said, tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(RequestError, match=said):
        load(DatasetConfig, str(tmp_path / "a.yaml"))


def laughs(levels: int, item: str, joined: str) -> str:
    """Anchors that each stand for ten of the one before."""
    lines = [f"a0: &a0 {item}"]
    lines += [f"a{i}: &a{i} {joined % ', '.join([f'*a{i - 1}'] * 10)}" for i in range(1, levels)]
    return "\n".join(lines)


LISTS, MERGES = laughs(12, "[x]", "[%s]"), laughs(12, "{b: 1}", "{<<: [%s]}")


@pytest.mark.parametrize("text", [LISTS, MERGES], ids=["lists", "merges"])
def test_what_grows_when_its_aliases_are_followed_is_refused(text, tmp_path: Path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RequestError, match=r"expected at most 20,000 values|too many merged keys"):
        load(DatasetConfig, str(tmp_path / "a.yaml"))


def test_aliases_and_merged_keys_are_read(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("hamiltonian: &h {D: 0.3}\nscales: {large: {hamiltonian: {<<: *h, B: 0.1}, L: 64}}\n")
    config = load(DatasetConfig, str(file), "large")
    assert (config.L, config.hamiltonian.D, config.hamiltonian.B) == (64, 0.3, 0.1)


def test_a_section_may_be_merged_before_it_is_read_itself(tmp_path: Path):
    file = tmp_path / "a.yaml"
    scales = "{a: {sampler: &t {<<: *s, sweeps: 7}}, b: {sampler: {<<: *t, finish: 9}}}"
    file.write_text(f"sampler: &s {{sweeps: 5}}\nscales: {scales}\n")
    first, second = (load(DatasetConfig, str(file), scale).sampler for scale in "ab")
    assert (first.sweeps, second.sweeps, second.finish) == (7, 7, 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("10_000", 10_000),
        ("010", 10),
        ("true", True),
        ("No", False),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("0x10", "0x10"),
        ("'1'", "1"),
        ("[1, a, {b: 2}]", [1, "a", {"b": 2}]),
    ],
)
def test_values_are_read_as_they_are_written(text, value):
    assert assignment(f"key={text}") == ("key", value)


@pytest.mark.parametrize("text", ["key", "=1", "key=[", "key=!!bool x", "key=[1, 2", "key={1: 2}", "a" * 9000])
def test_what_is_no_assignment_is_one_short_line(text):
    with pytest.raises(RequestError, match="--set ") as error:
        assignment(text)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 200
