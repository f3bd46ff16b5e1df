"""Bad input, as far as it concerns processes: a clear error, the right exit code, and what runs goes on running."""

import contextlib
import json
import os
import socket
import subprocess

import pytest
import support
from support import ask, versions_served, wait_for

ROOT_USER = os.geteuid() == 0


def running(case):
    port, balancers = case.managed()
    case.balancers, case.edge = balancers, port
    case.plan(balancers=balancers)
    case.deploy("v1")
    return case


@pytest.fixture
def world(case):
    """v1 runs behind a managed HAProxy; the test then does something wrong, and v1 must have noticed nothing."""
    return running(case)


@pytest.fixture(scope="module")
def shared(session):
    """One such world for all tests that are refused before anything changes."""
    case = session.case()
    yield running(case)
    case.close()


@pytest.fixture
def still(shared, request):
    request.node.e2e_case = shared
    shared.runs.clear()
    yield shared
    shared.plan(balancers=shared.balancers)


def pids(case):
    return [proc.pid for proc in case.instances()]


def refused(case, run, code, *words):
    """The run was refused with this code and these words; v1 is untouched."""
    codes = code if isinstance(code, tuple) else (code,)
    assert run.rc in codes, repr(run)
    text = run.err + run.out
    missing = [word for word in words if word not in text]
    assert not missing, f"does not say {missing}: {text}"
    assert case.versions() == {"v1": 3} and versions_served(case.edge, 5) == {"v1"}


def write_yaml(case, text):
    (case.dir / "turnout.yaml").write_text(text)


# ---- the plan -----------------------------------------------------------------------------------------------

YAML_FAULTS = {
    "malformed": ("turnout: 1\nname: [x\n", ["turnout.yaml:"]),
    "tabs": ("turnout: 1\nname: x\nservices:\n\tweb: {}\n", ["turnout.yaml:4"]),
    "not-utf8": (b"turnout: 1\nname: \xff\xfe\n", ["turnout.yaml"]),
    "duplicate-key": ("turnout: 1\nname: x\nname: y\n", ["turnout.yaml:3", "name"]),
    "empty": ("", ["turnout.yaml"]),
    "list": ("- a\n- b\n", ["turnout.yaml:1"]),
    "deep": ("turnout: 1\nname: " + "[" * 100 + "]" * 100 + "\n", ["turnout.yaml"]),
    "huge": ("turnout: 1\nname: x\nx-pad: " + "a" * (1 << 20) + "\n", ["turnout.yaml"]),
    "bomb": ("turnout: 1\nname: x\nx-a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"x-{chr(97 + i)}: &{chr(97 + i)} [{','.join(['*' + chr(96 + i)] * 9)}]\n" for i in range(1, 12)), ["alias"]),
    "tag": ("turnout: 1\nname: !!python/object x\n", ["turnout.yaml:2"]),
    "future": ("turnout: 2\nname: x\n", ["turnout.yaml:1"]),
}


@pytest.mark.parametrize("fault", YAML_FAULTS)
def test_yaml(still, fault):
    text, words = YAML_FAULTS[fault]
    (still.dir / "turnout.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    for verb in (["validate"], ["deploy", "--yes"], ["destroy", "--yes", "--confirm", still.app]):
        refused(still, still.turnout(*verb, timeout=10), 65, *words)


PLAN_FAULTS = {
    "wrong-type": ({"services": {"web": {"replicas": "many"}}}, ["replicas", "many"]),
    "negative": ({"services": {"web": {"replicas": -1}}}, ["replicas"]),
    "unknown-key": ({"rollout": {"max_unavailible": 1}}, ["max_unavailible", "max_unavailable"]),
    "unknown-cluster": ({"services": {"web": {"clusters": ["locall"]}}}, ["locall", "local"]),
    "unknown-balancer": ({"services": {"web": {"expose": [{"balancer": "edgy", "path": "/", "port": "http"}]}}}, ["edgy", "edge"]),
    "unknown-port": ({"services": {"web": {"expose": [{"balancer": "edge", "path": "/", "port": "htpp"}]}}}, ["htpp", "http"]),
    "unknown-gate": ({"rollout": {"gates": ["smoke"]}}, ["smoke"]),
    "unknown-secret": ({"services": {"web": {"secrets": {"DB": "db_url"}}}}, ["db_url"]),
    "both-zero": ({"rollout": {"max_surge": 0, "max_unavailable": 0}}, ["max_surge", "max_unavailable"]),
    "no-unit": ({"rollout": {"min_healthy_time": "10"}}, ["min_healthy_time"]),
    "unknown-depends": ({"services": {"web": {"depends_on": ["db"]}}}, ["db"]),
    "cycle": ({"services": {"web": {"depends_on": ["web"]}}}, ["web", "depends_on"]),
    "missing-variable": ({"services": {"web": {"env": {"X": "${nowhere}"}}}}, ["nowhere"]),
    "required-variable": ({"vars": {"digest": {"required": True}}, "services": {"web": {"env": {"X": "${digest}"}}}}, ["digest"]),
    "reserved-kind": ({"clusters": {"k": {"kubernetes": {"context": "x"}}}, "services": {"web": {"clusters": ["k"]}}}, ["kubernetes"]),
    "reserved-strategy": ({"rollout": {"strategy": "canary"}}, ["canary"]),
    "key-of-another-strategy": ({"rollout": {"strategy": "recreate"}}, ["max_surge"]),
    "two-kinds": ({"balancers": {"edge": {"nginx": {"file": "x.conf"}}}}, ["nginx", "haproxy"]),
    "deadlines": ({"rollout": {"min_healthy_time": "30s", "healthy_deadline": "10s"}}, ["healthy_deadline"]),
    "no-command": ({"services": {"web": {"command": None}}}, ["command"]),
}


@pytest.mark.parametrize("fault", PLAN_FAULTS)
def test_plan(still, fault):
    over, words = PLAN_FAULTS[fault]
    still.plan(over, balancers=still.balancers)
    run = still.turnout("deploy", "--yes")
    refused(still, run, 65, *words)
    assert "turnout.yaml" in run.err


def test_cycle_of_three_names_its_members(still):
    services = {name: still.service({"depends_on": [on]}, balancer=None) for name, on in (("a", "b"), ("b", "c"), ("c", "a"))}
    still.plan(services=services)
    refused(still, still.turnout("deploy", "--yes"), 65, "a", "b", "c", "depends_on")


def test_all_errors_come_at_once(still):
    still.plan({"services": {"web": {"replicas": "many", "comand": "x"}}, "rollout": {"gates": ["smoke"]}}, balancers=still.balancers)
    refused(still, still.turnout("validate"), 65, "many", "comand", "smoke")


def test_missing_plan_and_wrong_usage(still):
    refused(still, still.turnout("deploy", "--yes", "-f", "nowhere.yaml"), (1, 64, 65), "nowhere.yaml")
    refused(still, still.turnout("deploy", "--yes", "--frobnicate"), 64, "frobnicate")
    refused(still, still.turnout("deplooy"), 64, "deplooy", "deploy")
    refused(still, still.turnout("deploy", "--yes", "nosuchservice"), (1, 64, 65), "nosuchservice")
    refused(still, still.turnout("deploy", "--yes", "--var", "novalue"), (64, 65), "novalue")


# ---- secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference,word", [
    ("file://./secrets/gone", "gone"),
    ("env://E2E_NOT_SET", "E2E_NOT_SET"),
    ("exec:///bin/false", "/bin/false"),
    ("exec:///nonexistent/tool", "/nonexistent/tool"),
])
def test_missing_secret(still, reference, word):
    still.plan({"secrets": {"db_url": reference}, "services": {"web": {"secrets": {"DATABASE_URL": "db_url"}}}}, balancers=still.balancers)
    assert still.turnout("validate").rc == 0, "validate resolves no secret"
    refused(still, still.turnout("deploy", "--yes", "--var", "tag=v2"), (1, 4), "db_url", word)


def test_secret_reaches_the_process_and_nothing_else(world):
    value = "s3cr3t-0f-e2e-7777"
    world.write("db", value + "\n", 0o600)
    world.plan({"secrets": {"db_url": "file://./db"}, "services": {"web": {"secrets": {"DATABASE_URL": "db_url"}, "env": {"CRASH_AT_START": ""}}}}, balancers=world.balancers)
    run = world.deploy("v2", "--progress", "json")
    assert {proc.env.get("DATABASE_URL") for proc in world.instances()} == {value}
    assert ask(world.edge, "/env?name=DATABASE_URL")[2].strip().decode() == value
    for output in [run.out, run.err] + [world.turnout(*words).out for words in (["history", "-o", "json"], ["status", "-o", "json"], ["config"], ["diff", "--var", "tag=v3"])]:
        assert value not in output
    for folder in ("state", "run"):
        for path in (world.dir / folder).rglob("*"):
            if path.is_file() and value.encode() in path.read_bytes():
                # The shim must start it again after a crash; then only the owner may read it.
                assert path.stat().st_mode & 0o077 == 0, f"{path} holds the secret and others can read it"
    assert not any(value in " ".join(proc.argv) for proc in support.processes())


# ---- the host -----------------------------------------------------------------------------------------------


def test_no_free_port(still):
    start = still.ports.start + support.BALANCER_PORTS + 20
    taken = []
    for port in range(start, start + 4):
        sock = socket.socket()
        sock.bind(("127.0.0.1", port))
        sock.listen()
        taken.append(sock)
    still.plan({"policy": {"port_range": f"{start}-{start + 3}"}}, balancers=still.balancers)
    run = still.turnout("deploy", "--yes", "--var", "tag=v2")
    refused(still, run, (1, 3), "port", f"{start}-{start + 3}")
    for sock in taken:
        sock.close()
    assert len(still.shims()) == 4


def test_port_range_too_small_for_the_surge(still):
    start = still.ports.start + support.BALANCER_PORTS + 20
    still.plan({"policy": {"port_range": f"{start}-{start}"}, "rollout": {"max_surge": 3}}, balancers=still.balancers)
    run = still.turnout("deploy", "--yes", "--var", "tag=v2")
    refused(still, run, (1, 3, 65), "port")
    assert len(still.shims()) == 4


def test_strangers_port_in_the_range_is_passed_over(world):
    start = world.ports.start + support.BALANCER_PORTS + 20
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", start))
        stranger.listen()
        world.plan({"policy": {"port_range": f"{start}-{start + 6}"}}, balancers=world.balancers)
        world.deploy("v2")
        assert str(start) not in {proc.env["PORT"] for proc in world.instances()}
    assert versions_served(world.edge) == {"v2"}


@pytest.mark.parametrize("program", ["missing", "folder", "not-executable"])
def test_program(still, program):
    path = {"missing": "./nowhere", "folder": ".", "not-executable": "./plain"}[program]
    still.write("plain", "hello\n", 0o644)
    still.plan({"services": {"web": {"command": [path]}}}, balancers=still.balancers)
    run = still.turnout("deploy", "--yes", "--var", "tag=v2")
    refused(still, run, (1, 3, 4), "nowhere" if program == "missing" else "plain" if program == "not-executable" else "")
    assert len(still.shims()) == 4


def test_listen_port_taken_by_a_stranger(case):
    port, balancers = case.managed()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        case.plan(balancers=balancers)
        run = case.turnout("deploy", "--yes", timeout=60)
        assert run.rc == 1, repr(run)
        assert str(port) in run.err and case.instances() == [] and case.shims() == []
    case.deploy("v1")


# ---- state --------------------------------------------------------------------------------------------------


def test_removed_state_is_found_again(world):
    """History is lost with the store; the service and the way to go on are not."""
    before = pids(world)
    for path in sorted((world.dir / "state").rglob("*"), reverse=True):
        path.unlink() if not path.is_dir() else path.rmdir()
    (world.dir / "state").rmdir()
    assert world.turnout("diff", "--detailed-exitcode").rc == 0
    world.deploy("v1")
    assert pids(world) == before
    world.deploy("v2")
    world.deploy("v2", verb="rollback")
    wait_for("v1", lambda: world.versions() == {"v1": 3})


def test_rollback_with_an_empty_store(world):
    world.deploy("v2")
    run = world.deploy("v2", verb="rollback", state="other")
    assert run.rc == 0 and world.versions() == {"v1": 3}


def test_store_that_is_no_store(world):
    for path in (world.dir / "state").glob("turnout.db*"):
        path.unlink()
    (world.dir / "state" / "turnout.db").write_bytes(b"this is not a database, but something of yours\n" * 100)
    run = world.turnout("deploy", "--yes", "--var", "tag=v2")
    refused(world, run, 1, str(world.dir / "state"))
    assert (world.dir / "state" / "turnout.db").read_bytes().startswith(b"this is not")


def test_store_of_a_newer_turnout(world):
    import sqlite3

    with sqlite3.connect(world.dir / "state" / "turnout.db") as store:
        store.execute("UPDATE meta SET value = '9999' WHERE key = 'schema'")
    store.close()
    refused(world, world.turnout("deploy", "--yes", "--var", "tag=v2"), 1, "9999")


def test_state_is_a_file(still):
    still.write("afile", "x")
    refused(still, still.turnout("deploy", "--yes", "--var", "tag=v2", "--state", still.dir / "afile"), (1, 4), "afile")


def as_nobody(case, *words):
    """turnout as a user without rights in the case's folder."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TURNOUT_STATE": str(case.dir / "state")}
    program = "/tmp/turnout-e2e-nobody-%d" % os.getpid()
    if not os.path.exists(program):
        subprocess.run(["cp", support.TURNOUT, program], check=True)
        os.chmod(program, 0o755)
    case.closers.append(lambda: os.path.exists(program) and os.unlink(program))

    def drop():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    return subprocess.run([program, *map(str, words)], cwd=case.dir, env=env, capture_output=True, text=True, preexec_fn=drop, timeout=30)


@pytest.mark.skipif(not ROOT_USER, reason="needs to be able to become somebody else")
def test_missing_rights(world):
    """A user who may not write the cluster's folder or the state: 4 or 1, the path is named, nothing changes."""
    run = as_nobody(world, "deploy", "--yes", "--var", "tag=v2")
    assert run.returncode in (1, 4), run
    assert str(world.dir / "state") in run.stderr or "turnout.db" in run.stderr, run
    assert world.versions() == {"v1": 3}
    own = world.dir / "nobody-state"
    own.mkdir()
    os.chown(own, 65534, 65534)
    run = as_nobody(world, "deploy", "--yes", "--var", "tag=v2", "--state", own)
    assert run.returncode == 4 or run.returncode == 1, run
    assert str(world.dir / "run") in run.stderr, run
    assert world.versions() == {"v1": 3} and versions_served(world.edge) == {"v1"}


def test_state_that_others_can_write(world):
    """Whoever can write the journal can make turnout do things: refused, or the rights are taken away with a word."""
    os.chmod(world.dir / "state", 0o777)
    run = world.turnout("deploy", "--yes", "--var", "tag=v2")
    refused(world, run, (1, 4), str(world.dir / "state"))


def test_full_disk(case):
    """State and instances on a file system of 300 KB that is full: 1, v1 serves, and it goes on when there is room."""
    if not ROOT_USER:
        pytest.skip("needs to be able to mount")
    small = case.dir / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        port, balancers = case.managed()
        case.plan({"clusters": {"local": {"process": {"dir": str(small / "run")}}}}, balancers=balancers)
        case.deploy("v1", state="small/state")
        fill = small / "fill"
        with open(fill, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        before = pids(case)
        run = case.deploy("v2", rc=None, state="small/state")
        assert run.rc in (1, 3), repr(run)
        assert "space" in run.err or "full" in run.err, run.err[-2000:]
        assert pids(case) == before and versions_served(port) == {"v1"}
        fill.unlink()
        case.deploy("v2", "--lease-wait=10s", state="small/state")
        assert versions_served(port) == {"v2"}
        case.turnout("destroy", "--yes", "--confirm", case.app, state="small/state")
    finally:
        support.end_all_of(case.dir)
        subprocess.run(["umount", "-l", str(small)], check=False)


# ---- strangers ----------------------------------------------------------------------------------------------


def test_other_environments_and_strangers_are_never_touched(world):
    """The same plan in another environment, and a stranger's process in the same folder."""
    text = json.loads((world.dir / "turnout.yaml").read_text())
    other = world.port()
    text["environments"] = {"staging": {"balancers": {"edge": {"haproxy": {"listen": f"127.0.0.1:{other}"}}}, "services": {"web": {"env": {"VERSION": "staging-${tag}"}}}}}
    (world.dir / "turnout.yaml").write_text(json.dumps(text))
    before = pids(world)
    world.deploy("v1", "-e", "staging")
    assert world.versions() == {"v1": 3, "staging-v1": 3} and set(before) < set(pids(world))
    assert versions_served(other) == {"staging-v1"} and versions_served(world.edge) == {"v1"}
    world.deploy("v2", "-e", "staging")
    assert world.versions() == {"v1": 3, "staging-v2": 3}
    run = world.turnout("destroy", "-e", "staging", "--yes", "--confirm", world.app)
    assert run.rc == 0, repr(run)
    assert world.versions() == {"v1": 3} and pids(world) == before and versions_served(world.edge) == {"v1"}


def test_another_application_in_the_same_folder(world):
    text = json.loads((world.dir / "turnout.yaml").read_text())
    other = world.port()
    text["name"] = world.app + "b"
    text["balancers"] = {"side": {"haproxy": {"managed": "local", "listen": f"127.0.0.1:{other}"}}}
    text["services"]["web"]["expose"][0]["balancer"] = "side"
    text["services"]["web"]["env"]["VERSION"] = "b"
    (world.dir / "b.yaml").write_text(json.dumps(text))
    before = pids(world)
    run = world.turnout("deploy", "--yes", "-f", "b.yaml")
    assert run.rc == 0, repr(run)
    assert versions_served(other) == {"b"} and set(before) < set(pids(world))
    run = world.turnout("destroy", "--yes", "-f", "b.yaml", "--confirm", world.app + "b")
    assert run.rc == 0 and pids(world) == before and versions_served(world.edge) == {"v1"}
