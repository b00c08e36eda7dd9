"""The driver's loop with workers that do what the test says."""

import pyarrow as pa

from jobs.scheduler import Failure, Scheduler
from jobs.store import Store
from jobs.task import Cost, Inputs, Report, Task


def task(name, parts, requires=(), model="m", needs_model=True, gflop=1.0):
    return Task(
        kind=name, table="embeddings", dataset="d", model=model, usage="u", identity={"dataset": "f" * 64, "name": name},
        requires=tuple(t.id for t in requires), parts=parts, inputs=Inputs("x"),
        cost=Cost(gflop=gflop), needs_model=needs_model,
    )  # fmt: skip


class Workers:
    """Ends every item at once, as `outcome` says; records the order."""

    def __init__(self, store, slots=1, outcome=None):
        self.store, self.slots, self.outcome = store, slots, outcome or (lambda item, attempt: None)
        self.running, self.order, self.held, self.most = [], [], set(), 0

    def idle_affinities(self):
        return frozenset(self.held)

    def can_start(self, item):
        return len(self.running) < self.slots

    def start(self, item):
        self.running.append(item)
        self.order.append(item.name)
        self.most = max(self.most, len(self.running))
        if item.affinity:
            self.held = {item.affinity}

    def wait(self, seconds):
        ended, self.running = self.running, []
        return [(item, self._end(item)) for item in ended]

    def _end(self, item):
        failure = self.outcome(item, self.order.count(item.name))
        if failure is not None:
            return failure
        with self.store.attempt(item.task, item.part) as trial:
            trial.add_table(pa.table({"sample_id": ["1"], "status": ["ok"]}))
            trial.commit(rows=1, failed=0, seconds={})
        return Report(1, 0, {}, "here")

    def close(self):
        pass


def run(tasks, store, workers):
    return Scheduler(tasks, store, workers).run(lambda tally: None)


def test_a_part_waits_for_the_same_part_and_a_whole_task_for_all(tmp_path):
    store = Store.create(tmp_path / "s")
    first = task("first", ("p1", "p2"))
    second = task("second", ("p1", "p2"), [first])
    whole = task("whole", ("all",), [second], needs_model=False)
    workers = Workers(store)
    tally = run([whole, second, first], store, workers)
    place = {name.split("-")[0] + "/" + name.split("/")[1]: i for i, name in enumerate(workers.order)}
    assert tally.done == 5
    assert place["first/p1"] < place["second/p1"]
    assert place["whole/all"] == 4


def test_nothing_committed_is_done_again(tmp_path):
    store = Store.create(tmp_path / "s")
    tasks = [task("first", ("p1", "p2"))]
    run(tasks, store, Workers(store))
    workers = Workers(store)
    tally = run(tasks, store, workers)
    assert workers.order == []
    assert (tally.kept, tally.done) == (2, 0)


def test_items_of_the_held_model_go_before_costlier_ones(tmp_path):
    store = Store.create(tmp_path / "s")
    small, large = task("small", ("1", "2"), model="a"), task("large", ("1", "2"), model="b", gflop=1e6)
    workers = Workers(store)
    workers.held = {"a"}
    run([small, large], store, workers)
    assert [name.split("-")[0] for name in workers.order] == ["small", "small", "large", "large"]


def test_a_lost_worker_is_retried_and_then_given_up(tmp_path):
    store = Store.create(tmp_path / "s")
    once = Workers(store, outcome=lambda item, attempt: Failure("lost", "gone") if attempt == 1 else None)
    tally = run([task("first", ("p",))], store, once)
    assert (tally.done, tally.retries, tally.failures) == (1, 1, [])
    always = Workers(store, outcome=lambda item, attempt: Failure("lost", "gone"))
    tally = run([task("second", ("p",))], store, always)
    assert len(always.order) == 4
    assert len(tally.failures) == 1


def test_a_task_with_bad_input_fails_once_and_takes_only_its_readers_with_it(tmp_path):
    store = Store.create(tmp_path / "s")
    bad, good = task("bad", ("p1", "p2")), task("good", ("p1",))
    reader = task("reader", ("p1",), [bad])
    last = task("last", ("all",), [reader])
    workers = Workers(
        store, outcome=lambda item, attempt: Failure("user", "no") if item.task is bad else None
    )
    tally = run([bad, good, reader, last], store, workers)
    assert tally.done == 1
    assert [failure.text for _, failure in tally.failures] == ["no"]
    assert store.is_complete(good)


def test_a_full_disk_stops_the_run(tmp_path):
    store = Store.create(tmp_path / "s")
    workers = Workers(store, outcome=lambda item, attempt: Failure("full", "no space left"))
    tally = run([task("first", ("p1", "p2", "p3"))], store, workers)
    assert tally.stopped == "no space left"
    assert len(workers.order) == 1


def test_a_stop_lets_running_items_end_and_starts_no_more(tmp_path):
    store = Store.create(tmp_path / "s")
    workers = Workers(store, slots=2)
    scheduler = Scheduler([task("first", ("1", "2", "3", "4"))], store, workers)

    finish = workers.wait

    def stop_while_two_run(seconds):
        scheduler.stop("SIGTERM")
        return finish(seconds)

    workers.wait = stop_while_two_run
    tally = scheduler.run(lambda tally: None)
    assert tally.stopped == "SIGTERM"
    assert tally.done == 2
    assert workers.most == 2


def test_items_that_no_worker_can_take_are_failures_and_never_silently_left(tmp_path):
    store = Store.create(tmp_path / "s")
    tally = run([task("first", ("1", "2"))], store, Workers(store, slots=0))
    assert len(tally.failures) == 2
    assert "no worker can take it" in tally.failures[0][1].text
