"""kill -9 of turnout at moments of a deploy, a rollback, a destroy; then resume. All new or all old, nothing orphaned.

An observer polls the balancer and /proc during the whole time, also while no turnout runs: as long as something is
meant to serve, at least replicas − max_unavailable servers are in rotation with a living process behind each.
"""

import concurrent.futures
import os
import random
import signal
import threading
import time

import pytest
import support
from support import haproxy_servers, versions_served, wait_for

pytestmark = pytest.mark.crash

SEED = 20261124
REPLICAS = 3

# After the n-th event of a kind, so many milliseconds later. One of each kind of effect, at its begin and its end.
MOMENTS = {
    "deploy": [("rollout", 1, 0), ("placement", 1, 0), ("start", 1, 0), ("start", 1, 20), ("ready", 1, 0), ("wait", 1, 50),
               ("ready", 1, 230), ("admit", 1, 0), ("admit", 1, 30), ("drain", 1, 0), ("drain", 1, 15), ("stop", 1, 0),
               ("start", 2, 10), ("admit", 2, 0), ("stop", 2, 0), ("stop", 3, 0), ("placed", 1, 0)],
    "rollback": [("start", 1, 0), ("ready", 1, 10), ("admit", 1, 0), ("drain", 1, 0), ("stop", 1, 0)],
    "destroy": [("rollout", 1, 0), ("drain", 1, 0), ("stop", 1, 0), ("placed", 1, 0)],
}
RANDOM = {"deploy": 6, "rollback": 2, "destroy": 2}
SWEEP = {"deploy": 120, "rollback": 40, "destroy": 30}
LENGTH = {"deploy": 2.4, "rollback": 1.6, "destroy": 0.25}


class Observer:
    """Samples the world in a thread: servers in rotation that have a living process, and how many processes exist."""

    def __init__(self, case, admin, backend):
        self.case, self.admin, self.backend = case, admin, backend
        self.least, self.most, self.samples, self.worst = None, 0, 0, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.is_set():
            try:
                rows = haproxy_servers(self.admin, self.backend)
            except (OSError, IndexError):
                continue  # a reload or restart: what it means for requests is the load's to say
            alive = {proc.env["PORT"]: proc for proc in self.case.instances()}
            serving = [row for row in rows if row["status"].split()[0] in ("UP", "no") and row["addr"].rsplit(":")[-1] in alive]
            self.samples += 1
            self.most = max(self.most, len(alive))
            if self.least is None or len(serving) < self.least:
                self.least, self.worst = len(serving), (time.time(), [(r["svname"], r["status"], r["addr"]) for r in rows], sorted(alive))
            self._stop.wait(0.01)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()


def prepared(case, verb):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    if verb == "rollback":
        case.deploy("v2")
    return port


def acting(case, verb):
    more = {"deploy": ["--var", "tag=v2"], "rollback": ["--var", "tag=v2"], "destroy": ["--confirm", case.app]}[verb]
    return case.start(verb, "--yes", "--progress", "json", *more)


def kill_at(run, moment):
    """Kills turnout at the moment: (kind, count, ms) of an event, or seconds after its start. False if it was too late."""
    if isinstance(moment, tuple):
        kind, count, ms = moment
        if run.wait_event(kind, count) is None:
            return False
        delay = ms / 1000
    else:
        delay = moment
    end = time.monotonic() + delay
    while run.running() and time.monotonic() < end:
        time.sleep(0.001)
    if not run.running():
        return False
    run.kill(signal.SIGKILL)
    return True


def check_end(case, port, verb, version):
    """A terminal state, from outside."""
    if verb == "destroy":
        assert case.instances() == [] and case.shims() == []
        assert not list((case.dir / "run/instances").iterdir())
    else:
        wait_for("one version", lambda: case.versions() == {version: REPLICAS}, 5)
        folder = case.dir / "run/balancers/edge"
        up = support.haproxy_up(folder / "admin.sock", f"{case.app}_web")
        assert up == sorted(f"127.0.0.1:{proc.env['PORT']}" for proc in case.instances())
        assert versions_served(port, 10) == {version}
        assert len(case.shims()) == REPLICAS + 1, case.shims()
        assert len(list((case.dir / "run/instances").iterdir())) == REPLICAS, "folders of instances that are gone"
    status = case.turnout("lease", "status")
    assert status.rc == 0 and "free" in status.out, repr(status)


def crashed(case, verb, moment, elsewhere):
    port = prepared(case, verb)
    admin = case.dir / "run/balancers/edge/admin.sock"
    old, new = {"deploy": ("v1", "v2"), "rollback": ("v2", "v1"), "destroy": ("v1", None)}[verb]
    state = "elsewhere" if elsewhere else "state"
    with case.load(port, paths="/,/slow?ms=100", rate=60, keepalive=8, fresh=8, ready_after=10) as load, Observer(case, admin, f"{case.app}_web") as observer:
        run = acting(case, verb)
        early = kill_at(run, moment)
        run.wait()
        resumed = case.turnout("resume", "--yes", "--progress", "json", "--lease-wait=10s", "--var", "tag=v2", state=state)
        assert resumed.rc in (0, 3), repr(resumed)
        if verb == "destroy":
            load.until.touch()
    if verb == "destroy":
        # resume finishes it; a kill before its first intent leaves all as it was
        if case.instances():
            assert case.versions() == {"v1": REPLICAS} and "nothing to resume" in resumed.out + resumed.err, repr(resumed)
            check_end(case, port, "deploy", "v1")
        else:
            check_end(case, port, "destroy", None)
        return early
    assert observer.samples > 10
    assert observer.least >= REPLICAS, f"only {observer.least} served: {observer.worst}"
    assert observer.most <= REPLICAS + 1, f"{observer.most} processes, more than the surge allows"
    load.check_nothing_lost()
    versions = set(case.versions())
    assert versions in ({old}, {new}), versions
    if versions == {old}:
        assert resumed.rc == 3 or "nothing to resume" in resumed.out + resumed.err, repr(resumed)
    check_end(case, port, verb, versions.pop())
    again = case.turnout("resume", "--yes", state=state)
    assert again.rc == 0, "resume; resume = resume\n" + repr(again)
    return early


def moments(verb, count, seed):
    generator = random.Random(f"{SEED}-{verb}-{seed}")
    return [round(generator.uniform(0, LENGTH[verb]), 3) for _ in range(count)]


def points():
    for verb, listed in MOMENTS.items():
        for index, moment in enumerate(listed + moments(verb, RANDOM[verb], "check")):
            name = "-".join(map(str, moment)) if isinstance(moment, tuple) else f"{moment * 1000:.0f}ms"
            yield pytest.param(verb, moment, index % 2 == 1, id=f"{verb}-{name}-{'elsewhere' if index % 2 else 'same'}")


def all_of(session, points):
    """Runs points three at a time, each in a case of its own: futures of (case, killed, what went wrong)."""

    def one(point):
        case = session.case()
        try:
            return case, crashed(case, *point), None
        except BaseException as error:
            return case, None, error
        finally:
            case.close()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        yield [pool.submit(one, point) for point in points]


@pytest.fixture(scope="module")
def outcomes(session, request):
    """The selected points: id → future."""
    selected = [item for item in request.session.items if getattr(item, "originalname", "") == "test_killed_then_resumed"]
    running = all_of(session, [[item.callspec.params[key] for key in ("verb", "moment", "elsewhere")] for item in selected])
    yield dict(zip([item.callspec.id for item in selected], next(running)))
    next(running, None)


@pytest.mark.parametrize("verb,moment,elsewhere", list(points()))
def test_killed_then_resumed(outcomes, request, verb, moment, elsewhere):
    request.node.e2e_case, killed, wrong = outcomes[request.node.callspec.id].result()
    if wrong:
        raise wrong
    if isinstance(moment, tuple) and moment[0] != "placed":
        assert killed, "turnout ended before the moment"


@pytest.mark.sweep
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same", "elsewhere"])
@pytest.mark.parametrize("verb", MOMENTS)
def test_sweep(session, verb, elsewhere):
    """Random moments, seeded; E2E_SWEEP=N for another number of them."""
    listed = moments(verb, int(os.environ.get("E2E_SWEEP", SWEEP[verb])), f"sweep-{elsewhere}")
    running = all_of(session, [(verb, moment, elsewhere) for moment in listed])
    outcomes = [future.result() for future in next(running)]
    next(running, None)
    wrong = [f"{moment * 1000:.0f} ms after the start of {verb}: {error}" for moment, (_, _, error) in zip(listed, outcomes) if error]
    assert not wrong, f"{len(wrong)} of {len(listed)}:\n" + "\n".join(wrong)
    assert sum(bool(killed) for _, killed, _ in outcomes) > len(listed) / 2, "most were to be killed"


def test_killed_again_during_resume(case):
    """A second kill, during recovery; then a third turnout finishes."""
    port = prepared(case, "deploy")
    with case.load(port, paths="/,/slow?ms=100", rate=60, keepalive=8, fresh=8, ready_after=10) as load:
        run = acting(case, "deploy")
        assert kill_at(run, ("admit", 1, 0))
        run.wait()
        second = case.start("resume", "--yes", "--progress", "json", "--lease-wait=10s", "--var", "tag=v2")
        assert kill_at(second, ("stop", 1, 0))
        second.wait()
        third = case.turnout("resume", "--yes", "--lease-wait=10s", "--var", "tag=v2", state="elsewhere")
        assert third.rc == 0, repr(third)
    load.check_nothing_lost("v1", "v2")
    check_end(case, port, "deploy", "v2")


def test_rollback_finishes_what_a_kill_left(case):
    port = prepared(case, "deploy")
    with case.load(port, paths="/,/slow?ms=100", rate=60, keepalive=8, fresh=8, ready_after=10) as load:
        run = acting(case, "deploy")
        assert kill_at(run, ("admit", 2, 0))
        run.wait()
        back = case.deploy("v2", "--lease-wait=10s", verb="rollback", state="elsewhere", rc=None)
        assert back.rc in (0, 3), repr(back)
    load.check_nothing_lost("v1")
    check_end(case, port, "deploy", "v1")


def test_killed_first_deployment(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    run = case.start("deploy", "--yes", "--progress", "json")
    assert kill_at(run, ("ready", 1, 0))
    run.wait()
    resumed = case.turnout("resume", "--yes", "--lease-wait=10s")
    assert resumed.rc == 0, repr(resumed)
    check_end(case, port, "deploy", "v1")
