"""Several engines in one cluster, an engine behind TLS, two clusters."""

import contextlib
import socket
import ssl
import subprocess
import threading

import pytest
from docker_support import DockerCase, Engine, stable_part
from support import Haproxy, need


class Front:
    """A TCP address in front of an engine's socket; with certificates it speaks mutual TLS, as dockerd --tlsverify does."""

    def __init__(self, address, target, certificates=None):
        self.target, self.context = str(target), None
        if certificates:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
            self.context.load_verify_locations(certificates / "ca.pem")
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(address)
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
        except OSError:
            client.close()
            return
        self.open += [client, server]
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65536):
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def second(engine):
    """Another engine of ours: another host."""
    made = Engine()
    try:
        # The same images, by id: an import of the same files would be another image.
        names = "&".join(f"names=ts:{tag}" for tag in ("v1", "v2", "v3"))
        status, archive = engine.raw("GET", f"/v1.41/images/get?{names}")
        assert status == 200
        made.post("/images/load?quiet=1", archive, kind="application/x-tar")
        yield made
    finally:
        made.close()


@pytest.fixture
def pair(box, second):
    """The case, with a look at both engines. The second one is another machine: tcp on an address of its own."""
    other = DockerCase(box.case, second)
    behind(box, other, second.sock)
    yield box, other
    other.close()


def behind(box, other, sock):
    """Puts other's engine, or a proxy of it, behind 127.0.0.2."""
    port = box.port()
    front = Front(("127.0.0.2", port), sock)
    box.closers.append(front.close)
    other.url = f"tcp://127.0.0.2:{port}"
    return front


def write(box, other, over=None, balancers=None, replicas=4, **service):
    upstream = "shop_web" if balancers else None
    box.plan(over, hosts=[box.url, other.url], balancers=balancers,
             services={"web": box.service({"replicas": replicas, **service}, balancer="edge" if balancers else None, upstream=upstream)})


def counts(*boxes):
    return [box.versions() for box in boxes]


def test_spread_evenly_and_rolled_under_load(pair):
    """1 + 1, rolled behind one HAProxy with nothing lost."""
    box, other = pair
    haproxy = Haproxy(box.case, "shop_web")
    write(box, other, balancers={"edge": haproxy.balancer()}, replicas=2)
    box.deploy("v1")
    assert counts(box, other) == [{"v1": 1}, {"v1": 1}]
    assert {c["HostConfig"]["PortBindings"]["8080/tcp"][0]["HostIp"] for c in other.containers()} == {"127.0.0.2"}
    with box.load(haproxy.port) as load:
        box.deploy("v2")
    assert counts(box, other) == [{"v2": 1}, {"v2": 1}]
    assert len(box.containers()) == len(other.containers()) == 1
    wanted = [f"127.0.0.{n}:{port}" for n, b in ((1, box), (2, other)) for port in b.host_ports()]
    assert haproxy.up() == sorted(wanted)
    load.check_nothing_lost("v1", "v2")


def test_two_engines_on_one_address(pair):
    """Both pick from one range on one address: what the engine says is taken is passed over."""
    box, other = pair
    other.url = other.engine.url
    write(box, other)
    box.deploy("v1")
    assert counts(box, other) == [{"v1": 2}, {"v1": 2}]
    assert len(set(box.host_ports() + other.host_ports())) == 4


def test_odd_numbers_and_changes_of_size(pair):
    box, other = pair
    write(box, other, replicas=3)
    box.deploy("v1")
    assert sorted(c["v1"] for c in counts(box, other)) == [1, 2]
    before = box.ids() | other.ids()
    write(box, other, replicas=6)
    box.deploy("v1")
    assert counts(box, other) == [{"v1": 3}, {"v1": 3}] and before < box.ids() | other.ids()
    write(box, other, replicas=2)
    box.deploy("v1")
    assert counts(box, other) == [{"v1": 1}, {"v1": 1}]


@pytest.mark.parametrize("how", ["gone", "hangs"])
def test_one_engine_that_does_not_answer(pair, how):
    """Unknown is not absent: refused by the host's name, the other engine is not touched, nothing is started in its place."""
    box, other = pair
    proxy = box.proxy(other.engine)
    front = behind(box, other, proxy.path)
    write(box, other)
    box.deploy("v1")
    before = [[stable_part(c) for c in b.containers()] for b in pair]
    if how == "gone":
        front.close()
    else:
        proxy.rule(lambda method, path: True, "hang")
    limit = [] if how == "gone" else ["--timeout", "2s"]
    for args in (["deploy", "--yes", "--var", "tag=v2"], ["deploy", "--yes"], ["destroy", "--yes", "--confirm", box.app]):
        run = box.turnout(*args, *limit, timeout=60)
        assert run.rc == (1 if how == "gone" else run.rc) and run.rc in (1, 6), repr(run)
        if how == "gone":
            assert other.url.partition("//")[2] in run.err, repr(run)
    proxy.clear()
    assert [[stable_part(c) for c in b.containers()] for b in pair] == before


def test_engine_lost_in_the_middle(pair):
    """One engine dies during the rollout: not success, old ones elsewhere are not given up; resume when it is back."""
    box, other = pair
    proxy = box.proxy(other.engine)
    behind(box, other, proxy.path)
    write(box, other, {"rollout": {"progress_deadline": "12s"}})
    box.deploy("v1")
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--timeout", "4s", "--progress", "json")
    assert run.wait_event("start")
    proxy.rule(lambda method, path: True, "refuse")
    run.wait(60)
    assert run.rc in (5, 6, 7), "7: the lease on the lost engine could not be renewed\n" + repr(run)
    serving = sum(sum(c.values()) for c in counts(box, other))
    assert serving >= 4, "never below max_unavailable, counted on both engines"
    proxy.clear()
    end = box.deploy("v2", "--lease-wait=15s", verb="resume", rc=None)
    assert end.rc in (0, 3), repr(end)
    version = "v2" if end.rc == 0 else "v1"
    assert counts(box, other) == [{version: 2}, {version: 2}]
    assert len(box.containers()) == len(other.containers()) == 2


def test_lease_is_on_every_engine(pair):
    """Another operator whose plan names only the second engine meets the same lease."""
    box, other = pair
    write(box, other, {"rollout": {"min_healthy_time": "1500ms"}}, replicas=2)
    box.deploy("v1")
    first = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    assert first.wait_event("start")
    for target in pair:
        assert [v for v in target.new_volumes() if "lease" in v and not v.endswith("-free")], "no lease on one of the engines"
    box.plan(services={"web": box.service({"replicas": 1}, balancer=None)}, url=other.url, name="only.yaml")
    second = box.deploy("v3", "-f", "only.yaml", rc=None, state="other")
    assert second.rc == 7, repr(second)
    assert first.wait().rc == 0, repr(first)


def test_destroy_on_all_engines(pair):
    box, other = pair
    write(box, other, replicas=2)
    box.deploy("v1")
    assert box.turnout("destroy", "--yes", "--confirm", box.app).rc == 0
    assert box.containers() == other.containers() == []
    assert box.new_volumes() == []
    assert [v for v in other.engine.volumes() if v.startswith("turnout-")] == []


def test_diff_calls_per_engine(pair):
    """2 calls an engine and 1 an image, on each of several engines; none of them changes anything."""
    box, other = pair
    proxies = [box.proxy(b.engine) for b in pair]
    box.url = proxies[0].url
    behind(box, other, proxies[1].path)
    write(box, other)
    box.deploy("v1")
    for args in (["diff", "--var", "tag=v2"], ["deploy", "--yes"]):
        for proxy in proxies:
            proxy.forget()
        assert box.turnout(*args).rc == 0
        images = [c for p in proxies for c in p.calls if "/images/" in c[1] or "/distribution/" in c[1]]
        for proxy in proxies:
            others = [c for c in proxy.without_ping() if c not in images]
            assert proxy.changing() == [] and len(others) <= 2, (args, proxy.calls)
        assert len(images) <= 2, (args, images)


def test_two_clusters(pair):
    """One service on two clusters: one after another, each complete before the next."""
    box, other = pair
    box.plan({"clusters": {"web": {"docker": {"host": box.url}}, "far": {"docker": {"host": other.url}}}},
             services={"web": box.service({"clusters": ["web", "far"], "replicas": 2}, balancer=None)})
    box.deploy("v1")
    assert counts(box, other) == [{"v1": 2}, {"v1": 2}]
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    while run.running():
        here, there = counts(box, other)
        assert "v2" not in there or "v1" not in here or set(here) == {"v2"}, (here, there)
    assert run.wait().rc == 0, repr(run)
    assert counts(box, other) == [{"v2": 2}, {"v2": 2}]
    assert {c["Config"]["Labels"]["turnout.cluster"] for c in box.containers() + other.containers()} == {"web", "far"}


# ---- TLS ----------------------------------------------------------------------------------------------------


def certificates(folder):
    """A little authority, the engine's certificate for 127.0.0.1, a client's; and another client's that nobody signed."""
    openssl = need("openssl")

    def run(*args):
        subprocess.run([openssl, *args], cwd=folder, check=True, capture_output=True)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=e2e")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"), ("client", "extendedKeyUsage=clientAuth\n")):
        (folder / f"{name}.ext").write_text(extension)
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")
    for target, key, cert in (("good", "client-key.pem", "client.pem"), ("bad", "self-key.pem", "self.pem")):
        if target == "bad":
            run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=self")
        made = folder / target
        made.mkdir()
        for source, name in (("ca.pem", "ca.pem"), (key, "key.pem"), (cert, "cert.pem")):
            (made / name).write_bytes((folder / source).read_bytes())


def test_engine_behind_tls(box):
    folder = box.case.dir
    certificates(folder)
    port = box.port()
    box.closers.append(Front(("127.0.0.1", port), box.engine.sock, folder).close)
    box.url = f"tcp://127.0.0.1:{port}"
    services = {"web": box.service({"replicas": 1}, balancer=None)}
    box.plan(services=services, docker={"tls": "./good"})
    box.deploy("v1")
    assert box.versions() == {"v1": 1}
    before = [stable_part(c) for c in box.containers()]
    box.plan(services=services, docker={"tls": "./bad"})
    run = box.turnout("deploy", "--yes", "--var", "tag=v2")
    assert run.rc in (1, 4) and f"127.0.0.1:{port}" in run.err, repr(run)
    # Another authority: the engine's certificate is not believed.
    (folder / "good/ca.pem").write_bytes((folder / "bad/cert.pem").read_bytes())
    box.plan(services=services, docker={"tls": "./good"})
    run = box.turnout("deploy", "--yes", "--var", "tag=v2")
    assert run.rc in (1, 4) and "certificate" in run.err.lower(), repr(run)
    assert [stable_part(c) for c in box.containers()] == before
