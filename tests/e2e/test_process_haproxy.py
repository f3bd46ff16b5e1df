"""Processes behind a HAProxy that turnout runs: nothing is lost, only what differs is touched."""

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
    with case.load(port, paths=SLOW, rate=200) as load:
        case.deploy("v2", unsafe=unsafe)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def scaled_down(case, **options):
    """5 → 2 under load; returns what the load saw."""
    port, balancers = case.managed()
    case.plan({"services": {"web": {"replicas": 5}}}, balancers=balancers)
    case.deploy()
    keep = set(pids(case))
    with case.load(port, **options.pop("load", {})) as load:
        case.plan({"services": {"web": {"replicas": 2}}}, balancers=balancers)
        run = case.deploy(**options)
        wait_for("two instances", lambda: case.versions() == {"v1": 2}, 3)
    assert set(pids(case)) < keep, "scaling down starts nothing"
    assert versions_served(port) == {"v1"}
    return load, run


def test_scale_down_under_load(case):
    load, run = scaled_down(case)
    load.check_nothing_lost("v1")
    check_depth(load, run, kinds=("drain",))


def test_scale_down_twin(case):
    load, _ = scaled_down(case, unsafe="no-drain", load={"paths": SLOW, "rate": 200})
    assert load.lost > 0, "the twin must lose: " + load.summary()


def rolled_back(case, **options):
    port, balancers = case.managed()
    case.plan({"rollout": {"max_surge": 3}}, balancers=balancers)
    case.deploy("v1")
    case.deploy("v2")
    with case.load(port, **options.pop("load", {})) as load:
        run = case.deploy("v2", verb="rollback", **options)
        check_alone(case, port, "v1", 3)
    return load, run


def test_rollback_under_load(case):
    load, run = rolled_back(case)
    load.check_nothing_lost("v2", "v1")
    check_depth(load, run)
    again = case.turnout("history", "-o", "json").json()
    assert [entry["action"] for entry in again] == ["rollback", "deploy", "deploy"]


def test_rollback_twin(case):
    load, _ = rolled_back(case, unsafe="no-drain", load={"paths": SLOW, "rate": 200})
    assert load.lost > 0, "the twin must lose: " + load.summary()


def test_rollback_to_a_named_revision(case):
    port, balancers = case.managed()
    case.plan({"services": {"web": {"replicas": 1}}}, balancers=balancers)
    for tag in ("v1", "v2", "v3"):
        case.deploy(tag)
    first = case.turnout("history", "-o", "json").json()[-1]["placements"][0]["revision"]
    case.deploy("v3", "--to", first, verb="rollback")
    check_alone(case, port, "v1", 1)
    assert case.deploy("v3", "--to", "0123456789ab", verb="rollback", rc=None).rc == 1
    assert versions_served(port) == {"v1"}


# ---- other strategies ---------------------------------------------------------------------------------------


def test_recreate_states_its_downtime(case):
    port, balancers = case.managed()
    case.plan({"rollout": None, "services": {"web": {"rollout": {
        "strategy": "recreate", "min_healthy_time": "100ms", "healthy_deadline": "10s", "progress_deadline": "20s"}}}}, balancers=balancers)
    case.deploy("v1")
    run = case.start("deploy", "--yes", "--var", "tag=v2", "--progress", "plain")
    most = 0
    while run.running():
        counts = case.versions()
        assert set(counts) != {"v1", "v2"}, "recreate: the old ones are gone before the first new one"
        most = max(most, sum(counts.values()))
    run.wait()
    assert run.rc == 0 and most == 3, repr(run)
    check_alone(case, port, "v2", 3)
    assert "downtime" in run.err + run.out, "the measured downtime is stated\n" + repr(run)
    warned = case.turnout("validate")
    assert warned.rc == 0 and "recreate" in warned.out + warned.err, "validate warns\n" + repr(warned)


def test_manual_is_left_alone(case):
    port, balancers = case.managed()
    case.plan({"services": {"web": {"replicas": 2}}}, balancers=balancers)
    case.deploy("v1")
    before = pids(case)
    plan = {"rollout": None, "services": {"web": {"replicas": 2, "rollout": {"strategy": "manual"}}}}
    case.plan(plan, balancers=balancers)
    shown = case.turnout("diff", "--var", "tag=v2")
    assert shown.rc == 0 and "manual" in shown.out and "v2" in shown.out, repr(shown)
    case.deploy("v2")
    assert pids(case) == before and versions_served(port) == {"v1"}


# ---- only what differs is touched ---------------------------------------------------------------------------


def files_of(folder):
    """Inode, size and time of change of each file below a folder."""
    return {str(path): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
            for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def test_second_deploy_changes_nothing(case):
    _, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    before, files = pids(case), files_of(case.dir / "run/balancers")
    run = case.deploy("v1")
    assert pids(case) == before
    effects = {"start", "admit", "drain", "stop", "weights"} & set(run.kinds())
    assert not effects, effects
    assert {k: v for k, v in files_of(case.dir / "run/balancers").items() if k.endswith(".cfg")} == {
        k: v for k, v in files.items() if k.endswith(".cfg")}
    shown = case.turnout("diff", "--detailed-exitcode")
    assert shown.rc == 0, repr(shown)
    assert case.turnout("diff", "--detailed-exitcode", "--var", "tag=v2").rc == 2


def test_more_and_fewer_replicas_replace_nothing(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy()
    three = set(pids(case))
    case.plan({"services": {"web": {"replicas": 5}}}, balancers=balancers)
    case.deploy()
    five = set(pids(case))
    assert three < five and len(five) == 5
    wait_for("five servers", lambda: len(edge_servers(case)) == 5, 3)
    case.plan({"services": {"web": {"replicas": 2}}}, balancers=balancers)
    case.deploy()
    two = set(pids(case))
    assert two < five and len(two) == 2
    assert len(edge_servers(case)) == 2
    assert versions_served(port) == {"v1"}


def test_weight_change_restarts_nothing(case):
    port, balancers = case.managed()
    expose = {"balancer": "edge", "path": "/", "port": "http", "drain": "5s"}
    case.plan({"services": {"web": {"expose": [{**expose, "weight": 1}]}}}, balancers=balancers)
    case.deploy()
    before = pids(case)
    case.plan({"services": {"web": {"expose": [{**expose, "weight": 7}]}}}, balancers=balancers)
    shown = case.turnout("diff", "--detailed-exitcode")
    assert shown.rc == 2 and "weight" in shown.out and "7" in shown.out, repr(shown)
    with case.load(port, paths="/", rate=200) as load:
        case.deploy()
    assert pids(case) == before
    assert len({row["weight"] for row in edge_servers(case)}) == 1, "the smallest whole numbers that give the shares"
    assert case.turnout("diff", "--detailed-exitcode").rc == 0
    load.check_nothing_lost("v1")


def test_crashed_instance_is_replaced_by_the_next_deploy(case):
    port, balancers = case.managed()
    case.plan({"services": {"web": {"restart": "no"}}}, balancers=balancers)
    case.deploy()
    victim, *others = case.instances()
    support.kill_exactly(victim.pid, victim.started)
    wait_for("two left", lambda: len(case.instances()) == 2)
    shown = case.turnout("diff", "--detailed-exitcode")
    assert shown.rc == 2, repr(shown)
    case.deploy()
    now = pids(case)
    assert len(now) == 3 and {p.pid for p in others} < set(now)
    check_alone(case, port, "v1", 3)


def test_crashed_instance_is_restarted_by_its_policy(case):
    """unless-stopped is the default: the shim starts it again on the same port, without turnout."""
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy()
    ports = sorted(p.env["PORT"] for p in case.instances())
    victim = case.instances()[0]
    support.kill_exactly(victim.pid, victim.started)
    wait_for("it to come back", lambda: len(case.instances()) == 3 and victim.pid not in pids(case))
    assert sorted(p.env["PORT"] for p in case.instances()) == ports
    wait_for("the balancer to see it", lambda: len(edge_servers(case)) == 3)
    assert versions_served(port) == {"v1"}


def test_restart_replaces_all_with_the_same_revision(case):
    port, balancers = case.managed()
    case.plan({"rollout": {"max_surge": 3}}, balancers=balancers)
    case.deploy()
    before = set(pids(case))
    with case.load(port, paths="/,/slow?ms=300", rate=150) as load:
        case.deploy(verb="restart")
    check_alone(case, port, "v1", 3)
    assert not before & set(pids(case))
    load.check_nothing_lost("v1")


def test_three_revisions_converge(case):
    """A deployment over a half-finished one: v1 and v2 both run, v3 replaces both."""
    port, balancers = case.managed()
    case.plan({"rollout": {"on_failure": "pause"}}, balancers=balancers)
    case.deploy("v1")
    first = case.start("deploy", "--yes", "--progress", "json", "--var", "tag=v2")
    assert first.wait_event("stop")
    first.kill(signal.SIGKILL)
    first.wait()
    assert set(case.versions()) == {"v1", "v2"}
    with case.load(port, paths="/,/slow?ms=300", rate=150) as load:
        case.deploy("v3", "--lease-wait=10s")
    check_alone(case, port, "v3", 3)
    load.check_nothing_lost("v3")


def test_diff_and_dry_run_change_nothing(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    before, files = pids(case), files_of(case.dir / "run")
    assert case.turnout("diff", "--var", "tag=v2").rc == 0
    run = case.turnout("deploy", "--dry-run", "--yes", "--var", "tag=v2")
    assert run.rc == 0 and "v2" in run.out + run.err, repr(run)
    assert pids(case) == before and files_of(case.dir / "run") == files


def test_change_set_is_executed_exactly_or_stale(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    assert case.turnout("diff", "--var", "tag=v2", "--out", "change.json").rc == 0
    assert case.turnout("diff", "--var", "tag=v3", "--out", "other.json").rc == 0
    run = case.turnout("deploy", "change.json", "--yes")
    assert run.rc == 0, repr(run)
    check_alone(case, port, "v2", 3)
    stale = case.turnout("deploy", "other.json", "--yes")
    assert stale.rc == 9 and "revision" in stale.err, repr(stale)
    assert versions_served(port) == {"v2"}


def test_destroy_leaves_nothing(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    wrong = case.turnout("destroy", "--yes", "--confirm", "other")
    assert wrong.rc == 64 and len(case.instances()) == 3, repr(wrong)
    run = case.turnout("destroy", "--yes", "--confirm", case.app)
    assert run.rc == 0, repr(run)
    assert case.instances() == [] and case.shims() == []
    assert support.port_is_free(port)
    again = case.turnout("destroy", "--yes", "--confirm", case.app)
    assert again.rc == 0, repr(again)
    case.deploy("v1")
    check_alone(case, port, "v1", 3)


# ---- version 2 fails ----------------------------------------------------------------------------------------

PROGRAM_GONE = "/nonexistent/server"

# name: (what is different in v2, plan, words of the cause)
FAILING = {
    "exits-at-once": ({"env": {"CRASH_AT_START": "1"}}, {}, ["exit", "1"]),
    "segfault": ({"env": {"SEGV_AT_START": "1"}}, {}, ["Segmentation fault"]),
    "never-listens": ({"env": {"NEVER_LISTEN": "1"}}, {"rollout": {"healthy_deadline": "1500ms"}}, ["connect"]),
    "health-503": ({"env": {"HEALTH_STATUS": "503"}}, {"rollout": {"healthy_deadline": "1500ms"}}, ["503", "/healthz"]),
    "health-404": ({"env": {"HEALTH_STATUS": "404"}}, {}, ["404", "/healthz"]),
    "health-403": ({"env": {"HEALTH_STATUS": "403"}}, {}, ["403", "/healthz"]),
    "health-302": ({"env": {"HEALTH_REDIRECT": "1"}}, {}, ["302", "/healthz"]),
    "health-hangs": ({"env": {"HEALTH_HANG": "1"}}, {"rollout": {"healthy_deadline": "2s"}}, ["/healthz"]),
    "too-slow": ({"env": {"HEALTH_DELAY_MS": "60000"}}, {"rollout": {"healthy_deadline": "1500ms"}}, ["1.5s", "/healthz"]),
    "no-program": ({"command": [PROGRAM_GONE]}, {}, [PROGRAM_GONE]),
}


@pytest.mark.parametrize("fault", FAILING)
def test_failing_v2_is_rolled_back(case, fault):
    service, plan, words = FAILING[fault]
    port, balancers = case.managed()
    case.plan(plan, balancers=balancers)
    case.deploy("v1")
    before = pids(case)
    bad = dict(plan)
    bad["services"] = {"web": service}
    case.plan(bad, balancers=balancers)
    with case.load(port, paths="/,/slow?ms=100", rate=150) as load:
        run = case.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=40)
    text = run.out + run.err
    # A program that is not there is found before anything changes.
    assert run.rc == (1 if fault == "no-program" else 3), repr(run)
    assert pids(case) == before
    check_alone(case, port, "v1", 3)
    load.check_nothing_lost("v1")
    assert "v2" not in load.report["by_version"]
    missing = [word for word in words if word not in text]
    assert not missing, f"the cause does not say {missing}\n{text}"
    if fault == "exits-at-once":
        assert "fatal: DATABASE_URL missing" in text, "the last log lines are shown\n" + text
    if fault != "no-program":
        assert "next:" in text and "turnout " in text.split("next:")[-1], text


def test_slow_start_within_the_deadline_succeeds(case):
    port, balancers = case.managed()
    case.plan({"rollout": {"max_surge": 3}}, balancers=balancers)
    case.deploy("v1")
    case.plan({"rollout": {"max_surge": 3}, "services": {"web": {"env": {"LISTEN_DELAY_MS": "1200", "HEALTH_DELAY_MS": "1800"}}}}, balancers=balancers)
    with case.load(port, paths="/,/slow?ms=100", rate=150) as load:
        case.deploy("v2")
    check_alone(case, port, "v2", 3)
    load.check_nothing_lost("v1", "v2")


def test_s18_crash_long_after_ready(case):
    """S18: healthy at the gate, crashes later, but before the rollout is over: rolled back, v1 serves throughout.

    v2 lives for 700 ms, min_healthy_time is 100 ms: the first v2 is admitted and then dies while the second starts.
    """
    port, balancers = case.managed()
    plan = {"rollout": {"min_healthy_time": "100ms", "delay": "1s"}}
    case.plan(plan, balancers=balancers)
    case.deploy("v1")
    case.plan({**plan, "services": {"web": {"env": {"EXIT_AFTER_MS": "700", "EXIT_CODE": "9"}}}}, balancers=balancers)
    least = []
    run = case.start("deploy", "--yes", "--var", "tag=v2", "--progress", "plain")
    while run.running():
        least.append(case.versions().get("v1", 0))
    run.wait()
    assert run.rc == 3, repr(run)
    assert min(least) >= 2, "old ones were given up for a revision that had crashed"
    check_alone(case, port, "v1", 3)
    assert "9" in run.out + run.err


@pytest.mark.parametrize("fault", ["exits-at-once", "health-503", "health-404"])
def test_failing_first_deployment_leaves_nothing(case, fault):
    service, plan, words = FAILING[fault]
    port, balancers = case.managed()
    case.plan({**plan, "services": {"web": service}}, balancers=balancers)
    run = case.turnout("deploy", "--yes", "--progress", "plain")
    assert run.rc == 1, repr(run)
    assert case.instances() == []
    assert case.shims() == [] or support.port_is_free(port) is False
    assert [w for w in words if w not in run.err + run.out] == []
    if not support.port_is_free(port):
        assert versions_served(port, 1) == {503}
    case.plan(balancers=balancers)
    case.deploy("v1")
    check_alone(case, port, "v1", 3)


@pytest.mark.parametrize("choice,code", [("stop", 5), ("pause", 8)])
def test_on_failure_stop_and_pause(case, choice, code):
    port, balancers = case.managed()
    plan = {"rollout": {"on_failure": choice}}
    case.plan(plan, balancers=balancers)
    case.deploy("v1")
    case.plan({**plan, "services": {"web": {"env": {"CRASH_AT_START": "1"}}}}, balancers=balancers)
    with case.load(port, paths="/", rate=100) as load:
        run = case.deploy("v2", rc=None)
    assert run.rc == code, repr(run)
    load.check_nothing_lost("v1")
    assert case.versions().get("v1") == 3
    case.plan(plan, balancers=balancers)
    case.deploy("v1", verb="rollback", rc=None)
    assert case.deploy("v3").rc == 0
    check_alone(case, port, "v3", 3)


def test_s20_deadline_per_placement(case):
    """S20: one service fails at its own deadline while the other still makes progress."""
    port, balancers = case.managed()
    plan = {"rollout": {"healthy_deadline": "6s", "progress_deadline": "15s", "min_healthy_time": "100ms"}}

    def services(bad):
        a = {"env": {"SERVICE": "a", **({"HEALTH_STATUS": "503"} if bad else {})}, "replicas": 2, "rollout": {
            "strategy": "rolling", "healthy_deadline": "1500ms", "progress_deadline": "3s", "min_healthy_time": "100ms"}}
        b = {"env": {"SERVICE": "b", **({"HEALTH_DELAY_MS": "1000"} if bad else {})}, "replicas": 3}
        made = {"a": case.service(a), "b": case.service(b)}
        made["a"]["expose"][0]["path"], made["b"]["expose"][0]["path"] = "/a", "/b"
        return made

    case.plan(plan, services=services(False), balancers=balancers)
    case.deploy("v1")
    case.plan(plan, services=services(True), balancers=balancers)
    with case.load(port, paths="/a", rate=100) as load:
        run = case.deploy("v2", rc=None)
    load.check_nothing_lost("v1")
    assert run.rc == 3, repr(run)
    failed = [event for event in run.events if event["kind"] == "failed"]
    assert failed and {event["service"] for event in failed} == {"a"}, failed
    # a's own deadline counted: it failed before b, whose three starts take longer, could have been done.
    assert versions_served(port, path="/a") == {"v1"} and versions_served(port, path="/b") == {"v1"}
    assert case.versions() == {"v1": 5}


# ---- depends_on, hooks, gates -------------------------------------------------------------------------------


def test_depends_on_orders_services(case):
    _, balancers = case.managed()
    services = {
        "web": case.service({"depends_on": ["db"], "replicas": 1}),
        "db": case.service({"replicas": 1, "env": {"LISTEN_DELAY_MS": "500"}}, balancer=None),
    }
    case.plan(services=services, balancers=balancers)
    run = case.deploy()
    order = [(e["kind"], e["service"]) for e in run.events if e["kind"] in ("start", "placed")]
    assert order.index(("placed", "db")) < order.index(("start", "web")), order


def hook(case, name, code=0, **more):
    line = f'echo "{name} app=$TURNOUT_APP service=$TURNOUT_SERVICE rollout=$TURNOUT_ROLLOUT" >>{case.dir}/hooks; exit {code}'
    return [{"run": line, "once": True, "timeout": "5s", "where": "local", **more}]


def hook_lines(case):
    path = case.dir / "hooks"
    return path.read_text().splitlines() if path.exists() else []


def test_hooks_run_once_with_their_environment(case):
    port, balancers = case.managed()
    hooks = {"pre_deploy": hook(case, "pre"), "post_deploy": hook(case, "post"), "on_failure": hook(case, "fail")}
    case.plan({"services": {"web": {"hooks": hooks}}}, balancers=balancers)
    run = case.deploy()
    rollout = run.json()["rollout"]
    assert hook_lines(case) == [f"{name} app={case.app} service=web rollout={rollout}" for name in ("pre", "post")]
    assert run.kinds().index("start") < run.kinds().index("placed")
    case.deploy()
    assert len(hook_lines(case)) == 2, "nothing to do: no hook"


def test_failing_pre_deploy_changes_nothing(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    before = pids(case)
    hooks = {"pre_deploy": hook(case, "pre", 3), "on_failure": hook(case, "fail")}
    case.plan({"services": {"web": {"hooks": hooks}}}, balancers=balancers)
    run = case.deploy("v2", rc=None)
    assert run.rc in (1, 3), repr(run)
    assert "start" not in run.kinds()
    assert pids(case) == before and versions_served(port) == {"v1"}
    assert [line.split()[0] for line in hook_lines(case)] == ["pre", "fail"]
    assert "pre_deploy" in run.err and "3" in run.err, run.err[-2000:]


def test_on_failure_hook_runs_once_when_the_rollout_fails(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    hooks = {"post_deploy": hook(case, "post"), "on_failure": hook(case, "fail")}
    case.plan({"services": {"web": {"hooks": hooks, "env": {"CRASH_AT_START": "1"}}}}, balancers=balancers)
    case.deploy("v2", rc=3)
    assert [line.split()[0] for line in hook_lines(case)] == ["fail"]


def test_hook_that_never_ends_is_cut(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    line = f"sleep 600 & echo $! >{case.dir}/child; echo pre >>{case.dir}/hooks; wait"
    case.plan({"services": {"web": {"hooks": {"pre_deploy": [{"run": line, "timeout": "500ms"}]}}}}, balancers=balancers)
    run = case.deploy("v2", rc=None, timeout=30)
    assert run.rc in (1, 3, 6) and "pre_deploy" in run.err, repr(run)
    child = int((case.dir / "child").read_text())
    wait_for("the hook's child to be gone", lambda: child not in [p.pid for p in support.processes()], 5)
    assert versions_served(port) == {"v1"}


@pytest.mark.parametrize("kind", ["http", "tcp", "cmd"])
def test_gates(case, kind):
    """A gate that does not hold rolls back; one that does lets it pass."""
    port, balancers = case.managed()
    closed = case.port()
    case.plan(balancers=balancers)
    case.deploy("v1")
    gates = {
        "http": ({"http": {"url": f"http://127.0.0.1:{port}/status?code=500", "expect": "200"}}, {"http": {"url": f"http://127.0.0.1:{port}/", "expect": "200", "body": "version="}}),
        "tcp": ({"tcp": f"127.0.0.1:{closed}"}, {"tcp": f"127.0.0.1:{port}"}),
        "cmd": ({"cmd": f"echo gate >>{case.dir}/gate; exit 1"}, {"cmd": f"echo gate >>{case.dir}/gate"}),
    }
    bad, good = ({**gate, "interval": "100ms", "timeout": "1s", "count": 2, "failure_limit": 0, "error_limit": 0} for gate in gates[kind])
    case.plan({"gates": {"smoke": bad}, "rollout": {"gates": ["smoke"]}}, balancers=balancers)
    with case.load(port, paths="/", rate=100) as load:
        run = case.deploy("v2", rc=None)
    assert run.rc == 3, repr(run)
    assert "smoke" in run.err
    check_alone(case, port, "v1", 3)
    load.check_nothing_lost("v1")
    case.plan({"gates": {"smoke": good}, "rollout": {"gates": ["smoke"]}}, balancers=balancers)
    case.deploy("v2")
    check_alone(case, port, "v2", 3)
    if kind == "cmd":
        assert len((case.dir / "gate").read_text().split()) >= 2 + 1
