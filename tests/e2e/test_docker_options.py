"""What a plan says of a container, as the engine has it; secrets nowhere but in the container's environment."""

import json

import pytest
from docker_support import env_of, stable_part
from support import wait_for

SECRET = "s3cr3t-Vx81-value"


def one(box, over=None, **service):
    """One replica without a balancer, deployed; its inspect."""
    box.plan(over, services={"web": box.service({"replicas": 1, **service}, balancer=None)})
    box.deploy("v1")
    return box.running()[0]


def test_all_options_reach_the_container(box):
    engine = box.engine
    engine.post("/volumes/create", {"Name": f"{box.app}data", "Labels": {"e2e.case": box.app}})
    (box.case.dir / "conf").mkdir()
    (box.case.dir / "conf/a").write_text("content of a\n")
    (box.case.dir / "more.env").write_text("FROM_FILE=yes\nOVERRIDDEN=file\n# a comment\n\n")
    found = one(
        box, env={"A": "1", "OVERRIDDEN": "plan", "SPACES": "a b  c", "VERSION": "v1"}, env_files=["./more.env"],
        volumes=[f"{box.app}data:/data", "./conf:/conf:ro"], cpu="500m", memory="64Mi", user="1234", working_dir="/tmp", hostname="e2ehost",
        read_only=True, tmpfs=["/scratch"], ulimits={"nofile": {"soft": 512, "hard": 1024}}, cap_drop=["ALL"], cap_add=["NET_BIND_SERVICE"],
        extra_hosts=["db.example:10.1.2.3"], init=True, labels={"team": "e2e"}, restart="on-failure",
        logging={"driver": "json-file", "options": {"max-size": "1m"}}, stop={"signal": "SIGINT", "grace": "3s"})
    config, host, env = found["Config"], found["HostConfig"], env_of(found)
    assert (env["A"], env["OVERRIDDEN"], env["SPACES"], env["FROM_FILE"]) == ("1", "plan", "a b  c", "yes")
    mounts = {m["Destination"]: m for m in found["Mounts"]}
    assert mounts["/data"]["Name"] == f"{box.app}data" and mounts["/data"]["RW"]
    assert mounts["/conf"]["Source"] == str(box.case.dir / "conf") and not mounts["/conf"]["RW"]
    assert host["NanoCpus"] == 500_000_000 and host["Memory"] == 64 << 20
    assert config["User"] == "1234" and config["WorkingDir"] == "/tmp" and config["Hostname"] == "e2ehost"
    assert host["ReadonlyRootfs"] and "/scratch" in host["Tmpfs"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 512, "Hard": 1024}]
    assert host["CapDrop"] == ["ALL"] and host["CapAdd"] in (["NET_BIND_SERVICE"], ["CAP_NET_BIND_SERVICE"])
    assert host["ExtraHosts"] == ["db.example:10.1.2.3"] and host["Init"] is True
    assert config["Labels"]["team"] == "e2e" and host["RestartPolicy"]["Name"] == "on-failure"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    assert config["StopSignal"] == "SIGINT"
    # … and as the program sees it.
    name = found["Id"]
    assert engine.exec(name, "/bin/cat", "/conf/a") == (0, "content of a\r\n")
    assert engine.exec(name, "/bin/id", "-u")[1].strip() == "1234"
    assert engine.exec(name, "/bin/touch", "/bin/x")[0] != 0 and engine.exec(name, "/bin/touch", "/scratch/x")[0] == 0
    assert "10.1.2.3" in engine.exec(name, "/bin/cat", "/etc/hosts")[1]


@pytest.mark.parametrize("command,entrypoint", [(["probe", "http://127.0.0.1:1/"], None), (None, ["/testserver", "--port", "8080"])])
def test_command_and_entrypoint(box, command, entrypoint):
    service = {key: value for key, value in (("command", command), ("entrypoint", entrypoint)) if value}
    box.plan({"rollout": {"on_failure": "stop"}}, services={"web": box.service({"replicas": 1, **service}, balancer=None)})
    box.deploy("v1", rc=None)
    found = box.containers()[0]["Config"]
    assert found["Entrypoint"] == (entrypoint or ["/testserver"]) and (found["Cmd"] or []) == (command or [])


def test_platform_is_merged_last(box):
    found = one(box, memory="64Mi", platform={"HostConfig": {"PidsLimit": 55, "Memory": 96 << 20}})
    assert found["HostConfig"]["PidsLimit"] == 55 and found["HostConfig"]["Memory"] == 96 << 20
    assert found["Config"]["Labels"]["turnout.app"] == box.app


def test_a_change_of_an_option_is_shown_and_replaces(box):
    first = one(box, env={"A": "1"}, memory="64Mi")
    box.plan(services={"web": box.service({"replicas": 1, "env": {"A": "2", "B": "3"}, "memory": "80Mi"}, balancer=None)})
    shown = box.turnout("diff", "--detailed-exitcode")
    assert shown.rc == 2 and "memory" in shown.out, repr(shown)
    assert "env.A" in shown.out and "env.B" in shown.out
    box.deploy("v1")
    second = box.running()
    assert len(second) == 1 and second[0]["Id"] != first["Id"] and second[0]["HostConfig"]["Memory"] == 80 << 20
    assert len(box.containers()) == 1


# ---- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_is_nowhere_but_in_the_environment(box):
    (box.case.dir / "db_url").write_text(SECRET + "\n")
    plan = {"secrets": {"db": "file://./db_url", "other": {"from": "env://E2E_OTHER"}}}
    env = {"E2E_OTHER": SECRET + "-other"}
    services = {"web": box.service({"secrets": {"DATABASE_URL": "db", "OTHER": "other"}}, balancer=None)}
    box.plan(plan, services=services)
    runs = [box.turnout("diff", env=env), box.turnout("diff", "-o", "json", env=env), box.deploy("v1", env=env)]
    assert [run.rc for run in runs] == [0, 0, 0], runs
    for found in box.running():
        assert env_of(found)["DATABASE_URL"] == SECRET and env_of(found)["OTHER"] == SECRET + "-other"
        found["Config"].pop("Env")
        assert SECRET not in json.dumps(found), "only the environment holds it"
    before = box.ids()
    runs += [box.deploy("v1", env=env), box.turnout("status", "-o", "json", env=env), box.turnout("show", env=env), box.turnout("history", "-o", "json", env=env),
             box.turnout("events", env=env), box.turnout("config", env=env), box.turnout("diff", "--out", "set.json", env=env)]
    assert box.ids() == before, "an unchanged secret changes nothing"
    # A new value makes new containers, says so without a value, and is not in the name of the revision.
    (box.case.dir / "db_url").write_text(SECRET + "2\n")
    changed = box.turnout("diff", "--detailed-exitcode", env=env)
    assert changed.rc == 2 and "db" in changed.out and "changed" in changed.out, repr(changed)
    runs += [changed, box.deploy("v1", env=env)]
    assert not box.ids() & before and {env_of(c)["DATABASE_URL"] for c in box.running()} == {SECRET + "2"}
    for run in runs:
        assert SECRET not in run.out + run.err, run.argv
    for path in box.case.dir.rglob("*"):
        if path.is_file() and path.name != "db_url":
            assert SECRET.encode() not in path.read_bytes(), path
    for volume in box.engine.volumes().values():
        assert SECRET not in json.dumps(volume)


def test_a_missing_secret_changes_nothing(box):
    box.plan({"secrets": {"db": "file://./nowhere"}}, services={"web": box.service({"secrets": {"DATABASE_URL": "db"}}, balancer=None)})
    run = box.deploy("v1", rc=None)
    assert run.rc == 1 and "nowhere" in run.err, repr(run)
    assert box.containers() == [] and box.new_volumes() == []


# ---- health -------------------------------------------------------------------------------------------------

CHECK = '--interval=100ms --timeout=1s --retries=2 {}CMD ["/testserver", "probe", "http://127.0.0.1:8080/healthz"]'


def test_native_health(box):
    """The image's own check decides: healthy is awaited, unhealthy fails the rollout."""
    box.engine.image("tshc:v1", health=CHECK.format(""))
    box.engine.image("tshc:v2", health=CHECK.format("--start-period=5s "), env={"HEALTH_DELAY_MS": "700"})
    box.engine.image("tshc:v3", health=CHECK.format(""), env={"HEALTH_STATUS": "500"})
    health = {"http": None, "port": None, "interval": None, "timeout": None, "healthy_after": None, "native": True}

    def plan():
        box.plan({"rollout": {"healthy_deadline": "6s"}}, services={"web": box.service({"image": "tshc:${tag}", "replicas": 1, "health": health}, balancer=None)})

    plan()
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event("ready")
    states = {env_of(c)["VERSION"]: c["State"]["Health"]["Status"] for c in box.running()}
    assert states == {"v1": "healthy", "v2": "healthy"}
    assert run.wait().rc == 0
    bad = box.turnout("deploy", "--yes", "--var", "tag=v3", "--progress", "plain")
    assert bad.rc == 3 and "unhealthy" in bad.err, repr(bad)
    assert box.versions() == {"v2": 1} and len(box.containers()) == 1


def test_cmd_health_runs_in_the_container(box):
    health = {"http": None, "port": None, "cmd": ["/bin/cat", "/tmp/ready"]}
    box.plan({"rollout": {"healthy_deadline": "10s"}}, services={"web": box.service({"replicas": 1, "health": health}, balancer=None)})
    run = box.start("deploy", "--yes", "--progress", "json")
    container = wait_for("the container", box.running)[0]
    assert "ready" not in run.kinds()
    box.engine.exec(container["Id"], "/bin/touch", "/tmp/ready")
    assert run.wait().rc == 0, repr(run)


# ---- networks -----------------------------------------------------------------------------------------------


def found_by(box, client, name):
    """The addresses that the engine's own name service gives for a name on the client's network."""
    _, out = box.engine.exec(client, "/bin/nslookup", name, "127.0.0.11")
    return sorted(line.split()[-1] for line in out.partition("Name:")[2].splitlines() if line.startswith("Address"))


def addresses(box, network, version):
    return sorted(c["NetworkSettings"]["Networks"][network]["IPAddress"] for c in box.running() if env_of(c)["VERSION"] == version)


def test_alias_only_after_ready(box):
    """A candidate joins the alias when it is ready, not before; the diff says that such traffic is not drained."""
    network = f"{box.app}net"
    box.engine.network(network, **{"e2e.case": box.app})
    client = box.stranger(host={"NetworkMode": network})
    service = {"replicas": 1, "networks": {network: {"aliases": ["backend"]}}}
    box.plan({"rollout": {"min_healthy_time": "1s"}}, services={"web": box.service(service, balancer=None)})
    box.deploy("v1")
    assert found_by(box, client, "backend") == addresses(box, network, "v1") != []
    shown = box.turnout("diff", "--var", "tag=v2")
    assert "alias 'backend'" in shown.out and ("lost" in shown.out or "not drained" in shown.out), repr(shown)
    box.plan({"rollout": {"min_healthy_time": "1s"}}, services={"web": box.service({**service, "env": {"HEALTH_DELAY_MS": "1000"}}, balancer=None)})
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    wait_for("the candidate", lambda: box.versions().get("v2") == 1)
    candidate = [c for c in box.running() if env_of(c)["VERSION"] == "v2"][0]
    aliases = (candidate["NetworkSettings"]["Networks"].get(network) or {}).get("Aliases") or []
    assert "ready" not in run.kinds() and "backend" not in aliases, "an unready one must not be found by the alias"
    assert run.wait().rc == 0, repr(run)
    assert "backend" in box.running()[0]["NetworkSettings"]["Networks"][network]["Aliases"]
    assert found_by(box, client, "backend") == addresses(box, network, "v2") != []
    before = [stable_part(c) for c in box.containers()]
    box.deploy("v2")
    assert [stable_part(c) for c in box.containers()] == before


def test_several_networks(box):
    names = [f"{box.app}net{i}" for i in (1, 2)]
    for name in names:
        box.engine.network(name, **{"e2e.case": box.app})
    found = one(box, networks={names[0]: {"aliases": ["a"]}, names[1]: {}})
    networks = found["NetworkSettings"]["Networks"]
    assert set(networks) == set(names) and "a" in networks[names[0]]["Aliases"]


def test_a_network_that_is_not_there_is_made_and_goes_with_destroy(box):
    name = f"{box.app}made"
    box.plan(services={"web": box.service({"replicas": 1, "networks": {name: {}}}, balancer=None)})
    box.deploy("v1")
    assert box.engine.networks()[name]["Labels"]["turnout.app"] == box.app
    box.deploy("v2")
    assert name in box.engine.networks()
    assert box.turnout("destroy", "--yes", "--confirm", box.app).rc == 0
    assert name not in box.engine.networks()


def test_depends_on(box):
    services = {"web": box.service({"depends_on": ["db"], "replicas": 1}, balancer=None),
                "db": box.service({"replicas": 1, "env": {"LISTEN_DELAY_MS": "400"}}, balancer=None)}
    box.plan(services=services)
    run = box.deploy("v1")
    order = [(e["kind"], e["service"]) for e in run.events if e["kind"] in ("start", "placed")]
    assert order.index(("placed", "db")) < order.index(("start", "web")), order


# ---- logs, exec, status, hooks ------------------------------------------------------------------------------


def test_logs_exec_status(box):
    box.plan(services={"web": box.service({"replicas": 2}, balancer=None)})
    box.deploy("v1")
    names = [c["Name"].lstrip("/") for c in box.running()]
    logs = box.turnout("logs", "web")
    assert logs.rc == 0 and logs.out.count("listening on 8080 version v1") == 2 and all(name in logs.out for name in names), repr(logs)
    only = box.turnout("logs", "web", "-i", names[1])
    assert names[0] not in only.out and "listening" in only.out
    ran = box.turnout("exec", "web", "-i", names[0], "--", "/bin/sh", "-c", "echo in $HOSTNAME; exit 7")
    assert ran.rc == 7 and "in " in ran.out, repr(ran)
    status = box.turnout("status", "-o", "json").json()
    placement = status["placements"][0]
    assert placement["serving"] == 2 and sorted(i["name"] for i in placement["instances"]) == names


def test_logs_follow_from_several_containers(box):
    box.plan(services={"web": box.service({"replicas": 2, "env": {"LOG_REQUESTS": "1"}}, balancer=None)})
    box.deploy("v1")
    run = box.start("logs", "web", "--follow")
    from support import ask

    for index, port in enumerate(box.host_ports()):
        ask(port, f"/path{index}")
    wait_for("both lines", lambda: "/path0" in run.out and "/path1" in run.out, 10)
    run.kill(2)
    run.wait(10)


def test_container_hooks_run_once(box):
    """where: container = in a container of the new revision, once, gone afterwards; a failing pre_deploy changes nothing."""
    (box.case.dir / "out").mkdir()

    def hooks(code=0, **more):
        return {"pre_deploy": [{"run": ["/testserver", "hook", "/out/log", "pre", str(code)], "where": "container", "once": True, "timeout": "10s", **more}],
                "post_deploy": [{"run": ["/testserver", "hook", "/out/log", "post"], "where": "container", "once": True, "timeout": "10s"}]}

    def plan(**options):
        box.plan(services={"web": box.service({"replicas": 2, "volumes": ["./out:/out"], "entrypoint": ["/testserver"], "hooks": hooks(**options)}, balancer=None)})

    plan()
    box.deploy("v1")
    log = box.case.dir / "out/log"
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["pre", "post"], log.read_text()
    assert len(box.containers()) == 2, "the hooks' containers are gone"
    plan(code=4)
    before = [stable_part(c) for c in box.containers()]
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain")
    assert run.rc in (1, 3) and "pre_deploy" in run.err, repr(run)
    assert [stable_part(c) for c in box.containers()] == before
