"""Processes behind a HAProxy that turnout runs: nothing is lost, only what differs is touched."""

import os
import signal

import pytest
import support
from support import ask, event_time, haproxy_servers, versions_served, wait_for

# Up to these, the twin is held back by nothing but the safety step that it lacks.
SLOW = "/slow?ms=300,/slow?ms=1500"


def pids(case, **which):
    return [proc.pid for proc in case.instances(**which)]


def edge_servers(case):
    """What the managed HAProxy itself says of its servers: the rows that get new requests."""
    folder = case.dir / "run/balancers/edge"
    rows = haproxy_servers(folder / "admin.sock", f"{case.app}_web")
    return [row for row in rows if row["status"].split()[0] in ("UP", "no")]


def check_alone(case, port, version, count):
    """From outside: only this version lives, the balancer sends traffic to exactly these instances, they answer."""
    wait_for("the old ones to be gone", lambda: case.versions() == {version: count}, 3)
    ports = sorted(proc.env["PORT"] for proc in case.instances())
    assert sorted(row["addr"].rsplit(":")[-1] for row in edge_servers(case)) == ports
    assert versions_served(port) == {version}
    assert len(case.shims()) == count + 1, case.shims()  # and the balancer's


def check_depth(load, run, kinds=("admit", "drain"), least=50):
    """The proof is worth something only if enough was in flight when traffic changed."""
    depths = [load.depth_at(event_time(event)) for event in run.events if event["kind"] in kinds]
    assert depths and min(depths) >= least, depths


# ---- the main job -------------------------------------------------------------------------------------------


def test_v2_replaces_v1_under_load(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    check_alone(case, port, "v1", 3)
    with case.load(port) as load:
        run = case.deploy("v2")
        check_alone(case, port, "v2", 3)
    load.check_nothing_lost("v1", "v2")
    check_depth(load, run)
    assert run.json()["state"] == "done"


@pytest.mark.parametrize("unsafe", ["no-drain", "stop-first"])
def test_v2_replaces_v1_twin(case, unsafe):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    with case.load(port) as load:
        run = case.deploy("v2", unsafe=unsafe, rc=None)
    assert run.rc == 0, run
    assert load.lost > 0, "the twin must lose: " + load.summary()
