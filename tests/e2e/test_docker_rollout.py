"""Containers behind a HAProxy: nothing is lost, only what differs is touched, and the engine's own facts agree."""

import json
import re

import pytest
import support
from docker_support import env_of, port_of, stable_part
from support import Haproxy, ask, event_time, haproxy_up, versions_served, wait_for

SLOW = "/slow?ms=300,/slow?ms=1500"


class Edge:
    """The balancer of a test: one that turnout runs as a process, or the user's own."""

    def __init__(self, box, kind):
        self.box, self.kind = box, kind
        if kind == "own":
            self.haproxy = Haproxy(box.case, "shop_web")
            self.port, self.upstream = self.haproxy.port, "shop_web"
            self.balancers = {"edge": self.haproxy.balancer()}
        else:
            self.port, self.balancers = box.managed()
            self.upstream = None

    def plan(self, over=None, **service):
        services = {"web": self.box.service(service, upstream=self.upstream)}
        return self.box.plan(over, services=services, balancers=self.balancers)

    def up(self):
        """host ports that the balancer itself says get new requests."""
        if self.kind == "own":
            rows = self.haproxy.up()
        else:
            rows = haproxy_up(self.box.case.dir / "run/balancers/edge/admin.sock", f"{self.box.app}_web")
        return sorted(int(row.rsplit(":")[-1]) for row in rows)

    def alone(self, version, count=3):
        """Only this version runs, the balancer sends to exactly these containers, nothing else of ours is left."""
        box = self.box
        found = box.containers()
        assert [env_of(c)["VERSION"] for c in found if c["State"]["Running"]] == [version] * count
        assert len(found) == count, [c["Name"] for c in found]
        assert self.up() == box.host_ports()
        assert versions_served(self.port) == {version}
        for container in found:
            assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", container["Name"]
            check_port(container)


def check_port(container):
    """The fixed port, its label and the engine's own binding agree, on loopback."""
    label = json.loads(container["Config"]["Labels"]["turnout.ports"])
    bound = container["HostConfig"]["PortBindings"]["8080/tcp"]
    assert bound == [{"HostIp": "127.0.0.1", "HostPort": str(label["http"])}]
    if container["State"]["Running"]:
        assert container["NetworkSettings"]["Ports"]["8080/tcp"] == bound


@pytest.fixture(params=["managed", "own"])
def edge(box, request):
    return Edge(box, request.param)


@pytest.fixture
def managed(box):
    return Edge(box, "managed")


def check_depth(load, run, kinds=("admit", "drain"), least=50):
    depths = [load.depth_at(event_time(event)) for event in run.events if event["kind"] in kinds]
    assert depths and min(depths) >= least, depths


# ---- the main job -------------------------------------------------------------------------------------------


def test_v2_replaces_v1_under_load(edge, box):
    edge.plan(replicas=2)
    box.deploy("v1")
    edge.alone("v1", 2)
    with box.load(edge.port) as load:
        run = box.deploy("v2")
        edge.alone("v2", 2)
    load.check_nothing_lost("v1", "v2")
    check_depth(load, run)


@pytest.mark.parametrize("unsafe", ["no-drain", "stop-first"])
def test_v2_replaces_v1_twin(managed, box, unsafe):
    managed.plan()
    box.deploy("v1")
    with box.load(managed.port, paths=SLOW, rate=200) as load:
        box.deploy("v2", unsafe=unsafe, rc=None)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def scaled_down(edge, box, load=None, **options):
    edge.plan(replicas=4)
    box.deploy("v1")
    before = box.ids()
    with box.load(edge.port, **(load or {})) as running:
        edge.plan(replicas=2)
        run = box.deploy("v1", **options)
    assert box.ids() < before and len(box.ids()) == 2, "scaling down starts nothing"
    return running, run


def test_scale_down_under_load(managed, box):
    load, run = scaled_down(managed, box)
    managed.alone("v1", 2)
    load.check_nothing_lost("v1")
    check_depth(load, run, kinds=("drain",))


def test_scale_down_twin(managed, box):
    load, _ = scaled_down(managed, box, load={"paths": SLOW, "rate": 200}, unsafe="no-drain")
    assert load.lost > 0, "the twin must lose: " + load.summary()


def rolled_back(edge, box, load=None, **options):
    edge.plan({"rollout": {"max_surge": 3}})
    box.deploy("v1")
    box.deploy("v2")
    with box.load(edge.port, **(load or {})) as running:
        run = box.deploy("v2", verb="rollback", **options)
        edge.alone("v1")
    return running, run


def test_rollback_under_load(managed, box):
    load, run = rolled_back(managed, box)
    load.check_nothing_lost("v2", "v1")
    check_depth(load, run)


def test_rollback_twin(managed, box):
    load, _ = rolled_back(managed, box, load={"paths": SLOW, "rate": 200}, unsafe="no-drain")
    assert load.lost > 0, "the twin must lose: " + load.summary()


def test_recreate(managed, box):
    managed.plan({"rollout": None}, replicas=2, rollout={"strategy": "recreate", "min_healthy_time": "100ms", "healthy_deadline": "10s",
                                                       "progress_deadline": "20s"})
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    while run.running():
        assert set(box.versions()) != {"v1", "v2"}, "recreate: the old ones are gone before the first new one"
    assert run.wait().rc == 0, repr(run)
    managed.alone("v2", 2)


# ---- names, labels, ports, policies -------------------------------------------------------------------------


def test_names_labels_and_ports(managed, box):
    managed.plan()
    run = box.deploy("v1")
    low, high = map(int, box.ports.plan_range().split("-"))
    found = box.containers()
    assert len({port_of(c) for c in found}) == 3
    for number, container in enumerate(found, 1):
        labels = container["Config"]["Labels"]
        revision = labels["turnout.revision"]
        assert re.fullmatch(r"[0-9a-f]{8,64}", revision)
        match = re.fullmatch(rf"/{box.app}-web-([0-9a-f]+)-(\d+)", container["Name"])
        assert match and revision.startswith(match[1]) and int(match[2]) == number, container["Name"]
        assert labels["turnout.app"] == box.app
        assert labels["turnout.service"] == "web" and labels["turnout.cluster"] == "web"
        assert labels["turnout.rollout"] == run.json()["rollout"]
        assert labels.get("turnout.env", "") == ""
        assert low <= port_of(container) <= high
        check_port(container)


def test_a_fixed_host_port_and_bind(box):
    port = box.port()
    recreate = {"strategy": "recreate", "min_healthy_time": "100ms", "healthy_deadline": "10s", "progress_deadline": "20s"}
    box.plan({"rollout": None}, services={"web": box.service({
        "replicas": 1, "ports": [{"name": "http", "container": 8080, "host": port, "bind": "127.0.0.3"}], "rollout": recreate}, balancer=None)})
    box.deploy("v1")
    bound = box.running()[0]["NetworkSettings"]["Ports"]["8080/tcp"]
    assert bound == [{"HostIp": "127.0.0.3", "HostPort": str(port)}]


def test_policy_is_no_until_confirmed_and_again_before_the_drain(managed, box):
    """The engine's own view while a rollout runs: who is not (or no longer) in rotation has policy `no`."""
    managed.plan({"rollout": {"min_healthy_time": "1500ms"}}, replicas=1, restart="always")
    box.deploy("v1")
    assert box.running()[0]["HostConfig"]["RestartPolicy"]["Name"] == "always"
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert run.wait_event("ready")
    policies = {env_of(c)["VERSION"]: c["HostConfig"]["RestartPolicy"]["Name"] for c in box.running()}
    assert policies == {"v1": "always", "v2": "no"}, "the candidate is not confirmed yet"
    assert managed.up() == [port_of(c) for c in box.running() if env_of(c)["VERSION"] == "v1"]
    seen = set()
    while run.running():
        for container in box.running():
            seen.add((env_of(container)["VERSION"], container["HostConfig"]["RestartPolicy"]["Name"]))
    assert run.wait().rc == 0
    assert ("v2", "always") in seen
    assert [c["HostConfig"]["RestartPolicy"]["Name"] for c in box.running()] == ["always"]


# ---- restarts in each phase of a rollout --------------------------------------------------------------------


@pytest.mark.parametrize("phase,how", [("ready", "power-loss"), ("settle", "restart"), ("drain", "power-loss")])
def test_engine_restart_in_a_phase(managed, box, phase, how):
    """Only what should serve comes back, on the same ports; then resume finishes."""
    edge, engine = managed, box.engine
    edge.plan()
    box.deploy("v1")
    slow = []
    if phase == "ready":
        edge.plan({"rollout": {"min_healthy_time": "4s"}})
    if phase == "drain":
        # Requests that hold the drain open, on every old container.
        import threading

        def slow_request():
            try:
                ask(edge.port, "/slow?ms=6000", timeout=20)
            except OSError:
                pass

        edge.plan(expose=[{"balancer": "edge", "path": "/", "port": "http", "drain": "20s"}])
        for _ in range(6):
            slow.append(threading.Thread(target=slow_request, daemon=True))
            slow[-1].start()
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    event = run.wait_event(phase)
    assert event, repr(run)
    if phase == "drain":
        draining = event["instance"]
        wait_for("policy no on the one that drains", lambda: box.engine.inspect(draining)["HostConfig"]["RestartPolicy"]["Name"] == "no", 5)
    run.kill()
    run.wait()
    before = {c["Name"]: c for c in box.running()}
    old = {name for name, c in before.items() if env_of(c)["VERSION"] == "v1"}
    confirmed = {f"/{e['instance']}" for e in run.events if e["kind"] == "admit"} - old
    should = {name for name, c in before.items() if c["HostConfig"]["RestartPolicy"]["Name"] != "no"}
    if phase == "drain":
        assert "/" + draining not in should
    else:
        assert len(old & should) >= 2, "rolling: at most one old one is on its way out"
    assert should - old <= confirmed, "a candidate that no balancer has confirmed would come back"
    if phase == "ready":
        assert should == old
    if how == "restart":
        engine.restart()
    else:
        engine.kill()
        engine.start()
    wait_for("those that serve", lambda: should <= {c["Name"] for c in box.running()}, 10)
    back = {c["Name"]: c for c in box.running()}
    assert set(back) == should, "what should not serve came back"
    for name, container in back.items():
        assert port_of(container) == port_of(before[name]), "the balancer would point at nothing"
        check_port(container)
    edge.plan()
    # A candidate that the restart ended counts as failed: all new or all old, and then forward.
    end = box.deploy("v2", "--lease-wait=10s", verb="resume", rc=None)
    assert end.rc in (0, 3), repr(end)
    edge.alone("v2" if end.rc == 0 else "v1")
    box.deploy("v2")
    edge.alone("v2")


@pytest.mark.parametrize("who", ["candidate", "old"])
def test_docker_restart_of_a_container_while_it_rolls(managed, box, who):
    """Somebody types `docker restart` in the middle: same port, the rollout ends all new."""
    managed.plan({"rollout": {"min_healthy_time": "700ms", "max_failures": 1}})
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    ready = run.wait_event("ready")
    wait_for("a candidate", lambda: ready)
    name = ready["instance"] if who == "candidate" else [c for c in box.running() if env_of(c)["VERSION"] == "v1"][0]["Name"].lstrip("/")
    port = port_of(box.engine.inspect(name))
    box.engine.post(f"/containers/{name}/restart?t=1")
    again = box.engine.inspect(name)
    assert port_of(again) == port
    assert run.wait().rc == 0, repr(run)
    managed.alone("v2")


# ---- only what differs is touched ---------------------------------------------------------------------------


def test_second_deploy_and_diff_at_the_socket(managed, box):
    """No changing call; at most 2 calls an engine and 1 an image, beside the version negotiation."""
    proxy = box.proxy()
    box.url = proxy.url
    managed.plan()
    box.deploy("v1")
    assert proxy.changing(), "the proxy sees what goes through"
    for args in (["diff"], ["diff", "--var", "tag=v2"], ["deploy", "--yes"], ["deploy", "--dry-run", "--yes", "--var", "tag=v2"], ["status"]):
        proxy.forget()
        before = [stable_part(c) for c in box.containers()]
        volumes = box.engine.volumes()
        run = box.turnout(*args)
        assert run.rc == 0, repr(run)
        assert proxy.changing() == [], args
        images = [call for call in proxy.without_ping() if "/images/" in call[1] or "/distribution/" in call[1]]
        others = [call for call in proxy.without_ping() if call not in images]
        assert len(images) <= 1, (args, proxy.calls)
        assert len(others) <= 2, (args, proxy.calls)
        assert len(proxy.calls) - len(proxy.without_ping()) <= 1, (args, proxy.calls)
        assert [stable_part(c) for c in box.containers()] == before and box.engine.volumes() == volumes


def test_more_and_fewer_replicas_replace_nothing(managed, box):
    managed.plan(replicas=2)
    box.deploy("v1")
    two = box.ids()
    managed.plan(replicas=4)
    box.deploy("v1")
    four = box.ids()
    assert two < four and len(four) == 4
    managed.alone("v1", 4)
    managed.plan(replicas=1)
    box.deploy("v1")
    assert box.ids() < four
    managed.alone("v1", 1)


def test_weight_change_restarts_nothing(managed, box):
    expose = {"balancer": "edge", "path": "/", "port": "http", "drain": "5s"}
    managed.plan(expose=[{**expose, "weight": 1}])
    box.deploy("v1")
    before = [stable_part(c) for c in box.containers()]
    managed.plan(expose=[{**expose, "weight": 5}])
    box.deploy("v1")
    assert [stable_part(c) for c in box.containers()] == before
    assert box.turnout("diff", "--detailed-exitcode").rc == 0, "the weight is what the plan says"


def test_crashed_container_is_replaced_by_the_next_deploy(managed, box):
    managed.plan(restart="no")
    box.deploy("v1")
    victim, *others = box.running()
    box.engine.post(f"/containers/{victim['Id']}/kill")
    wait_for("it to be dead", lambda: len(box.running()) == 2)
    assert box.turnout("diff", "--detailed-exitcode").rc == 2
    box.deploy("v1")
    assert {c["Id"] for c in others} < box.ids() and len(box.containers()) == 3


def test_restart_replaces_all(managed, box):
    managed.plan({"rollout": {"max_surge": 3}})
    box.deploy("v1")
    before = box.ids()
    with box.load(managed.port, paths=SLOW, rate=150) as load:
        box.deploy("v1", verb="restart")
    managed.alone("v1")
    assert not before & box.ids()
    load.check_nothing_lost("v1")


def test_three_revisions_converge(managed, box):
    managed.plan(replicas=2)
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--progress", "json", "--var", "tag=v2")
    assert run.wait_event("stop")
    run.kill()
    run.wait()
    assert set(box.versions()) == {"v1", "v2"}
    with box.load(managed.port, paths="/slow?ms=300", rate=150) as load:
        box.deploy("v3", "--lease-wait=10s")
    managed.alone("v3", 2)
    load.check_nothing_lost("v3")


def test_change_set_is_stale_when_a_container_went(managed, box):
    managed.plan()
    box.deploy("v1")
    assert box.turnout("diff", "--var", "tag=v2", "--out", "change.json").rc == 0
    assert box.turnout("diff", "--var", "tag=v3", "--out", "other.json").rc == 0
    assert box.turnout("deploy", "change.json", "--yes").rc == 0
    managed.alone("v2")
    stale = box.turnout("deploy", "other.json", "--yes")
    assert stale.rc == 9, repr(stale)
    managed.alone("v2")


# ---- destroy ------------------------------------------------------------------------------------------------


def test_destroy_leaves_nothing_of_ours_and_everything_of_others(edge, box):
    engine = box.engine
    network = f"{box.app}net"
    engine.network(network, **{"e2e.case": box.app})
    engine.post("/volumes/create", {"Name": f"{box.app}data", "Labels": {"e2e.case": box.app}})
    box.stranger(name=f"{box.app}-web-12345678-1", host={"Binds": [f"{box.app}data:/data"]})
    box.stranger(labels={"turnout.app": box.app, "turnout.env": "staging", "turnout.service": "web", "turnout.cluster": "web", "turnout.revision": "abc"})
    strangers = [stable_part(c) for c in map(engine.inspect, [c["Id"] for c in engine.list(**{"e2e.case": box.app})])]
    networks = set(engine.networks())
    edge.plan(networks={network: {"aliases": ["web"]}}, volumes=[f"{box.app}data:/data"])
    box.deploy("v1")
    assert len(box.running()) == 4
    for _ in range(2):
        run = box.turnout("destroy", "--yes", "--confirm", box.app)
        assert run.rc == 0, repr(run)
        mine = [c for c in engine.get("/containers/json?all=1") if c["Labels"].get("turnout.app") == box.app and "e2e.case" not in c["Labels"]]
        assert mine == []
        assert set(engine.networks()) == networks
        assert box.new_volumes() == [f"{box.app}data"], "documents of ours are left"
        assert [stable_part(c) for c in map(engine.inspect, [s["id"] for s in strangers])] == strangers
    if edge.kind == "own":
        assert not edge.haproxy.owned.exists() or edge.box.app not in edge.haproxy.owned.read_text() or "server " not in edge.haproxy.owned.read_text()
    else:
        assert support.port_is_free(edge.port)
