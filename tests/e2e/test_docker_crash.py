"""kill -9 of turnout at each kind of effect of a rollout on an engine, then resume: all new or all old, nothing twice, nothing left."""

import json
import signal
import threading

import pytest
from docker_support import env_of, port_of
from support import haproxy_up, versions_served, wait_for

pytestmark = pytest.mark.crash

# What an engine is asked for in a rollout: every kind of effect, and both sides of it.
CALLS = {
    "create": lambda m, p: m == "POST" and p == "/containers/create",
    "start": lambda m, p: m == "POST" and p.endswith("/start") and p.startswith("/containers/"),
    "update": lambda m, p: m == "POST" and p.endswith("/update"),
    "stop": lambda m, p: m == "POST" and p.endswith("/stop"),
    "remove": lambda m, p: m == "DELETE" and p.startswith("/containers/"),
    "lease": lambda m, p: m == "POST" and p.startswith("/volumes/create"),
}
EVENTS = ["admit", "drain", "stop", "placed"]


def edge_plan(box, over=None, **service):
    port, balancers = box.managed()

    def write(over=over, **more):
        box.plan(over, services={"web": box.service({"replicas": 2, **service, **more})}, balancers=balancers)

    write()
    return port, write


def up(box):
    return sorted(int(a.rsplit(":")[-1]) for a in haproxy_up(box.case.dir / "run/balancers/edge/admin.sock", f"{box.app}_web"))


def settled(box, port, versions=("v1", "v2"), count=2):
    """One version, as many as wanted, nothing else of ours on the engine, exactly they get traffic."""
    found = box.containers()
    assert len(found) == count, [(c["Name"], c["State"]["Status"]) for c in found]
    seen = {env_of(c)["VERSION"] for c in found}
    assert len(seen) == 1 and seen <= set(versions), seen
    assert all(c["State"]["Running"] for c in found)
    assert len({port_of(c) for c in found}) == count
    assert up(box) == box.host_ports()
    assert versions_served(port, 6) == seen
    assert {c["HostConfig"]["RestartPolicy"]["Name"] for c in found} == {"unless-stopped"}
    return seen.pop()


def documents(box):
    """turnout's own volumes on the engine: the epochs of leases (a lease and its mark that it is free are one), the others."""
    names = box.new_volumes()
    return {n.removesuffix("-free") for n in names if "-lease-" in n}, [n for n in names if "-lease-" not in n]


def resumed(box, port, state, codes=(0, 3)):
    """resume by the same operator or by another one whose store is empty; then a full deploy forward."""
    end = box.deploy("v2", "--lease-wait=15s", verb="resume", rc=None, state=state)
    assert end.rc in codes, repr(end)
    settled(box, port)
    again = box.deploy("v2", verb="resume", rc=None, state=state)
    assert again.rc == 0 and again.json()["changed"] is False, repr(again)
    box.deploy("v2", "--lease-wait=15s", state=state)
    assert settled(box, port) == "v2"
    leases, records = documents(box)
    assert len(leases) <= 1 and len(records) <= 4, (leases, records)


class Killer:
    """Kills turnout when the engine is asked for something: before it sees the request, or when it has answered."""

    def __init__(self, proxy, match, side):
        self.fired = threading.Event()
        self.run = None
        self.proxy = proxy

        def before(method, path):
            if self.run is None or self.fired.is_set() or not match(method, path):
                return False
            self.fired.set()
            if side == "before":
                self.run.kill(signal.SIGKILL)
            return True

        def after(head, body):
            self.run.kill(signal.SIGKILL)
            return head, body

        proxy.rule(before, "refuse" if side == "before" else after, times=1)


# Run each time; the other combinations belong to the sweep.
ALWAYS = [("create", "after", "state"), ("create", "before", "other"), ("start", "before", "state"), ("start", "after", "other"),
          ("update", "after", "state"), ("stop", "before", "other"), ("stop", "after", "state"), ("remove", "before", "state"),
          ("remove", "after", "other"), ("lease", "after", "other")]


def combinations():
    for call in CALLS:
        for side in ("before", "after"):
            for state in ("state", "other"):
                marks = () if (call, side, state) in ALWAYS else (pytest.mark.sweep,)
                yield pytest.param(call, side, state, marks=marks, id=f"{call}-{side}-{state}")


@pytest.mark.parametrize("call,side,state", list(combinations()))
def test_killed_around_a_call(box, call, side, state):
    proxy = box.proxy()
    box.url = proxy.url
    port, _ = edge_plan(box)
    box.deploy("v1")
    killer = Killer(proxy, CALLS[call], side)
    least = []
    run = killer.run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    while run.running():
        least.append(len(up(box)))
    run.wait()
    assert killer.fired.is_set() and run.rc == -9, repr(run)
    assert len(up(box)) >= 2 and min(least) >= 2, (f"below max_unavailable: {least}", proxy.calls)
    assert versions_served(port, 6) <= {"v1", "v2"}
    # Nothing has failed but turnout itself: what it left is finished.
    resumed(box, port, state, codes=(0,))


@pytest.mark.parametrize("event", EVENTS)
def test_killed_at_an_event(box, event):
    """Where the balancer changes: not a call to the engine."""
    port, _ = edge_plan(box)
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event(event), repr(run)
    run.kill()
    run.wait()
    assert len(up(box)) >= 2
    resumed(box, port, "other" if event in ("admit", "drain") else "state", codes=(0,))


def test_killed_rollback_from_another_machine(box):
    """A half-finished rollout is undone by somebody whose store is empty."""
    port, _ = edge_plan(box)
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event("stop")
    run.kill()
    run.wait()
    assert set(box.versions()) == {"v1", "v2"}
    box.deploy("v2", "--lease-wait=15s", verb="rollback", state="other")
    assert settled(box, port) == "v1"


def test_killed_first_deployment(box):
    port, _ = edge_plan(box)
    run = box.start("deploy", "--yes", "--progress", "json")
    assert run.wait_event("ready")
    run.kill()
    run.wait()
    end = box.deploy("v1", "--lease-wait=15s", verb="resume", rc=None)
    assert end.rc in (0, 1), repr(end)
    if end.rc == 0:
        settled(box, port)
    else:
        assert box.containers() == []


def test_killed_destroy(box):
    port, _ = edge_plan(box)
    box.deploy("v1")
    run = box.start("destroy", "--yes", "--confirm", box.app, "--progress", "json")
    assert run.wait_event("stop")
    run.kill()
    run.wait()
    end = box.turnout("destroy", "--yes", "--confirm", box.app, "--lease-wait=15s")
    assert end.rc == 0, repr(end)
    assert box.containers() == [] and box.new_volumes() == []


def test_ctrl_c_is_a_safe_point(box):
    port, _ = edge_plan(box, {"rollout": {"min_healthy_time": "700ms"}})
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event("ready")
    run.kill(signal.SIGINT)
    run.wait(20)
    assert run.rc == 130, repr(run)
    assert len(up(box)) >= 2
    end = box.deploy("v2", verb="resume", rc=None)
    assert end.rc == 0, "the lease was given back: resumed at once\n" + repr(end)
    assert settled(box, port) == "v2"


# ---- two operators ------------------------------------------------------------------------------------------


def test_second_operator_is_refused_with_7(box):
    port, _ = edge_plan(box, {"rollout": {"min_healthy_time": "1500ms"}})
    box.deploy("v1")
    first = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert first.wait_event("ready")
    second = box.deploy("v3", rc=None, state="other")
    assert second.rc == 7, repr(second)
    held = box.turnout("lease", "status", "-o", "json", state="other")
    assert held.rc == 0 and json.loads(held.out), repr(held)
    assert first.wait().rc == 0, repr(first)
    assert settled(box, port) == "v2"


def test_two_operators_in_the_same_second(box):
    """S07: exactly one gets the lease; the other's exit code is 7 (or it comes after and finds its own work)."""
    port, _ = edge_plan(box, {"rollout": {"min_healthy_time": "700ms"}})
    box.deploy("v1")
    runs = [box.start("deploy", "--yes", "--var", f"tag={tag}", "--progress", "json", state=f"op-{tag}") for tag in ("v2", "v3")]
    codes = [run.wait().rc for run in runs]
    assert sorted(codes) == [0, 7], [repr(run)[-1500:] for run in runs]
    assert settled(box, port, ("v2", "v3")) == ("v2" if codes[0] == 0 else "v3")


def test_take_over_after_the_holder_died(box):
    """S01: within the lease's time nobody may, after it anybody, without a manual step; leases do not pile up."""
    port, _ = edge_plan(box, {"policy": {"lease_ttl": "3s"}})
    box.deploy("v1")
    for turn, tag in enumerate(("v2", "v3", "v2")):
        run = box.start("deploy", "--yes", "--var", f"tag={tag}", "--progress", "json", state=f"dying-{turn}")
        assert run.wait_event("start")
        run.kill()
        run.wait()
        box.deploy(tag, "--lease-wait=15s", state=f"next-{turn}")
        assert settled(box, port, (tag,)) == tag
    leases, records = documents(box)
    assert len(leases) <= 1 and len(records) <= 5, (leases, records)


def test_a_holder_that_wakes_up_changes_nothing(box):
    """S06: stopped longer than its lease, then continued: its effects are refused."""
    port, _ = edge_plan(box)
    box.deploy("v1")
    sleeper = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert sleeper.wait_event("start")
    sleeper.kill(signal.SIGSTOP)
    try:
        box.deploy("v3", "--lease-wait=15s", state="other")
        assert settled(box, port, ("v3",)) == "v3"
        before = sorted(c["Id"] for c in box.containers())
    finally:
        sleeper.kill(signal.SIGCONT)
    sleeper.wait(40)
    assert sleeper.rc == 7, repr(sleeper)
    assert sorted(c["Id"] for c in box.containers()) == before
    wait_for("v3 still serves", lambda: versions_served(port, 6) == {"v3"}, 3)
