"""The user's own HAProxy: turnout owns one file and the runtime state of its servers, nothing else."""

import hashlib

import pytest
import support
from support import Haproxy, versions_served, wait_for

SLOW = "/slow?ms=300,/slow?ms=1500"


@pytest.fixture
def world(case):
    """A HAProxy of the user and a plan whose service is behind it."""
    haproxy = Haproxy(case, "shop_web")

    def plan(over=None, **service):
        return case.plan(over, services={"web": case.service(service, upstream="shop_web")}, balancers={"edge": haproxy.balancer()})

    plan()
    return case, haproxy, plan


def addresses(case, version=None):
    return sorted(f"127.0.0.1:{proc.env['PORT']}" for proc in case.instances(version))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino


def test_rollouts_reload_at_most_once(world):
    case, haproxy, plan = world
    main = digest(haproxy.main)
    plan({"rollout": {"max_surge": 3}})
    case.deploy("v1")
    assert versions_served(haproxy.port) == {"v1"}
    assert haproxy.up() == addresses(case)
    assert haproxy.reloads() <= 1 and haproxy.asked() <= 1, "the first deployment costs at most one reload"
    first = haproxy.reloads()
    with case.load(haproxy.port) as load:
        case.deploy("v2")
        wait_for("v2 alone", lambda: case.versions() == {"v2": 3}, 3)
        assert haproxy.up() == addresses(case)
        case.deploy("v2", verb="rollback")
        wait_for("v1 alone", lambda: case.versions() == {"v1": 3}, 3)
        assert haproxy.up() == addresses(case)
    load.check_nothing_lost("v1", "v2")
    assert haproxy.reloads() == first and haproxy.asked() <= first, "later rollouts cost none"
    assert haproxy.proc.poll() is None and digest(haproxy.main) == main


@pytest.mark.parametrize("unsafe", ["no-drain", "stop-first"])
def test_rollout_twin(world, unsafe):
    case, haproxy, plan = world
    case.deploy("v1")
    with case.load(haproxy.port, paths=SLOW, rate=200) as load:
        case.deploy("v2", unsafe=unsafe)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def test_scale_within_the_slots_reloads_nothing(world):
    case, haproxy, plan = world
    plan(replicas=4)
    case.deploy()
    first = haproxy.reloads()
    with case.load(haproxy.port) as load:
        plan(replicas=2)
        case.deploy()
        wait_for("two", lambda: case.versions() == {"v1": 2}, 3)
        assert haproxy.up() == addresses(case)
        plan(replicas=4)
        case.deploy()
        assert haproxy.up() == addresses(case) and len(addresses(case)) == 4
    load.check_nothing_lost("v1")
    assert haproxy.reloads() == first


def test_growing_beyond_the_slots_loses_nothing(world):
    case, haproxy, plan = world
    plan(replicas=2)
    case.deploy()
    with case.load(haproxy.port, paths=SLOW, rate=200) as load:
        plan(replicas=9)
        case.deploy()
        assert haproxy.up() == addresses(case) and len(addresses(case)) == 9
    load.check_nothing_lost("v1")
    haproxy.reload_by_hand()
    wait_for("nine after a reload", lambda: haproxy.up() == addresses(case), 5)


def test_s46_reload_by_somebody_reverts_nothing(world):
    """S46: whoever reloads in the middle of a rollout, and after it, gets the traffic as turnout set it."""
    case, haproxy, plan = world
    case.deploy("v1")
    with case.load(haproxy.port, paths=SLOW + ",/", rate=200) as load:
        run = case.start("deploy", "--yes", "--progress", "json", "--var", "tag=v2")
        for kind in ("admit", "drain", "stop"):
            assert run.wait_event(kind)
            haproxy.reload_by_hand()
        run.wait()
        assert run.rc == 0, repr(run)
        wait_for("v2 alone", lambda: case.versions() == {"v2": 3}, 3)
        before = versions_served(haproxy.port)
        haproxy.reload_by_hand()
        after = versions_served(haproxy.port)
    assert before == {"v2"} and after == {"v2"}
    assert haproxy.up() == addresses(case)
    load.check_nothing_lost("v1", "v2")


def test_file_that_is_not_ours_is_refused(world):
    case, haproxy, plan = world
    stranger = "backend somebody\n    mode http\n    server a 127.0.0.1:9\n"
    haproxy.owned.write_text(stranger)
    run = case.turnout("deploy", "--yes")
    assert run.rc == 1, repr(run)
    assert str(haproxy.owned) in run.err
    assert haproxy.owned.read_text() == stranger and case.instances() == [] and haproxy.reloads() == 0


def test_file_of_another_application_is_refused(world):
    case, haproxy, plan = world
    case.deploy("v1")
    ours = haproxy.owned.read_bytes()
    plan({"name": "e" + case.app[1:][::-1] + "x"})
    run = case.turnout("deploy", "--yes", "--var", "tag=v2")
    assert run.rc == 1 and str(haproxy.owned) in run.err, repr(run)
    assert haproxy.owned.read_bytes() == ours
    assert case.versions() == {"v1": 3} and versions_served(haproxy.port) == {"v1"}


def test_file_edited_by_hand_is_refused(world):
    case, haproxy, plan = world
    case.deploy("v1")
    edited = haproxy.owned.read_text() + "# a note of a colleague\n"
    haproxy.owned.write_text(edited)
    with case.load(haproxy.port, paths="/", rate=100) as load:
        run = case.turnout("deploy", "--yes", "--var", "tag=v2")
    assert run.rc == 1, repr(run)
    assert str(haproxy.owned) in run.err and "--force" in run.err, run.err
    assert haproxy.owned.read_text() == edited
    assert case.versions() == {"v1": 3}
    load.check_nothing_lost("v1")
    forced = case.deploy("v2", "--force")
    assert forced.rc == 0 and "colleague" not in haproxy.owned.read_text()
    assert versions_served(haproxy.port) == {"v2"}


def test_configuration_that_fails_its_test_is_put_back(world):
    """Somebody broke the main file: nothing of ours stays changed, nothing is lost."""
    case, haproxy, plan = world
    plan(replicas=2)
    case.deploy("v1")
    ours, good = haproxy.owned.read_bytes(), haproxy.main.read_text()
    haproxy.main.write_text(good + "frontend broken\n    bind nonsense\n")
    plan(replicas=9)  # beyond the slots
    with case.load(haproxy.port, paths="/", rate=100) as load:
        run = case.deploy("v2", rc=None)
        assert run.rc in (1, 3), repr(run)
        assert haproxy.owned.read_bytes() == ours
        assert case.versions() == {"v1": 2} and versions_served(haproxy.port) == {"v1"}
        haproxy.main.write_text(good)
        case.deploy("v2")
    load.check_nothing_lost("v1", "v2")


def test_reload_command_that_fails_loses_nothing(world):
    case, haproxy, plan = world
    plan(replicas=2)
    case.deploy("v1")
    ours = haproxy.owned.read_bytes()
    works = haproxy.script.read_text()
    haproxy.script.write_text("#!/bin/sh\necho no rights >&2\nexit 4\n")
    plan(replicas=9)
    with case.load(haproxy.port, paths="/", rate=100) as load:
        run = case.deploy("v2", rc=None)
        if run.rc != 0:  # beyond the slots servers may also be added at run time, without a reload
            assert run.rc in (1, 3) and "no rights" in run.err, repr(run)
            assert haproxy.owned.read_bytes() == ours
            assert case.versions() == {"v1": 2}
        haproxy.script.write_text(works)
        case.deploy("v2")
    load.check_nothing_lost("v1", "v2")
    assert case.versions() == {"v2": 9}


def test_dead_haproxy_is_unknown_not_empty(world):
    """A balancer that does not answer: nothing old stops."""
    case, haproxy, plan = world
    case.deploy("v1")
    before = [p.pid for p in case.instances()]
    support.end_all_of(haproxy.dir)
    run = case.deploy("v2", rc=None)
    assert run.rc in (1, 3), repr(run)
    assert [p.pid for p in case.instances()] == before
    assert "edge" in run.err


def test_first_deploy_with_no_haproxy_starts_nothing(world):
    case, haproxy, plan = world
    support.end_all_of(haproxy.dir)
    run = case.turnout("deploy", "--yes")
    assert run.rc == 1, repr(run)
    assert "edge" in run.err
    assert case.instances() == [] and case.shims() == []


def test_doctor_tells_what_to_add(world):
    case, haproxy, plan = world
    run = case.turnout("doctor")
    assert run.rc == 1 and "-f " + str(haproxy.owned) in run.out + run.err, repr(run)
    case.deploy("v1")
    run = case.turnout("doctor")
    assert run.rc == 0, repr(run)


def test_destroy_takes_out_only_what_is_ours(world):
    case, haproxy, plan = world
    main = digest(haproxy.main)
    case.deploy("v1")
    run = case.turnout("destroy", "--yes", "--confirm", case.app)
    assert run.rc == 0, repr(run)
    assert case.instances() == [] and case.shims() == []
    assert digest(haproxy.main) == main and haproxy.proc.poll() is None
    assert haproxy.up() == []
    haproxy.reload_by_hand()
    case.deploy("v1")
    assert versions_served(haproxy.port) == {"v1"}
