"""Two operators, dead and sleeping ones, Ctrl-C, --timeout, abort: who may change things, and what is left behind."""

import re
import signal
import socket
import sqlite3

import pytest
from support import versions_served, wait_for


@pytest.fixture
def world(case):
    port, balancers = case.managed()

    def plan(over=None):
        case.plan(over, balancers=balancers)

    plan()
    case.deploy("v1")
    return case, port, plan


def deploying(case, tag="v2", *more, **options):
    return case.start("deploy", "--yes", "--progress", "json", "--var", f"tag={tag}", *more, **options)


def check(case, port, version):
    wait_for("one version", lambda: case.versions() == {version: 3}, 5)
    assert versions_served(port) == {version}
    lease = case.turnout("lease", "status")
    assert lease.rc == 0 and "free" in lease.out, repr(lease)


def epoch(case, state="state"):
    return case.turnout("status", "-o", "json", state=state).json()["lease"]["epoch"]


# ---- leases -------------------------------------------------------------------------------------------------


def test_second_operator_is_refused_while_the_first_runs(world):
    case, port, plan = world
    first = deploying(case)
    assert first.wait_event("start")
    rollout = first.events[0]["rollout"]
    refused = 0
    for verb in ("deploy", "resume", "restart"):
        second = case.turnout(verb, "--yes", "--var", "tag=v3", state="other")
        if not first.running():
            break
        refused += 1
        assert second.rc == 7, repr(second)
        assert rollout in second.err, "which rollout"
        assert f"@{socket.gethostname()}" in second.err, "who and where"
        assert verb == "resume" or re.search(r"since .*\d\d:\d\d:\d\d", second.err), "since when"
        assert "v3" not in case.versions()
    assert refused, "looked too late"
    first.wait()
    assert first.rc == 0, repr(first)
    check(case, port, "v2")


def test_looking_needs_no_lease(world):
    case, port, plan = world
    first = deploying(case)
    assert first.wait_event("start")
    for words in (["status"], ["diff", "--var", "tag=v3"], ["logs", "web"], ["lease", "status"], ["validate"]):
        run = case.turnout(*words, state="other")
        assert run.rc == 0, repr(run)
    assert first.running(), "looked too late"
    held = case.turnout("status", "-o", "json", state="other").json()["lease"]
    assert held["held"] is True or not first.running()
    assert first.wait().rc == 0


def test_second_operator_waits_when_told_to(world):
    case, port, plan = world
    first = deploying(case)
    assert first.wait_event("start")
    second = deploying(case, "v3", "--lease-wait=30s", state="other")
    assert first.wait().rc == 0, repr(first)
    assert second.wait().rc == 0, repr(second)
    check(case, port, "v3")


def test_s01_killed_holder_is_taken_over(world):
    """S01: kill -9 of the first; a second deploy takes over within the TTL with the next epoch, no manual step."""
    case, port, plan = world
    before = epoch(case)
    with case.load(port, paths="/,/slow?ms=100", rate=100) as load:
        first = deploying(case)
        assert first.wait_event("admit")
        first.kill(signal.SIGKILL)
        first.wait()
        second = case.deploy("v2", "--lease-wait=10s", state="other", rc=None)
        assert second.rc == 0, repr(second)
    load.check_nothing_lost("v1", "v2")
    check(case, port, "v2")
    assert epoch(case, "other") > before + 1


def test_s07_two_in_the_same_second(world):
    """S07: exactly one gets the lease, the other ends with 7 and is nothing that one could roll back to."""
    case, port, plan = world
    runs = [deploying(case, tag, state=state) for tag, state in (("v2", "state"), ("v3", "other"))]
    codes = sorted(run.wait().rc for run in runs)
    assert codes == [0, 7], [repr(run) for run in runs]
    winner, loser = sorted(runs, key=lambda run: run.rc)
    version = "v2" if winner is runs[0] else "v3"
    check(case, port, version)
    assert not [event for event in loser.events if event["kind"] in ("start", "admit", "drain", "stop")]
    back = case.deploy(version, verb="rollback", state="state" if winner is runs[0] else "other")
    assert back.rc == 0
    check(case, port, "v1")


@pytest.mark.parametrize("kind", ["start", "wait", "drain"])
def test_s06_sleeper_wakes_after_it_was_replaced(world, kind):
    """S06: A sleeps past its TTL, B takes over and finishes; A wakes and may do nothing any more."""
    case, port, plan = world
    with case.load(port, paths="/,/slow?ms=100", rate=100) as load:
        sleeper = deploying(case)
        assert sleeper.wait_event(kind)
        sleeper.kill(signal.SIGSTOP)
        second = case.deploy("v3", "--lease-wait=20s", state="other", rc=None)
        assert second.rc == 0, repr(second)
        check(case, port, "v3")
        before = [proc.pid for proc in case.instances()]
        sleeper.kill(signal.SIGCONT)
        sleeper.wait()
        assert sleeper.rc == 7, repr(sleeper)
        assert [proc.pid for proc in case.instances()] == before
    load.check_nothing_lost("v3")
    check(case, port, "v3")


def test_lease_release_names_its_rollout(world):
    case, port, plan = world
    first = deploying(case)
    assert first.wait_event("start")
    first.kill(signal.SIGSTOP)
    wrong = case.turnout("lease", "release", "r-000000", "--yes", state="other")
    assert wrong.rc not in (0,), "S04: a wrong id is refused\n" + repr(wrong)
    assert first.events[0]["rollout"] in wrong.err + wrong.out, "and shows the holder"
    first.kill(signal.SIGCONT)
    assert first.wait().rc == 0


# ---- Ctrl-C -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["start", "wait", "admit", "drain"])
def test_s02_interrupted_once(world, kind):
    """S02: the first Ctrl-C stops at a safe point: 130 within seconds, nothing lost, nothing new begins, resumable."""
    case, port, plan = world
    with case.load(port, paths="/,/slow?ms=300", rate=100) as load:
        run = deploying(case)
        assert run.wait_event(kind)
        run.kill(signal.SIGINT)
        run.wait(8)
        assert run.rc == 130, repr(run)
        assert "resume" in run.err
        status = case.turnout("lease", "status", state="other")
        assert run.events[0]["rollout"] in status.out or "free" in status.out, repr(status)
        resumed = case.turnout("resume", "--yes", "--var", "tag=v2")
        assert resumed.rc == 0, repr(resumed)
    load.check_nothing_lost("v1", "v2")
    check(case, port, "v2")


def test_s02_interrupted_twice(world):
    """S02: the second Ctrl-C leaves at once, in the middle of a drain of 3 s; another operator resumes."""
    case, port, plan = world
    plan({"rollout": {"max_surge": 3}})
    with case.load(port, paths="/slow?ms=3000,/", rate=60) as load:
        run = deploying(case)
        assert run.wait_event("drain")
        run.kill(signal.SIGINT)
        run.kill(signal.SIGINT)
        run.wait(4)
        assert run.rc == 130, repr(run)
        resumed = case.turnout("resume", "--yes", "--lease-wait=10s", "--var", "tag=v2", state="other")
        assert resumed.rc == 0, repr(resumed)
    load.check_nothing_lost("v1", "v2")
    check(case, port, "v2")


def test_terminated_is_143(world):
    case, port, plan = world
    run = deploying(case)
    assert run.wait_event("wait")
    run.kill(signal.SIGTERM)
    assert run.wait(8).rc == 143, repr(run)
    assert case.turnout("resume", "--yes", "--var", "tag=v2").rc == 0
    check(case, port, "v2")


def test_timeout_is_resumable(world):
    case, port, plan = world
    run = case.deploy("v2", "--timeout", "700ms", rc=None)
    assert run.rc == 6, repr(run)
    assert "resume" in run.err
    assert versions_served(port) <= {"v1", "v2"}
    assert case.turnout("resume", "--yes", "--var", "tag=v2").rc == 0
    check(case, port, "v2")


# ---- abort, rollback given elsewhere ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["abort", "rollback"])
def test_abort_ends_the_running_deploy_with_3(world, verb):
    case, port, plan = world
    with case.load(port, paths="/,/slow?ms=100", rate=100) as load:
        run = deploying(case)
        assert run.wait_event("admit")
        other = case.turnout(verb, "--yes", "--var", "tag=v2")
        assert other.rc in (0, 3), repr(other)
        run.wait()
        assert run.rc == 3, repr(run)
    load.check_nothing_lost("v1")
    check(case, port, "v1")


def test_nothing_to_resume(world):
    case, port, plan = world
    run = case.turnout("resume", "--yes")
    assert run.rc == 0 and "nothing to resume" in run.out + run.err, repr(run)


def test_s24_left_overs_of_an_interrupted_deploy_are_stopped(world):
    """S24: a kill left a v2; the next successful deploy, of v3, leaves v3 only."""
    case, port, plan = world
    run = deploying(case)
    assert run.wait_event("ready")
    run.kill(signal.SIGKILL)
    run.wait()
    assert case.versions() == {"v1": 3, "v2": 1}
    assert case.deploy("v3", "--lease-wait=10s").rc == 0
    check(case, port, "v3")
    assert len(case.shims()) == 4


def test_s25_service_removed_from_the_plan_is_shown(world):
    """S25: what the plan no longer names is shown as to be removed, not forgotten."""
    case, port, plan = world
    plan({"services": {"web": None, "shop": case.service({"expose": [{"balancer": "edge", "path": "/shop", "port": "http"}]})}})
    shown = case.turnout("diff")
    assert shown.rc == 0 and "remove" in shown.out and re.search(r"^\S+ +web ", shown.out, re.M), repr(shown)


def test_renamed_service_takes_over_its_route(world):
    """The old service is still in the balancer's file when the new one comes, with the same route."""
    case, port, plan = world
    plan({"services": {"web": None, "shop": case.service()}})
    shown = case.turnout("diff", "--var", "tag=v2")
    assert shown.rc == 0 and "remove" in shown.out, repr(shown)
    case.deploy("v2")
    check(case, port, "v2")


def test_wait_waits_for_the_rollout(world):
    case, port, plan = world
    run = deploying(case)
    assert run.wait_event("start")
    waited = case.turnout("wait", "--timeout", "30s", state="other")
    assert waited.rc == 0, repr(waited)
    assert not run.running() or run.wait(2).rc == 0
    check(case, port, "v2")


def test_history_show_events_tell_the_same(world):
    case, port, plan = world
    run = case.deploy("v2")
    rollout = run.json()["rollout"]
    history = case.turnout("history", "-o", "json").json()
    assert history[0]["id"] == rollout and history[0]["state"] == "done"
    shown = case.turnout("show", rollout)
    assert shown.rc == 0 and rollout in shown.out and "admit" in shown.out, repr(shown)
    events = case.turnout("events", rollout).out.splitlines()
    kinds = [line.split('"kind":"')[1].split('"')[0] for line in events]
    assert [k for k in kinds if k in ("start", "admit", "drain", "stop")] == [k for k in run.kinds() if k in ("start", "admit", "drain", "stop")]
    verified = case.turnout("history", "--verify")
    assert verified.rc == 0, repr(verified)
    with sqlite3.connect(case.dir / "state" / "turnout.db") as store:
        store.execute("UPDATE journal SET instance = 'other' WHERE seq = 3")
    store.close()
    assert case.turnout("history", "--verify").rc != 0, "a changed record is noticed"


def test_logs_and_exec(world):
    case, port, plan = world
    logs = case.turnout("logs", "web")
    assert logs.rc == 0 and logs.out.count("version v1") == 3, repr(logs)
    done = case.turnout("exec", "web", "--", "/bin/sh", "-c", "echo in $VERSION; exit 7")
    assert "in v1" in done.out and done.rc == 7, repr(done)
    followed = case.start("logs", "--follow", "web")
    wait_for("the first lines", lambda: "version v1" in followed.out)
    followed.kill(signal.SIGINT)
    assert followed.wait(5).rc in (0, 130)
