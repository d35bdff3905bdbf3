"""Pools of actors on a real Ray: deaths, errors, more actors than the cluster has room for."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray
import torch
from driving import started

from orchestrator import cluster
from orchestrator.cluster import Pool
from orchestrator.errors import FailedError, RequestError
from orchestrator.store import Store

ROOT = Path(__file__).parents[2]


def of_cases(work):
    """Functions of a test's own module travel as they are only when they are local to one."""
    return lambda: work


SQUARES = of_cases(lambda number: number * number)


def results(work, pieces, **options):
    with Pool("numbers", of_cases(work), (), len(pieces), **options) as pool:
        return dict(pool.map(pieces)), pool


@pytest.mark.parametrize("actors", [1, 2, None])
def test_more_pieces_than_the_cluster_has_room_for_are_all_done(on_ray, actors):
    found, pool = results(SQUARES(), range(40), actors=actors)
    assert found == {number: number * number for number in range(40)}
    assert len(pool._actors) == (actors or 40)
    assert 1 <= pool.most <= 2


def test_the_function_is_made_once_in_each_actor(on_ray):
    def make(start):
        made = []
        return lambda number: made.append(number) or (start, len(made), torch.get_num_threads())

    with Pool("numbers", make, (7,), 1) as pool:
        assert [dict(pool.map([0, 1])), dict(pool.map([2]))] == [{0: (7, 1, 1), 1: (7, 2, 1)}, {0: (7, 3, 1)}]


def test_what_is_raised_in_an_actor_is_raised_here(on_ray):
    def refuse(number):
        raise RequestError(f"number {number} is wrong")

    with pytest.raises(RequestError, match=r"^number 0 is wrong$") as error:
        results(refuse, [0])
    assert type(error.value) is RequestError

    def make():
        raise ValueError("nothing to make")

    with pytest.raises(ValueError, match=r"^nothing to make$"), Pool("numbers", make, (), 2) as pool:
        list(pool.map([0]))


def test_an_actor_that_does_not_see_the_store_says_so(on_ray, tmp_path):
    """A folder that only other processes see is one that nobody has made."""
    store = Store(str(tmp_path / "apart"))
    said = rf"^{tmp_path}/apart: not a store on the node \S+ \(\S+\); expected one that every node shares$"
    with (
        pytest.raises(RequestError, match=said),
        Pool("numbers", lambda _: abs, (store,), 1) as pool,
    ):
        list(pool.map([3]))
    store.write_file("datasets/begun", b"")
    with Pool("numbers", lambda _: abs, (store,), 1) as pool:
        assert dict(pool.map([-3])) == {0: 3}


def test_an_actor_that_sees_another_store_says_so(on_ray, tmp_path):
    """As one on a node whose own disk has a store at the same address."""
    store = Store(str(tmp_path / "apart"))
    store.write_file("datasets/begun", b"")
    pool = Pool("numbers", lambda _: abs, (store,), 1)
    shutil.rmtree(tmp_path / "apart")
    Store(str(tmp_path / "apart")).write_file("datasets/begun", b"")
    said = rf"^{tmp_path}/apart: another store than the driver's on the node \S+ \(\S+\); expected one that every node "
    with pytest.raises(RequestError, match=said), pool:
        list(pool.map([3]))


@pytest.mark.slow
def test_actors_that_always_die_before_they_work_end_it(on_ray, monkeypatch):
    actors = started(monkeypatch)
    with (
        pytest.raises(
            FailedError, match=r"^numbers: actors died 4 times in a row before they could work \(.+\); kept: "
        ),
        Pool("numbers", lambda: os._exit(1), (), 3) as pool,
    ):
        list(pool.map(range(3)))
    assert 3 < len(actors) <= 3 + 2 * 4  # two die at a time


def test_a_piece_that_always_kills_its_actor_ends_it(on_ray):
    def work(number):
        return os._exit(1) if number == 1 else number

    said = r"^numbers: piece 2 of 3: 4 actors died of it \(its worker process has died\); kept: what was whole$"
    with pytest.raises(FailedError, match=said):
        results(work, range(3))


def test_a_piece_that_kills_its_actor_twice_is_done_by_the_third(on_ray, tmp_path, capsys):
    folder = str(tmp_path)

    def work(number):
        if number == 1 and len(os.listdir(folder)) < 2:  # noqa: PTH208
            open(f"{folder}/{os.getpid()}", "w").close()  # noqa: PTH123
            os._exit(1)
        return number

    found, _ = results(work, range(4))
    assert found == {number: number for number in range(4)}
    assert len(list(tmp_path.iterdir())) == 2
    assert "numbers: an actor died (its worker process has died); another takes its place" in capsys.readouterr().err


def test_no_piece_is_blamed_for_actors_that_died_idle(on_ray, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 1)
    with Pool("numbers", SQUARES, (), 2) as pool:
        while pool.answered() < 2:
            time.sleep(0.01)
        for actor in list(pool._actors):
            ray.kill(actor)
        assert dict(pool.map([3])) == {0: 9}


def test_it_is_said_once_that_nothing_can_be_placed(on_ray, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "PLACED_SECONDS", 0.2)
    with Pool("first", SQUARES, (), 1, gpu=True) as first:
        first.answered()
        release = threading.Timer(1.5, first.__exit__)
        release.start()
        with Pool("second", SQUARES, (), 1, gpu=True) as second:
            assert dict(second.map([3])) == {0: 9}
    assert capsys.readouterr().err.count("second: no actor could be placed for 0 s; 1 wait, each for a GPU") == 1


def driver(script: str, folder: Path, **options) -> subprocess.Popen:
    """A process that starts a Ray of its own, in an empty folder."""
    (folder / "empty").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder / "empty",
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_persons_modules_travel_and_a_mended_death_is_one_line(tmp_path):
    """The actors can have them from the runtime environment alone: the files change once Ray has them."""
    own = tmp_path / "own"
    (own / "package").mkdir(parents=True)
    (own / "package" / "__init__.py").write_text("from package.inner import NUMBER\n")
    (own / "package" / "inner.py").write_text("NUMBER = 3\n")
    (own / "beside.py").write_text("FACTOR = 2\n")
    (own / "mine.py").write_text(
        textwrap.dedent("""
            import os, pathlib
            from beside import FACTOR
            from package import NUMBER

            def make(folder):
                return lambda piece: (pathlib.Path(folder).exists() or dies(folder)) and piece * FACTOR * NUMBER

            def dies(folder):
                pathlib.Path(folder).mkdir()
                os._exit(1)
        """)
    )
    script = f"""
        import sys, time, pathlib
        sys.path.append({str(own)!r})
        from orchestrator.cluster import Pool, connect
        from physics.registry import import_name
        make = import_name("mine:make")
        connect()
        for file in pathlib.Path({str(own)!r}).rglob("*.py"):
            file.write_text("raise SystemExit('read again')")
        with Pool("numbers", make, ({str(tmp_path / "died")!r},), 1) as pool:
            print(dict(pool.map([7])))
        time.sleep(1)
    """
    printed, told = driver(script, tmp_path).communicate(timeout=100)
    assert printed == "{0: 42}\n", told
    assert told == "numbers: an actor died (its worker process has died); another takes its place\n"


def agents(driver: int) -> set[int]:
    """Of the raylets that a process has started and that live."""
    return {
        agent.pid
        for raylet in psutil.Process(driver).children()
        for agent in (raylet.children() if raylet.name() == "raylet" else [])
        if agent.cmdline()[0] in cluster.AGENTS
    }


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_agents_of_a_killed_driver_are_ended_at_the_next_start_and_no_others(on_ray, tmp_path):
    living = agents(os.getpid())
    assert len(living) == 2
    killed = driver("from orchestrator.cluster import connect; connect(); print('on', flush=True); input()", tmp_path)
    assert killed.stdout.readline() == "on\n"
    left = agents(killed.pid)
    assert len(left) == 2
    killed.kill()
    killed.wait()
    time.sleep(2)  # its raylet ends
    assert any(map(alive, left)), "they ended by themselves: there is nothing to test"
    driver("from orchestrator.cluster import connect; connect()", tmp_path).communicate(timeout=60)
    assert not any(map(alive, left))
    assert all(map(alive, living))
