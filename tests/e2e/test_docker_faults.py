"""What goes wrong on an engine: containers that fail, engines that do not answer, names and ports of strangers."""

import json
import socket

import pytest
from docker_support import env_of, port_of, stable_part
from support import versions_served, wait_for


def plan(box, over=None, **service):
    return box.plan(over, services={"web": box.service({"replicas": 2, **service}, balancer=None)})


def parts(box):
    return [stable_part(c) for c in box.containers()]


# ---- version 2 fails ----------------------------------------------------------------------------------------

FAILING = {
    "exits-at-once": ({"env": {"CRASH_AT_START": "1"}}, {}, ["exited", "1", "fatal: DATABASE_URL missing"]),
    "segfault": ({"env": {"SEGV_AT_START": "1"}}, {}, ["signal 11"]),
    "no-program": ({"entrypoint": ["/no/such/program"]}, {}, ["/no/such/program"]),
    "never-listens": ({"env": {"NEVER_LISTEN": "1"}}, {"healthy_deadline": "1500ms"}, ["healthz"]),
    "health-503": ({"env": {"HEALTH_STATUS": "503"}}, {"healthy_deadline": "1500ms"}, ["503", "/healthz"]),
    "health-404": ({"env": {"HEALTH_STATUS": "404"}}, {}, ["404", "/healthz"]),
    "health-302": ({"env": {"HEALTH_REDIRECT": "1"}}, {}, ["302", "/healthz"]),
}


@pytest.mark.parametrize("fault", FAILING)
def test_failing_v2_is_rolled_back(box, fault):
    service, rollout, words = FAILING[fault]
    plan(box, {"rollout": rollout})
    box.deploy("v1")
    before = parts(box)
    plan(box, {"rollout": rollout}, **service)
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=40)
    assert run.rc == 3, repr(run)
    assert parts(box) == before, "the old ones were not touched, nothing new is left"
    missing = [word for word in words if word not in run.err]
    assert not missing, f"the cause does not say {missing}\n{run!r}"
    assert "next:" in run.err and "turnout " in run.err.split("next:")[-1], repr(run)


def test_out_of_memory_says_so(box):
    """The engine's OOMKilled, not just 137."""
    plan(box)
    box.deploy("v1")
    before = parts(box)
    # tail of an endless line needs ever more memory
    plan(box, memory="8Mi", entrypoint=["/bin/tail", "-n", "1", "/dev/zero"])
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=40)
    assert run.rc == 3 and "memory" in run.err.lower(), repr(run)
    assert parts(box) == before


def test_first_deployment_that_fails_leaves_nothing(box):
    plan(box, env={"CRASH_AT_START": "1"})
    run = box.turnout("deploy", "--yes", "--progress", "plain")
    assert run.rc == 1 and "fatal: DATABASE_URL missing" in run.err, repr(run)
    assert box.containers() == []
    plan(box)
    box.deploy("v1")


# ---- strangers ----------------------------------------------------------------------------------------------


def test_strangers_and_other_environments_are_never_touched(box):
    """Same labels but another app, another environment, a hand-made container: identical after everything."""
    engine = box.engine
    mine = {"turnout.service": "web", "turnout.cluster": "web", "turnout.revision": "0123456789ab", "turnout.rollout": "r-000000"}
    box.stranger(labels={"turnout.app": box.app + "x", "turnout.env": "", **mine})
    box.stranger(labels={"com.docker.compose.project": box.app, "com.docker.compose.service": "web"})
    box.stranger(start=False)
    strangers = sorted(c["Id"] for c in engine.list(**{"e2e.case": box.app}))
    before = [stable_part(engine.inspect(c)) for c in strangers]
    plan(box, {"environments": {"staging": {"services": {"web": {"replicas": 1}}}}})
    box.deploy("v1", "-e", "staging")
    staging = parts(box)
    assert len(staging) == 1
    box.deploy("v1")
    box.deploy("v2")
    box.deploy("v2", verb="rollback")
    assert len(box.containers()) == 3
    assert [p for p in parts(box) if p["id"] == staging[0]["id"]] == staging
    assert len(box.turnout("status", "-o", "json").json()["placements"][0]["instances"]) == 2
    assert box.turnout("prune", "--yes").rc == 0
    assert box.turnout("destroy", "--yes", "--confirm", box.app).rc == 0
    assert parts(box) == staging
    assert [stable_part(engine.inspect(c)) for c in strangers] == before
    assert box.turnout("destroy", "--yes", "--confirm", box.app, "-e", "staging").rc == 0
    assert box.containers() == [] and [stable_part(engine.inspect(c)) for c in strangers] == before


def test_a_stranger_holds_the_name(box):
    """The name that a new instance would get is taken by a container that is not ours: never removed."""
    plan(box)
    box.deploy("v1")
    box.deploy("v2")
    names = [c["Name"].lstrip("/") for c in box.running()]
    box.deploy("v1")
    taken = box.stranger(name=names[0])
    before = stable_part(box.engine.inspect(taken))
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain")
    assert stable_part(box.engine.inspect(taken)) == before
    if run.rc == 0:
        assert box.versions() == {"v2": 2}
    else:
        assert run.rc in (1, 3) and names[0] in run.err, repr(run)
        assert box.versions() == {"v1": 2}


def test_a_stranger_holds_ports_of_the_range(box):
    """Ports taken on the host, by a program or a container, are passed over."""
    low = int(box.ports.plan_range().split("-")[0])
    sockets = []
    for port in (low, low + 1):
        sockets.append(socket.create_server(("127.0.0.1", port)))
    box.stranger(host={"PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(low + 2)}]}}, ExposedPorts={"8080/tcp": {}})
    plan(box)
    box.deploy("v1")
    assert not {low, low + 1, low + 2} & set(box.host_ports())
    for held in sockets:
        held.close()


def test_no_free_port(box):
    low = int(box.ports.plan_range().split("-")[0])
    held = socket.create_server(("127.0.0.1", low))
    plan(box, {"policy": {"port_range": f"{low}-{low}"}})
    run = box.turnout("deploy", "--yes", "--progress", "plain", timeout=40)
    assert run.rc == 1 and "port" in run.err, repr(run)
    assert box.containers() == []
    held.close()


def test_a_stopped_container_keeps_its_port(box):
    """A container of ours that is down still owns its port: it comes back to it."""
    plan(box, restart="no")
    box.deploy("v1")
    victim = box.running()[0]
    box.engine.post(f"/containers/{victim['Id']}/stop?t=1")
    plan(box, restart="no", replicas=4)
    box.deploy("v1")
    ports = box.host_ports()
    assert len(ports) == 4 == len(set(ports)) and len(box.containers()) == 4


# ---- engines ------------------------------------------------------------------------------------------------


def refused(box, *words, **options):
    """deploy refuses and changes nothing; diff, destroy and prune do not take unknown for gone."""
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=60, **options)
    assert run.rc == 1, repr(run)
    assert not [w for w in words if w not in run.err + run.out], repr(run)
    return run


def test_engine_that_is_gone_is_unknown(box):
    """Nothing listens on the socket: refused, nothing is treated as gone."""
    proxy = box.proxy()
    box.url = proxy.url
    plan(box)
    box.deploy("v1")
    before, volumes = parts(box), box.engine.volumes()
    proxy.close()
    refused(box, proxy.path)
    diff = box.turnout("diff")
    assert diff.rc == 1 and "create" not in diff.out, repr(diff)
    assert box.turnout("destroy", "--yes", "--confirm", box.app).rc == 1
    status = box.turnout("status", "-o", "json")
    assert status.json()["unreachable"][0]["cluster"] == "web", repr(status)
    assert parts(box) == before and box.engine.volumes() == volumes


def test_engine_that_hangs_is_unknown(box):
    """The engine accepts and never answers: every wait has an end."""
    proxy = box.proxy()
    box.url = proxy.url
    plan(box)
    box.deploy("v1")
    before = parts(box)
    proxy.rule(lambda method, path: True, "hang")
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--timeout", "2s", "--progress", "plain", timeout=30)
    assert run.rc in (1, 6), repr(run)
    proxy.release()
    assert parts(box) == before


def test_engine_that_stops_answering_in_the_middle(box):
    """It hangs during the rollout: no old one is given up; afterwards resume finishes."""
    proxy = box.proxy()
    box.url = proxy.url
    plan(box)
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--timeout", "4s", "--progress", "json")
    assert run.wait_event("start")
    proxy.rule(lambda method, path: True, "hang")
    run.wait(40)
    assert run.rc in (5, 6), repr(run)
    assert box.versions().get("v1") == 2
    proxy.release()
    end = box.deploy("v2", "--lease-wait=10s", verb="resume", rc=None)
    assert end.rc in (0, 3), repr(end)
    assert box.versions() in ({"v2": 2}, {"v1": 2}) and len(box.containers()) == 2


@pytest.mark.parametrize("call", ["POST /containers/create", "POST /containers/"])
def test_answer_that_is_lost(box, call):
    """The engine did it, the answer never came (once): probed, not repeated blindly; no duplicate, no orphan."""
    proxy = box.proxy()
    box.url = proxy.url
    plan(box)
    box.deploy("v1")
    proxy.rule(call, "lose", times=1)
    run = box.deploy("v2", rc=None)
    assert len(box.containers()) == 2 and len(box.versions()) == 1
    assert run.rc == 0, "what the engine did is found by looking\n" + repr(run)
    assert box.versions() == {"v2": 2} and len(box.containers()) == 2


def test_connection_cut_before_the_engine_acts(box):
    proxy = box.proxy()
    box.url = proxy.url
    plan(box)
    proxy.rule("POST /containers/", "refuse", times=1)
    run = box.deploy("v1", rc=None)
    assert run.rc in (0, 1), repr(run)
    assert len(box.containers()) == (2 if run.rc == 0 else 0)


def test_engine_that_is_too_old(box):
    proxy = box.proxy()
    box.url = proxy.url
    plan(box)

    def old(head, body):
        lines = [b"Api-Version: 1.24\r\n" if line.lower().startswith(b"api-version:") else line for line in head.splitlines(True)]
        if body.startswith(b"{") and b'"ApiVersion"' in body:
            found = json.loads(body)
            found["ApiVersion"], found["MinAPIVersion"] = "1.24", "1.12"
            body = json.dumps(found).encode()
        return b"".join(lines), body

    proxy.rule(lambda method, path: True, old)
    run = box.turnout("deploy", "--yes", "--progress", "plain")
    assert run.rc == 1 and "1.24" in run.err, repr(run)
    assert proxy.changing() == [] and box.containers() == []
    assert "1.24" in (lambda r: r.out + r.err)(box.turnout("doctor"))


def test_engine_socket_without_rights(box):
    """Permission denied is 4: rights."""
    import os

    path = box.case.dir / "locked.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    os.chmod(path, 0)
    plan(box)
    box.case.dir.chmod(0o755)
    box.url = f"unix://{path}"
    plan(box)
    # As nobody: root may open everything.
    program = box.case.write("asnobody", f"#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {__import__('support').TURNOUT} \"$@\"\n", 0o755)
    (box.case.dir / "state").mkdir()
    os.chown(box.case.dir / "state", 65534, 65534)
    run = box.turnout("deploy", "--yes", "--progress", "plain", program=str(program))
    assert run.rc == 4 and str(path) in run.err, repr(run)
    listener.close()


# ---- S23 S24 S25 --------------------------------------------------------------------------------------------


def test_s23_orphan_of_a_cancelled_start(box):
    """S23: a container of ours that was created and never started: adopted or removed, its name is free again."""
    plan(box)
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event("start")
    wait_for("a container of v2", lambda: [c for c in box.containers() if env_of(c)["VERSION"] == "v2"])
    run.kill()
    run.wait()
    orphan = [c for c in box.containers() if env_of(c)["VERSION"] == "v2"][0]
    if orphan["State"]["Running"]:
        box.engine.post(f"/containers/{orphan['Id']}/kill")
    box.deploy("v2", "--lease-wait=10s")
    assert box.versions() == {"v2": 2} and len(box.containers()) == 2


def test_s24_left_overs_of_an_interrupted_deploy_go(box):
    """S24: the next success stops the stale ones."""
    plan(box)
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event("ready")
    run.kill()
    run.wait()
    box.deploy("v3", "--lease-wait=10s")
    assert box.versions() == {"v3": 2} and len(box.containers()) == 2


def test_s25_a_service_removed_from_the_plan(box):
    """S25: diff shows its containers as to be removed, by their label, and deploy removes them."""
    services = {"web": box.service({"replicas": 1}, balancer=None), "gone": box.service({"replicas": 1}, balancer=None)}
    box.plan(services=services)
    box.deploy("v1")
    web = [c for c in parts(box) if "-web-" in c["name"]]
    del services["gone"]
    box.plan(services=services)
    shown = box.turnout("diff", "--detailed-exitcode")
    assert shown.rc == 2 and "gone" in shown.out and "remove" in shown.out, repr(shown)
    box.deploy("v1")
    assert parts(box) == web


# ---- the engine's ports -------------------------------------------------------------------------------------


def test_tcp_health_does_not_believe_the_engines_proxy(box):
    """docker-proxy accepts before the program listens: a TCP probe on the published port would prove nothing."""
    health = {"http": None, "tcp": True, "port": "http"}
    plan(box, {"rollout": {"healthy_deadline": "2s"}}, health=health)
    box.deploy("v1")
    before = parts(box)
    plan(box, {"rollout": {"healthy_deadline": "2s"}}, health=health, env={"NEVER_LISTEN": "1"})
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=40)
    assert run.rc == 3, repr(run)
    assert parts(box) == before


def test_published_ports_answer_on_loopback_only(box):
    plan(box, replicas=1)
    box.deploy("v1")
    port = port_of(box.running()[0])
    assert versions_served(port, 3) == {"v1"}
    with pytest.raises(OSError):
        socket.create_connection((box.engine.gateway, port), 2).close()
