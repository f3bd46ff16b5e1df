"""nginx on this host: turnout owns one included file of upstreams; the user's own configuration stays as it was.

A connection that is idle when nginx reloads may be closed under a request that is on its way (RFC 9112, 9.3.1); nginx
offers nothing against that. So fresh connections must lose nothing; on kept ones only EOF or RST before the first byte
is allowed, at most one an open connection a reload, never seen by a backend; and a client that sends such a request
once more must lose nothing.
"""

import hashlib
import json
import os
import signal

import pytest
import support
from support import Haproxy, Nginx, event_time, versions_served, wait_for

SLOW = "/slow?ms=300,/slow?ms=1500"
# For the twins: nginx sends a GET that got no byte to the next server, so only what has begun can be lost.
BEGUN = "/stream?chunks=15&ms=100,/"
ON_IDLE = {"eof_before_byte", "reset_before_byte"}


@pytest.fixture
def world(case):
    nginx = Nginx(case, "shop_web")
    entry = nginx.balancer()

    def plan(over=None, **service):
        service.setdefault("env", {})["SEEN_LOG"] = str(case.dir / "seen")
        return case.plan(over, services={"web": case.service(service, balancer="front", upstream="shop_web")}, balancers={"front": entry})

    plan()
    return case, nginx, plan


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino


def check_load(case, load, reloads, *versions):
    """What nginx may lose, and nothing else."""
    report = load.report
    assert report["ok"] > 0
    for version in versions:
        assert report["by_version"].get(version, 0) > 0, load.summary()
    assert set(report["failure_counts"]) <= ON_IDLE or not report["lost"], load.summary()
    bad = [failure for failure in report["failures"] if not failure["reused"] or failure["kind"] not in ON_IDLE]
    assert not bad, bad[:5]
    assert report["lost"] <= 64 * reloads, (reloads, load.summary())
    seen = set((case.dir / "seen").read_text().split())
    lost = {failure["id"] for failure in report["failures"]}
    assert not lost & seen, "a lost request had reached a backend"


# ---- traffic ------------------------------------------------------------------------------------------------


def test_rolling_update_under_load(world):
    """Three clients at once: 64 kept connections, fresh ones only, and one that sends a request once more."""
    case, nginx, plan = world
    conf = digest(nginx.conf)
    case.deploy("v1")
    assert versions_served(nginx.port) == {"v1"}, "done means that fresh requests are served"
    before = nginx.asked()
    with (
        case.load(nginx.port, rate=250, ready_after=1000) as kept,
        case.load(nginx.port, rate=100, keepalive=0, fresh=64, ready_after=400) as fresh,
        case.load(nginx.port, rate=100, retry_idle=True, ready_after=400) as retrying,
    ):
        run = case.deploy("v2")
        wait_for("v2 alone", lambda: case.versions() == {"v2": 3}, 3)
        assert versions_served(nginx.port) == {"v2"}
    reloads = nginx.asked() - before
    assert 1 <= reloads <= 2 * 3, "S45: at most two reloads a batch; three batches"
    check_load(case, kept, reloads, "v1", "v2")
    fresh.check_nothing_lost("v1", "v2")
    retrying.check_nothing_lost("v1", "v2")
    changes = [event_time(event) for event in run.events if event["kind"] in ("admit", "drain")]
    depths = [sum(load.depth_at(when) for load in (kept, fresh, retrying)) for when in changes]
    assert min(depths) >= 50, depths
    assert digest(nginx.conf) == conf


@pytest.mark.parametrize("unsafe", ["no-drain", "stop-first"])
def test_rolling_update_twin(world, unsafe):
    case, nginx, plan = world
    case.deploy("v1")
    with case.load(nginx.port, paths=BEGUN, rate=200, retry_idle=True) as load:
        case.deploy("v2", unsafe=unsafe)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def scaled_down(world, unsafe=None, **options):
    case, nginx, plan = world
    plan(replicas=5)
    case.deploy()
    before = nginx.asked()
    with case.load(nginx.port, retry_idle=True, **options) as load:
        plan(replicas=2)
        case.deploy(unsafe=unsafe)
        wait_for("two", lambda: case.versions() == {"v1": 2}, 3)
    return load, nginx.asked() - before


def test_scale_down_under_load(world):
    load, reloads = scaled_down(world)
    load.check_nothing_lost("v1")
    assert reloads <= 2, "one batch"


def test_scale_down_twin(world):
    load, _ = scaled_down(world, unsafe="no-drain", paths=BEGUN, rate=200)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def rolled_back(world, unsafe=None, **options):
    case, nginx, plan = world
    plan({"rollout": {"max_surge": 3}})
    case.deploy("v1")
    case.deploy("v2")
    before = nginx.asked()
    with case.load(nginx.port, retry_idle=True, **options) as load:
        case.deploy("v2", verb="rollback", unsafe=unsafe)
        wait_for("v1 alone", lambda: case.versions() == {"v1": 3}, 3)
        assert versions_served(nginx.port) == {"v1"}
    return load, nginx.asked() - before


def test_rollback_under_load(world):
    load, reloads = rolled_back(world)
    load.check_nothing_lost("v1", "v2")
    # Instances that get ready one after another may come in three batches, each with an admission and a leaving.
    assert reloads <= 2 * 3


def test_rollback_twin(world):
    load, _ = rolled_back(world, unsafe="no-drain", paths=BEGUN, rate=200)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def test_s45_reloads_are_coalesced(world):
    """S45: ten instances, five at a time: reloads go by batches of moves, not by instances."""
    case, nginx, plan = world
    plan({"rollout": {"max_surge": 5}}, replicas=10)
    case.deploy("v1")
    before = nginx.asked()
    run = case.deploy("v2")
    reloads, batches = nginx.asked() - before, admissions(run)
    assert reloads <= 2 * batches, (reloads, batches)
    assert reloads < 20, "one for each instance"
    assert case.versions() == {"v2": 10}


def admissions(run):
    """Batches: groups of admissions that were confirmed together."""
    times = sorted(event_time(event) for event in run.events if event["kind"] == "admit")
    return 1 + sum(later - earlier > 0.005 for earlier, later in zip(times, times[1:]))


def test_second_deploy_reloads_nothing(world):
    case, nginx, plan = world
    case.deploy("v1")
    owned, reloads = digest(nginx.owned), nginx.asked()
    run = case.deploy("v1")
    assert digest(nginx.owned) == owned and nginx.asked() == reloads
    assert not {"start", "admit", "drain", "stop"} & set(run.kinds())


def test_users_keys_reach_the_upstream(world):
    case, nginx, plan = world
    service = case.service({"replicas": 2}, balancer="front", upstream="shop_web")
    service["expose"][0].update({"weight": 5, "max_fails": 4, "fail_timeout": "7s", "balance": "least_conn", "keepalive": 9})
    case.plan(services={"web": service}, balancers={"front": json.loads((case.dir / "turnout.yaml").read_text())["balancers"]["front"]})
    case.deploy()
    text = nginx.owned.read_text()
    block = text[text.index("upstream shop_web") :]
    block = block[: block.index("}")]
    for words in ("least_conn", "keepalive 9", "max_fails=4", "fail_timeout=7s"):
        assert words in block, block
    assert versions_served(nginx.port) == {"v1"}


# ---- faults -------------------------------------------------------------------------------------------------


def test_s44_broken_configuration_puts_the_old_file_back(world):
    """S44: `nginx -t` fails, because the user broke something elsewhere: our old file byte for byte, nothing lost."""
    case, nginx, plan = world
    case.deploy("v1")
    owned, good, reloads = nginx.owned.read_bytes(), nginx.conf.read_text(), nginx.asked()
    before = [p.pid for p in case.instances()]
    nginx.conf.write_text(good + "no_such_directive on;\n")
    with case.load(nginx.port, paths="/,/slow?ms=100", rate=150) as load:
        run = case.deploy("v2", rc=None)
        assert run.rc in (1, 3), repr(run)
        assert nginx.owned.read_bytes() == owned
        assert nginx.asked() == reloads, "a configuration that fails its test is not loaded"
        assert "no_such_directive" in run.err, "nginx's own words are shown"
    assert [p.pid for p in case.instances()] == before
    load.check_nothing_lost("v1")
    nginx.conf.write_text(good)
    case.deploy("v2")
    assert versions_served(nginx.port) == {"v2"}


def test_reload_that_is_refused_by_the_master_is_noticed(world):
    """`nginx -s reload` returns 0 although the master cannot load: only the generation proves anything."""
    case, nginx, plan = world
    case.deploy("v1")
    owned = nginx.owned.read_bytes()
    before = [p.pid for p in case.instances()]
    works = nginx.script.read_text()
    nginx.script.write_text(f"#!/bin/sh\necho reload >>{nginx.reload_log}\nexit 0\n")
    with case.load(nginx.port, paths="/", rate=100) as load:
        plan({"balancers": {"front": {"nginx": {"apply_timeout": "1s"}}}})
        run = case.deploy("v2", rc=None)
        assert run.rc in (1, 3, 5), repr(run)
        assert [p.pid for p in case.instances("v1")] == before
        assert nginx.owned.read_bytes() == owned
        nginx.script.write_text(works)
        case.deploy("v2")
    load.check_nothing_lost("v1", "v2")
    wait_for("v2 alone", lambda: case.versions() == {"v2": 3}, 3)


def test_file_edited_by_hand_is_refused(world):
    case, nginx, plan = world
    case.deploy("v1")
    edited = nginx.owned.read_text() + "# a note of a colleague\n"
    nginx.owned.write_text(edited)
    run = case.turnout("deploy", "--yes", "--var", "tag=v2")
    assert run.rc == 1 and str(nginx.owned) in run.err and "--force" in run.err, repr(run)
    assert nginx.owned.read_text() == edited and case.versions() == {"v1": 3}
    case.deploy("v2", "--force")
    assert "colleague" not in nginx.owned.read_text() and versions_served(nginx.port) == {"v2"}


def test_file_that_is_not_ours_is_refused(world):
    case, nginx, plan = world
    stranger = "# mine\nupstream other { server 127.0.0.1:9; }\n"
    nginx.owned.write_text(stranger)
    run = case.turnout("deploy", "--yes")
    assert run.rc == 1 and str(nginx.owned) in run.err, repr(run)
    assert nginx.owned.read_text() == stranger and case.instances() == [] and nginx.asked() == 0


@pytest.mark.crash
@pytest.mark.parametrize("moment", ["after-write", "in-reload", "after-reload"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-store", "empty-store"])
def test_s47_killed_around_a_reload(world, moment, elsewhere):
    """S47: kill -9 when the file is written but not tested, during the reload command, and right after it; resume."""
    case, nginx, plan = world
    case.deploy("v1")
    wall = case.dir / "wall"
    hold = f"echo $PPID >{wall}.tmp; mv {wall}.tmp {wall}; while [ -e {wall} ]; do read -t 0.05 x <>{case.dir}/never || :; done"
    os.mkfifo(case.dir / "never")
    works = nginx.script.read_text()
    test = case.write("test.sh", f"#!/bin/bash\n{hold if moment == 'after-write' else ':'}\nexec {' '.join(nginx.test)}\n", 0o755)
    if moment == "in-reload":
        nginx.script.write_text(works.replace("#!/bin/sh\n", f"#!/bin/bash\n{hold}\n"))
    elif moment == "after-reload":
        nginx.script.write_text(works.replace("exec ", "").replace("#!/bin/sh\n", "#!/bin/bash\n") + hold + "\n")
    plan({"balancers": {"front": {"nginx": {"test": [str(test)]}}}})
    with case.load(nginx.port, paths="/,/slow?ms=300", rate=150, retry_idle=True) as load:
        run = case.start("deploy", "--yes", "--progress", "json", "--var", "tag=v2")
        wait_for("the command", lambda: wall.exists() or not run.running(), 20)
        assert run.running(), repr(run.wait())
        run.kill(signal.SIGKILL)
        run.wait()
        wall.unlink()
        test.write_text(f"#!/bin/sh\nexec {' '.join(nginx.test)}\n")
        nginx.script.write_text(works)
        resumed = case.deploy("v2", "--lease-wait=10s", verb="resume", state="elsewhere" if elsewhere else "state")
        wait_for("v2 alone", lambda: case.versions() == {"v2": 3}, 3)
        assert versions_served(nginx.port) == {"v2"}
    assert resumed.rc == 0
    load.check_nothing_lost("v1", "v2")
    assert case.turnout("diff", "--detailed-exitcode", "--var", "tag=v2").rc == 0
    ports = {proc.env["PORT"] for proc in case.instances()}
    text = nginx.owned.read_text()
    assert all(f":{port}" in text for port in ports)


# ---- the user's own blocks, two balancers -------------------------------------------------------------------


def test_users_configuration_is_untouched(world):
    """Server blocks, another site, allow lists: the same bytes and the same inode through deploy, rollback, destroy."""
    case, nginx, plan = world
    other = nginx.dir / "conf.d" / "other.conf"
    port = case.port()
    other.write_text(f"server {{ listen 127.0.0.1:{port}; location / {{ allow 127.0.0.1; deny all; return 200 mine; }} }}\n")
    wait_for("the other site", lambda: reload_until(nginx, port))
    before = {path: digest(path) for path in (nginx.conf, other)}
    case.deploy("v1")
    case.deploy("v2")
    case.deploy("v2", verb="rollback")
    assert support.ask(port)[2] == b"mine"
    run = case.turnout("destroy", "--yes", "--confirm", case.app)
    assert run.rc == 0, repr(run)
    assert {path: digest(path) for path in before} == before
    assert support.ask(port)[2] == b"mine"
    assert case.instances() == [] and nginx.proc.poll() is None


def reload_until(nginx, port):
    nginx.proc.send_signal(signal.SIGHUP)
    return support.ask(port)[0] == 200


def two_balancers(case, **rollout):
    haproxy, nginx = Haproxy(case, "shop_web"), Nginx(case, "shop_web")
    service = case.service({}, balancer=None)
    service["expose"] = [
        {"balancer": "edge", "upstream": "shop_web", "port": "http", "drain": "5s"},
        {"balancer": "front", "upstream": "shop_web", "port": "http", "drain": "5s"},
    ]
    case.plan({"rollout": rollout}, services={"web": service}, balancers={"edge": haproxy.balancer(), "front": {"nginx": {**nginx.balancer()["nginx"], "apply_timeout": "2s"}}})
    return haproxy, nginx


def test_two_balancers_roll_together(case):
    haproxy, nginx = two_balancers(case, max_surge=3)
    case.deploy("v1")
    with case.load(haproxy.port, paths=SLOW, rate=150) as one, case.load(nginx.port, paths=SLOW, rate=150, retry_idle=True) as two:
        case.deploy("v2")
        wait_for("v2 alone", lambda: case.versions() == {"v2": 3}, 3)
        assert versions_served(haproxy.port) == versions_served(nginx.port) == {"v2"}
    one.check_nothing_lost("v1", "v2")
    two.check_nothing_lost("v1", "v2")


def in_force(text):
    """What HAProxy does with a file: no comments, no disabled servers."""
    lines = [line.split(b"#")[0].rstrip() for line in text.splitlines()]
    return [line for line in lines if line and not line.endswith(b"disabled")]


@pytest.mark.parametrize("broken", ["front", "edge"])
def test_two_balancers_nothing_old_stops_until_all_confirm(case, broken):
    haproxy, nginx = two_balancers(case)
    case.deploy("v1")
    before = [p.pid for p in case.instances()]
    owned = {balancer: balancer.owned.read_bytes() for balancer in (haproxy, nginx)}
    if broken == "front":
        good = nginx.conf.read_text()
        nginx.conf.write_text(good + "no_such_directive on;\n")
    else:
        support.end_all_of(haproxy.dir)
    with case.load(nginx.port, paths="/,/slow?ms=100", rate=150, retry_idle=True) as load:
        run = case.deploy("v2", rc=None)
    assert run.rc in (1, 3), repr(run)
    assert [p.pid for p in case.instances()] == before, "an old one stopped, or a new one is left"
    load.check_nothing_lost("v1")
    assert nginx.owned.read_bytes() == owned[nginx], "the file of the one that refused is back byte for byte"
    # HAProxy went back by its runtime API, without a reload: a slot that drained keeps its place, disabled (docs/balancers.md)
    assert in_force(haproxy.owned.read_bytes()) == in_force(owned[haproxy])
    if broken == "front":
        assert versions_served(haproxy.port) == {"v1"}
        nginx.conf.write_text(good)
        case.deploy("v2")
        assert versions_served(haproxy.port) == versions_served(nginx.port) == {"v2"}
