"""What a person sees of a store, and what is removed from it: without Ray, of artifacts that nobody computed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from driving import orch

from orchestrator.catalogue import index
from orchestrator.catalogue.drawing import HEIGHT, LETTERS, WIDTH, picture
from orchestrator.catalogue.lineage import Lineage
from orchestrator.catalogue.lookup import complete, find
from orchestrator.catalogue.summary import parameters, size_text, value_text
from orchestrator.cli import main
from orchestrator.errors import RequestError
from orchestrator.store import Store

BIT = {"file": b"x" * 1000}
DAY = 86_400


def put(store: Store, place: str, *parents: str, files: dict[str, bytes] | None = None, **card: Any) -> str:
    kind, _, name = place.partition("/")
    store.commit(kind, name, {"figures": {}, "config": {}, "parents": list(parents), **card}, files or BIT)
    return place


@pytest.fixture
def full(store: Store) -> Store:
    """Two data sets, a model, a sweep of three stages, an optimum of a stage and an analysis of the model."""
    for D, n in ((0.6, 100), (1.0, 200)):
        given = {"hamiltonian.D": D} if D != 0.6 else {}
        config = {"L": 16, "hamiltonian": {"D": D, "B": 0.0}}
        figures = {"energy_mean": -0.17, "energy_min": -0.18}
        put(store, f"datasets/L16-{D:g}-d", config=config, given=given, configurations=n, figures=figures, shards=[])
    page = {"report.html": b"<html>", "thumbnail.png": b"png"}
    put(store, "models/hybrid-m", "datasets/L16-0.6-d", config={"steps": 10}, seconds=3.5, files=page)
    before = "datasets/L16-1-d"
    stages = []
    for number in range(3):
        figures = {"energy_mean": -0.1 * number, "diversity": 0.5}
        before = put(store, f"models/stage{number}-s", "datasets/L16-1-d", before, figures=figures)
        stages.append(before)
    best = {"metric": "gamma_crossing", "mode": "min", "best": {"gamma_crossing": 12.5}, "summary": [{"trial": 0}]}
    config = {"trial": {"name": "collapse"}, "space": {"system.beta": {"choice": [0.1, 0.2], "fixed": None}}}
    put(store, "sweeps/evae-w", "datasets/L16-1-d", *stages, figures=best, config=config)
    search = {"objective": {"name": "mz_max"}, "optimizer": {"name": "genetic"}, "iterations": 7}
    put(store, "optima/mz_max-o", "models/stage0-s", figures={"score": 0.9, "energy": -0.1}, config=search)
    put(store, "analyses/map-a", "models/hybrid-m", figures={"barrier": 1.0}, config={"analysis": "map"}, files=page)
    return store


@pytest.fixture
def call(monkeypatch, capsys):
    """The command, in this process: exit code, standard output, standard error."""

    def run(*arguments: str, store: Store) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["orch", *arguments, "--store", store.root])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def begin(store: Store, place: str, **record: Any) -> str:
    """The record of a try on another machine, whose heartbeat is fresh."""
    now = time.time()
    kind, _, name = place.partition("/")
    known = {"try": 1, "state": "running", "host": "node7", "machine": "another", "pid": 7, "process_started": 1.0}
    content = known | {"started": now, "beat": now, "command": "orch train"} | record
    store.write_file(f"{store.work(kind, name)}/try-{content['try']:04d}.json", json.dumps(content).encode())
    return place


def age(store: Store, path: str, days: float) -> None:
    """Make all at or below a path as old as that."""
    then = time.time() - days * DAY
    root = Path(store.path) / path
    for file in [*root.rglob("*"), root]:
        os.utime(file, (then, then))


# orch list


def test_list_is_a_line_an_artifact_with_stages_below_their_sweep(full, call):
    code, out, _ = call("list", store=full)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == len(list(full.cards()))
    sweep = next(i for i, line in enumerate(lines) if line.startswith("sweeps/evae-w"))
    assert [line.split()[0] for line in lines[sweep + 1 : sweep + 4]] == [f"models/stage{i}-s" for i in range(3)]
    assert all(line.startswith("  models/") for line in lines[sweep + 1 : sweep + 4])
    assert "trial.name=collapse, system.beta=[0.1, 0.2]" in lines[sweep] and "γ_× 12.5" in lines[sweep]
    assert sum("stage0-s" in line.split()[0] for line in lines) == 1
    assert "hamiltonian.D=1" in out and "hamiltonian.D=0.6" not in out and "n 200, ε -0.17, lowest ε -0.18" in out
    assert "objective.name=mz_max, optimizer.name=genetic, iterations=7, model=stage0-s" in out


def test_list_models_has_the_stages_too(full, call):
    lines = call("list", "models", store=full)[1].splitlines()
    assert sorted(line.split()[0] for line in lines) == [
        f"models/{name}" for name in ("hybrid-m", "stage0-s", "stage1-s", "stage2-s")
    ]


def test_list_in_a_pipe_breaks_and_cuts_nothing(store):
    place = put(store, f"datasets/L16-{'x' * 150}", given={f"key{i}": "y" * 50 for i in range(20)})
    result = subprocess.run(orch("list", "--store", store.root), capture_output=True, text=True)
    (line,) = result.stdout.splitlines()
    assert place in line and "key19=" + "y" * 50 in line and not line.endswith(" ")


def test_list_has_the_newest_first(store, call, monkeypatch):
    for minute in (3, 1, 2):
        created = {"created": f"2026-01-01T00:0{minute}:00+00:00", "host": "", "versions": {}}
        monkeypatch.setattr("orchestrator.store._provenance", lambda created=created: created)
        put(store, f"models/made{minute}")
    lines = call("list", store=store)[1].splitlines()
    assert [line.split()[0][-1] for line in lines] == ["3", "2", "1"]


def test_list_as_json(full, call):
    entries = json.loads(call("list", "--json", store=full)[1])
    assert {entry["name"] for entry in entries if entry["kind"] == "models"} == {"hybrid-m"}
    (sweep,) = [entry for entry in entries if entry["kind"] == "sweeps"]
    assert [stage["name"] for stage in sweep["stages"]] == ["stage0-s", "stage1-s", "stage2-s"]
    assert sweep["bytes"] == 1000


def test_strangers_files_do_no_harm(full, call):
    before = call("list", store=full)[1]
    for folder in ("datasets", "models", ".unfinished", ".unfinished/models", "models/hybrid-m"):
        (Path(full.path) / folder).mkdir(exist_ok=True, parents=True)
        (Path(full.path) / folder / ".DS_Store").write_bytes(b"\0")
        (Path(full.path) / folder / "notes.txt").write_text("of mine")
    (Path(full.path) / "models" / "my folder").mkdir()
    assert call("list", store=full)[1] == before
    assert call("status", store=full)[1] == "nothing is unfinished\n"
    assert call("gc", "--days", "0", store=full)[1] == "nothing to remove\n"
    assert call("rm", "my folder", store=full)[0] == 2
    assert call("rm", "notes.txt", store=full)[0] == 2
    index.write(full)


def test_a_damaged_card_is_said_and_can_be_removed(full, call):
    (Path(full.path) / "models/hybrid-m/card.json").write_text("{")
    code, out, err = call("list", store=full)
    assert code == 0 and "hybrid-m" not in out.replace("model=hybrid-m", "") and "damaged card" in err
    assert call("show", "hybrid-m", store=full)[0] == 2
    assert call("rm", "map-a", "models/hybrid-m", store=full)[0] == 0
    assert not (Path(full.path) / "models/hybrid-m").exists()


def test_parameters_tell_artifacts_apart():
    cards = {f"models/{i}": {"given": {"seed": i, "system.latent": 8, "resources.cpus": 2}} for i in range(2)}
    assert parameters(cards) == {"models/0": {"seed": 0}, "models/1": {"seed": 1}}
    assert parameters({"models/0": cards["models/0"]}) == {"models/0": {"seed": 0, "system.latent": 8}}
    old = {f"models/{i}": {"config": {"seed": i, "model": {"latent": 8}}} for i in range(2)}
    assert parameters(old)["models/1"] == {"seed": 1}


def test_what_differs_from_the_defaults_is_on_the_card():
    from orchestrator.data.request import DatasetConfig

    assert DatasetConfig().given() == {}
    config = {"L": 16, "hamiltonian": {"D": 1.0}, "sampler": {"name": "tempering", "rounds": 5}}
    assert DatasetConfig.model_validate(config).given() == {
        "L": 16,
        "hamiltonian.D": 1.0,
        "sampler.name": "tempering",
        "sampler.rounds": 5,
    }


def test_texts_stay_on_a_line():
    assert [size_text(count) for count in (999, 1000, 1_234_000, 250e6)] == ["999 B", "1.0 kB", "1.2 MB", "250 MB"]
    assert value_text("a\nb\x1b[31m") == "a b [31m"
    assert len(value_text(list(range(1000)))) == 60


# orch show


def test_show_prints_the_descent_both_ways_and_the_files(full, call):
    code, out, _ = call("show", "stage1", store=full)
    assert code == 0
    above, below = out.split("what descends from it:")
    assert above.count("datasets/L16-1-d") == 1 and "models/stage0-s" in above.split("descends from:")[1]
    assert below.split() == ["models/stage2-s", "sweeps/evae-w"]
    assert f"{full.path}/models/stage1-s/file" in above
    shown = json.loads(call("show", "stage1-s", "--json", store=full)[1])
    assert shown["ancestors"] == ["datasets/L16-1-d", "models/stage0-s"]
    assert shown["descendants"] == ["models/stage2-s", "sweeps/evae-w"]


def test_show_of_an_unfinished_one_has_its_cause_and_log(full, call):
    begin(full, "models/broken-b", state="failed", error="ValueError", cause="too strong", log="Traceback\n  line")
    code, out, _ = call("show", "broken-b", store=full)
    assert code == 0
    assert "ValueError: too strong" in out and "Traceback\n  line" in out and "process 7 on node7" in out
    assert json.loads(call("show", "broken-b", "--json", store=full)[1])["record"]["cause"] == "too strong"


def test_a_parent_that_is_missing_is_said(store, call):
    put(store, "models/m-m", "datasets/gone-d")
    assert "datasets/gone-d (missing)" in call("show", "m-m", store=store)[1]


def test_parents_in_a_circle_end(store, call):
    put(store, "models/a-1", "models/b-1")
    put(store, "models/b-1", "models/a-1")
    assert call("show", "a-1", store=store)[0] == 0
    assert call("rm", "a-1", store=store)[0] == 2
    index.write(store)
    assert call("rm", "a-1", "b-1", store=store)[0] == 0
    assert list(store.cards()) == []


def test_a_long_line_of_descent(store, call):
    cards = {f"models/m{i}-m": {"parents": [f"models/m{i - 1}-m"] if i else []} for i in range(1500)}
    lineage = Lineage(cards)
    assert len(lineage.ancestors("models/m1499-m")) == len(lineage.descendants("models/m0-m")) == 1499
    assert lineage.youngest_first(cards) == list(reversed(cards))
    assert lineage.youngest_first(reversed(cards)) == list(reversed(cards))
    picture(lineage, {})


# orch status


def test_status_says_how_far_who_and_why(store, call):
    put(store, "datasets/d-d")
    assert call("status", store=store) == (0, "nothing is unfinished\n", "")
    now = time.time()
    begin(store, "models/slow-m", done=300, total=1000, unit="steps", first={"done": 100, "at": now - 20}, reported=now)
    failed = {"state": "failed", "error": "DivergedError", "cause": "loss is nan\nat step 3", "try": 3}
    begin(store, "models/bad-m", **failed)
    begin(store, "datasets/old-d", beat=now - 7200, done=0, total=0)
    code, out, _ = call("status", store=store)
    assert code == 0
    slow, *others = out.splitlines()
    assert "300 of 1000 steps, 30 %" in slow and "10 steps/s" in slow and "s left" in slow and "running" in slow
    assert len(others) == 2
    (bad,) = [line for line in others if "bad-m" in line]
    assert "DivergedError: loss is nan at step 3" in bad and "failed" in bad
    (old,) = [line for line in others if "old-d" in line]
    assert "stopped" in old and "2 h ago" in old
    entries = json.loads(call("status", "--json", store=store)[1])
    assert entries[0]["percent"] == 30 and 60 < entries[0]["seconds_left"] <= 70


def test_a_record_that_says_nothing_is_shown(store, call):
    put(store, "datasets/d-d")
    store.write_file(".unfinished/models/odd-m/try-0001.json", b"[]")
    assert call("status", store=store)[1].split() == ["models/odd-m", "stopped", *"-----", "-"]
    assert call("show", "odd-m", store=store)[0] == 0


# orch rm


def test_rm_refuses_what_others_descend_from(full, call):
    code, out, err = call("rm", "L16-1-d", store=full)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert "and 1 more" in err and "descend from it" in err
    assert full.card("datasets", "L16-1-d") is not None


def test_rm_takes_a_line_of_descent_given_as_a_whole_the_youngest_first(full, call):
    code, out, _ = call("rm", "L16-0.6-d", "hybrid-m", "map-a", store=full)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[:3]] == [
        "analyses/map-a,",
        "models/hybrid-m,",
        "datasets/L16-0.6-d,",
    ]
    assert not (Path(full.path) / "models/hybrid-m").exists()


def test_rm_removes_nothing_on_a_dry_run_or_if_one_name_is_wrong(full, call):
    before = sorted(Path(full.path).rglob("*"))
    code, out, _ = call("rm", "map-a", "--dry-run", store=full)
    assert code == 0 and out.startswith("would remove analyses/map-a")
    assert call("rm", "map-a", "nope", store=full)[0] == 2
    assert call("rm", "", store=full)[0] == 2
    assert call("rm", "../datasets", store=full)[0] == 2
    assert sorted(Path(full.path).rglob("*")) == before


def test_rm_takes_the_stages_that_nothing_else_needs(full, call):
    code, out, err = call("rm", "evae-w", "--stages", "--json", store=full)
    assert code == 0
    assert [entry["path"] for entry in json.loads(out)["removed"]] == [
        "sweeps/evae-w",
        "models/stage2-s",
        "models/stage1-s",
    ]
    assert "kept, since others descend from them: models/stage0-s" in err


def test_rm_refuses_what_a_process_makes_or_needs(full, call):
    begin(full, "models/new-m", parents=["analyses/map-a"])
    assert "process 7 on node7 is making it" in call("rm", "new-m", store=full)[2]
    code, _, err = call("rm", "map-a", store=full)
    assert code == 2 and "is making models/new-m from it" in err
    begin(full, "models/new-m", parents=["analyses/map-a"], state="interrupted", **{"try": 2})
    assert call("rm", "map-a", "new-m", store=full)[0] == 0
    assert not (Path(full.path) / ".unfinished/models/new-m").exists()


def test_a_lease_says_what_is_needed(store):
    from orchestrator.lease import lease, records

    with lease(store, "sweeps", "w-w", parents=["datasets/d-d"]) as held:
        held.needs("models/m-m", "datasets/d-d")
        held._write()
        ((_, _, record),) = records(store)
        assert record["parents"] == ["datasets/d-d", "models/m-m"]


# orch gc


def test_gc_removes_what_no_artifact_needs_once_it_is_old(full, call):
    hashed = "L16-D1-0123456789ab"
    full.write_file(f"datasets/{hashed}/shards/00000000.parquet", b"x" * 500)
    for path in (f"{'ab' * 16}", "damaged/cafe-shard", "models/stopped-m/checkpoint", "models/hybrid-m/checkpoint"):
        full.write_file(f".unfinished/{path}", b"x" * 100)
    begin(full, "models/stopped-m", state="interrupted", beat=time.time() - 3 * DAY)
    begin(full, "models/alive-m")
    for path in (f"datasets/{hashed}", ".unfinished/damaged", f".unfinished/{'ab' * 16}"):
        age(full, path, 3)
    assert call("gc", store=full)[1].splitlines() == [
        "removed .unfinished/models/hybrid-m, 100 B, left over from a whole artifact"
    ]
    expected = {f"datasets/{hashed}", ".unfinished/models/stopped-m", f".unfinished/{'ab' * 16}"}
    expected |= {".unfinished/damaged/cafe-shard"}
    would = json.loads(call("gc", "--days", "2", "--dry-run", "--json", store=full)[1])
    assert {entry["path"] for entry in would["removed"]} == expected
    assert all(full.exists(path) for path in expected)
    assert json.loads(call("gc", "--days", "2", "--json", store=full)[1])["bytes"] == would["bytes"] > 700
    assert not any(full.exists(path) for path in expected)
    assert full.exists(".unfinished/models/alive-m")
    assert len(list(full.cards())) == 9


def test_gc_keeps_the_shards_of_what_is_being_made(store, call):
    name = "L16-D1-0123456789ab"
    store.write_file(f"datasets/{name}/shards/00000000.parquet", b"x")
    begin(store, f"datasets/{name}")
    age(store, f"datasets/{name}", 30)
    assert call("gc", store=store)[1] == "nothing to remove\n"
    begin(store, f"datasets/{name}", state="stopped", beat=time.time() - 30 * DAY)
    assert len(call("gc", store=store)[1].splitlines()) == 3
    assert store.entries("datasets") == []


# orch compare


def test_compare_says_what_differs(store, call):
    for name, gamma, seconds in (("a-1", 0.1, 3.0), ("b-1", 0.2, 5.0)):
        config = {"steps": 10, "model": {"gamma": gamma, "latent": 8} | ({"width": 4} if gamma > 0.1 else {})}
        put(store, f"models/{name}", config=config, seconds=seconds, figures={"energy_mean": -gamma})
    code, out, _ = call("compare", "a-1", "b-1", store=store)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["model.gamma", "0.1", "0.2"] in lines and ["model.width", "-", "4"] in lines
    assert ["seconds", "3", "5", "+2"] in lines and ["energy_mean", "-0.1", "-0.2", "-0.1"] in lines
    assert not any("latent" in line[0] for line in lines)
    found = json.loads(call("compare", "a-1", "b-1", "--json", store=store)[1])
    assert [row["key"] for row in found["settings"]] == ["model.gamma", "model.width"]


def test_compare_refuses_two_kinds(full, call):
    code, _, err = call("compare", "hybrid-m", "evae-w", store=full)
    assert code == 2 and "expected two artifacts of a kind" in err


# orch open and the index


def test_open_leads_to_the_page_or_the_index(full, call, monkeypatch):
    launched: list[str] = []
    monkeypatch.setattr("typer.launch", launched.append)
    assert call("open", store=full)[1].strip() == f"{full.path}/index.html"
    assert call("open", "map-a", store=full)[1].strip() == f"{full.path}/analyses/map-a/report.html"
    code, _, err = call("open", "stage0", store=full)
    assert code == 2 and "has no page" in err
    begin(full, "models/new-m")
    full.write_file(".unfinished/models/new-m/report.html", b"<html>")
    call("open", "new-m", store=full)
    assert launched[2:] == [f"{full.path}/.unfinished/models/new-m/report.html"]


def test_the_index_links_what_there_is_and_escapes_names(full):
    put(full, "models/<b>&'-m", "datasets/L16-0.6-d")
    begin(full, "models/<i>-m", state="failed", error="E", cause="<script>")
    index.write(full)
    text = (Path(full.path) / "index.html").read_text()
    assert "<b>" not in text and "<i>" not in text and "<script" not in text
    assert 'href="analyses/map-a/report.html"' in text
    assert 'loading="lazy" alt="What hybrid-m is known by" src="models/hybrid-m/thumbnail.png"' in text
    assert text.count("models/stage1-s/") == 1 and "3 models in their order" in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_picture_of_the_lineage(full):
    drawn = picture(Lineage.of(full), {"models/hybrid-m": "ε -0.1"})
    places = {box.place for box in drawn.boxes}
    assert "models/stage0-s" not in places and len(places) == 6
    assert {(parent, child) for parent, child, _ in drawn.lines} == {
        ("datasets/L16-0.6-d", "models/hybrid-m"),
        ("datasets/L16-1-d", "sweeps/evae-w"),
        ("sweeps/evae-w", "optima/mz_max-o"),
        ("models/hybrid-m", "analyses/map-a"),
    }


@pytest.mark.parametrize("count", [3, 100, 500])
def test_boxes_do_not_overlap_and_names_fit(count):
    cards = {f"models/{'long' * 20}{i:03d}-m": {"parents": ["datasets/d-d"]} for i in range(count)}
    drawn = picture(Lineage({"datasets/d-d": {}, **cards}), {})
    corners = sorted((box.x, box.y) for box in drawn.boxes)
    for (x, y), (next_x, next_y) in pairwise(corners):
        assert next_x >= x + WIDTH or next_y >= y + HEIGHT
    assert all(len(box.title) <= LETTERS and 0 <= box.y <= drawn.height - HEIGHT for box in drawn.boxes)
    assert len({box.title for box in drawn.boxes}) == len(drawn.boxes)
    assert drawn.left_out == max(0, count + 1 - 200)


def test_an_index_that_cannot_be_written_fails_no_command(full, monkeypatch, capsys):
    monkeypatch.setattr(Store, "write_file", lambda *_: 1 / 0)
    index.renew(full)
    assert "no index: ZeroDivisionError" in capsys.readouterr().err


def test_rm_leaves_no_dead_links_in_the_index(full, call):
    index.write(full)
    call("rm", "map-a", store=full)
    assert "map-a" not in (Path(full.path) / "index.html").read_text()


# object stores


def test_an_object_store(call):
    store = Store("memory://listing")
    put(store, "datasets/d-0123456789ab", configurations=3)
    put(store, "models/m-0123456789ab", "datasets/d-0123456789ab", files={"report.html": b"<html>"})
    begin(store, "models/n-0123456789ab", parents=[])
    assert len(call("list", store=store)[1].splitlines()) == 2
    at = store.card("models", "m-0123456789ab")["files"]["report.html"]["at"]
    assert f"/m-0123456789ab/{at}" in call("show", "m-0123456789ab", store=store)[1]
    assert call("open", "m-0123456789ab", store=store)[1].strip() == f"memory:///listing/models/m-0123456789ab/{at}"
    assert f'href="models/m-0123456789ab/{at}"' in store.read_file("index.html").decode()
    assert call("rm", "d-0123456789ab", store=store)[0] == 2
    store.write_file("models/m-0123456789ab/aaaaaaaaaaaa-report.html", b"of the second writer")
    assert "not on its card" in call("gc", store=store)[1]
    assert store.read("models", "m-0123456789ab", "report.html") == b"<html>"
    assert call("rm", "d-0123456789ab", "m-0123456789ab", store=store)[0] == 0
    assert list(store.cards()) == []
    assert len(call("status", store=store)[1].splitlines()) == 1


# names


def test_names_are_found_among_whole_and_unfinished(full):
    begin(full, "models/hybrid-n")
    assert find(full, "hybrid-n") == ("models", "hybrid-n")
    assert find(full, "models/stage2") == ("models", "stage2-s")
    with pytest.raises(RequestError, match=r"2 of .* match, such as models/hybrid-m, models/hybrid-n"):
        find(full, "hybrid")


def test_names_are_completed(full):
    assert complete(SimpleNamespace(params={"store": full.root}), "sta") == ["stage0-s", "stage1-s", "stage2-s"]
    assert complete(SimpleNamespace(params={"store": "/usr"}), "sta") == []
