"""Which actors the Ray executor hires, and what happens when the cluster has no room for them; Ray itself is faked."""

import itertools
from types import SimpleNamespace

import pytest

import jobs.ray_executor as module
from jobs.ray_cluster import RayOptions
from jobs.ray_executor import RayExecutor
from jobs.scheduler import Scheduler
from jobs.store import Store
from jobs.task import Cost, Inputs, Report, Task


class Cluster:
    """A Ray of so many CPUs and GPUs of which `free` are really to be had; calls end at the first wait after a start."""

    def __init__(self, cpus, gpus, free_cpus=None):
        self.total, self.free = {"CPU": cpus, "GPU": gpus}, {"CPU": free_cpus or cpus, "GPU": gpus}
        self.actors, self.refs, self.results, self.most = [], itertools.count(), {}, 0
        self.exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=LookupError)

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return dict(self.total)

    available_resources = cluster_resources

    def remote(self, cls):
        return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=lambda *_: self.hire(asked)))

    def hire(self, asked):
        actor = SimpleNamespace(asked=asked, calls=[], alive=False)
        actor.ready = SimpleNamespace(remote=lambda: self.call(actor, lambda: None))
        actor.do = SimpleNamespace(remote=lambda item: self.call(actor, lambda: self.do(item)))
        self.actors.append(actor)
        return actor

    def call(self, actor, work):
        ref = next(self.refs)
        actor.calls.append((ref, work))
        return ref

    def do(self, item):
        with self.store.attempt(item.task, item.part) as trial:
            trial.commit(rows=1, failed=0, seconds={})
        return Report(1, 0, {}, "here")

    def wait(self, refs, *, num_returns, timeout):
        for actor in self.actors:
            needs = {"CPU": actor.asked["num_cpus"], "GPU": actor.asked.get("num_gpus", 0)}
            if not actor.alive and all(self.free[kind] - n >= -1e-9 for kind, n in needs.items()):
                actor.alive = True
                self.free = {kind: self.free[kind] - n for kind, n in needs.items()}
            if actor.alive:
                self.results |= {ref: work() for ref, work in actor.calls}
                actor.calls = []
        return [ref for ref in refs if ref in self.results][:num_returns], []

    def get(self, ref):
        return self.results[ref]

    def kill(self, actor):
        self.actors.remove(actor)
        if actor.alive:
            self.free["CPU"] += actor.asked["num_cpus"]
            self.free["GPU"] += actor.asked.get("num_gpus", 0)


def tasks(models, parts):
    made = []
    for model in models:
        encode = task("embed", model, parts, True)
        made += [encode, task("probe", model, ("all",), False, (encode.id,))]
    return made


def task(kind, model, parts, needs_model, requires=()):
    return Task(
        kind=kind, table="embeddings", dataset="d", model=model, usage="u", identity={"dataset": "f", "model": model},
        requires=requires, parts=parts, inputs=Inputs("x"), cost=Cost(gflop=1.0), needs_model=needs_model,
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by 10 s whenever someone looks."""
    ticks = itertools.count(step=10.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def run(cluster, options, work, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ray", cluster)
    cluster.store = Store.create(tmp_path / "s")
    executor = RayExecutor(cluster.store, options)
    # A run that waits forever would end with what is left instead.
    rounds = itertools.count()
    scheduler = Scheduler(work, cluster.store, executor)
    waited = executor.wait
    monkeypatch.setattr(
        executor, "wait", lambda s: scheduler.stop("hangs") if next(rounds) > 2000 else waited(s)
    )
    return scheduler.run(lambda tally: None)


@pytest.mark.parametrize(
    ("cpus", "gpus", "options"),
    [
        (1, 0, RayOptions()),
        (1, 1, RayOptions()),
        (2, 1, RayOptions(workers=1)),
        (2, 2, RayOptions(workers=2)),
        (4, 2, RayOptions(gpu_share=0.4)),
        (4, 1, RayOptions(gpu_share=0.1)),
        (2, 4, RayOptions(device="cpu")),
        (0, 0, RayOptions()),
    ],
)
def test_every_item_finds_a_place_on_any_cluster(cpus, gpus, options, tmp_path, monkeypatch, clock):
    work = tasks(["a", "b", "c"], tuple("12345678"))
    cluster = Cluster(max(cpus, 1), gpus)
    cluster.total["CPU"] = cpus
    tally = run(cluster, options, work, tmp_path, monkeypatch)
    assert (tally.done, tally.failures, tally.stopped) == (27, [], None)
    shares = sum(actor.asked.get("num_gpus", 0) for actor in cluster.actors)
    assert shares <= (0 if options.device == "cpu" else gpus)


def test_items_of_actors_that_never_start_move_to_those_that_did(tmp_path, monkeypatch, clock):
    cluster = Cluster(4, 0, free_cpus=1)
    tally = run(cluster, RayOptions(), tasks(["a"], tuple("12345678")), tmp_path, monkeypatch)
    assert (tally.done, tally.failures, tally.stopped) == (9, [], None)


def test_a_cluster_without_any_room_is_said_and_not_waited_for_forever(tmp_path, monkeypatch, clock, caplog):
    cluster = Cluster(2, 0)
    cluster.free["CPU"] = 0
    tally = run(cluster, RayOptions(), tasks(["a"], ("1", "2")), tmp_path, monkeypatch)
    assert tally.stopped is None
    assert "no worker could start" in tally.failures[0][1].text
    assert "waiting for workers" in caplog.text
