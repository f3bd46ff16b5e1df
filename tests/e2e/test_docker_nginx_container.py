"""An nginx that runs in a container of the cluster: its file on a mounted folder, test and reload by exec in it."""

import glob
import subprocess

import pytest
from docker_support import copy_program, port_of, stable_part
from support import ask, need, versions_served, wait_for

# nginx asks the next server when one dies before it has answered a GET; an answer that has begun cannot be saved so.
STREAMS = "/,/stream?chunks=40&ms=100"


@pytest.fixture(scope="module")
def nginx_image(engine):
    """The host's nginx with its libraries, busybox for sh and wget."""
    program = need("nginx")
    files = copy_program(program)
    for pattern in ("/lib/x86_64-linux-gnu/libnss_files*", "/lib64/ld-linux-x86-64.so.2"):
        for path in glob.glob(pattern):
            files[path] = path
    files.update({"/bin/busybox": need("busybox"), "/etc/passwd": b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
                  "/etc/group": b"root:x:0:\nnogroup:x:65534:\n"})
    tools = subprocess.run([need("busybox"), "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = {f"/bin/{tool}": "busybox" for tool in tools if tool != "busybox"}
    links["/usr/bin/nginx"] = program
    engine.import_image("e2enginx:1", files, [f'ENTRYPOINT ["{program}"]', 'CMD ["-g", "daemon off;"]', "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"], links)
    return "e2enginx:1"


class Boxed:
    """nginx in a container on a network of the user's: conf.d is a mounted folder, or the owned file is mounted by itself."""

    def __init__(self, box, image, mount="folder", network=True):
        self.box = box
        self.port = box.port()
        self.dir = box.case.dir / "nginx"
        (self.dir / "conf.d").mkdir(parents=True)
        (self.dir / "nginx.conf").write_text(
            "user root;\nworker_processes 2;\npid /tmp/nginx.pid;\nerror_log stderr notice;\nevents { worker_connections 2048; }\n"
            "http {\n    access_log off;\n"
            + "".join(f"    {k}_temp_path /tmp/{k};\n" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + "    include /etc/nginx/conf.d/*.conf;\n"
            "    server {\n        listen 80;\n        location = /mine { return 200 mine; }\n"
            "        location / {\n            set $upstream shop_web;\n            proxy_pass http://$upstream;\n        }\n    }\n}\n")
        self.owned = self.dir / "conf.d/turnout.conf"
        binds = [f"{self.dir}/nginx.conf:/etc/nginx/nginx.conf:ro"]
        if mount == "folder":
            binds.append(f"{self.dir}/conf.d:/etc/nginx/conf.d")
        else:
            self.owned.write_text("")
            binds.append(f"{self.owned}:/etc/nginx/conf.d/turnout.conf")
        self.network = f"{box.app}net"
        box.engine.network(self.network, **{"e2e.case": box.app})
        self.name = f"{box.app}nginx"
        self.id = box.stranger(image, self.name, Cmd=["-e", "stderr", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"], ExposedPorts={"80/tcp": {}}, host={
            "Binds": binds, "NetworkMode": self.network, "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(self.port)}]}})
        wait_for("nginx", lambda: ask(self.port, "/mine")[0] == 200)
        self.before = stable_part(box.engine.inspect(self.id))

    def plan(self, over=None, balancer=None, **service):
        base = {"on": "web", "container": self.name, "file": "/etc/nginx/conf.d/turnout.conf"}
        self.box.plan(over, balancers={"edge": {"nginx": {**base, **(balancer or {})}}},
                      services={"web": self.box.service({"networks": {self.network: {}}, "replicas": 2, **service}, upstream="shop_web")})

    def alone(self, version, count=2):
        box = self.box
        assert box.versions() == {version: count} and len(box.containers()) == count
        text = self.owned.read_text()
        for container in box.containers():
            assert f":{port_of(container)}" in text, text
        assert versions_served(self.port) == {version}
        assert ask(self.port, "/mine")[2] == b"mine", "the user's own server block"
        assert stable_part(box.engine.inspect(self.id)) == self.before, "the balancer's container is the user's"


@pytest.fixture
def boxed(box, nginx_image):
    return Boxed(box, nginx_image)


def fresh_load(boxed, **options):
    """Fresh connections: nothing may be lost on them."""
    return boxed.box.load(boxed.port, fresh=64, keepalive=0, **options)


def test_rolling_under_load(boxed, box):
    boxed.plan()
    box.deploy("v1")
    boxed.alone("v1")
    with fresh_load(boxed) as load:
        box.deploy("v2")
    boxed.alone("v2")
    load.check_nothing_lost("v1", "v2")


def test_rolling_twin(boxed, box):
    boxed.plan(replicas=1)
    box.deploy("v1")
    with fresh_load(boxed, paths=STREAMS, rate=60) as load:
        box.deploy("v2", unsafe="no-drain", rc=None)
    assert load.lost > 0, "the twin must lose: " + load.summary()


def test_clients_that_retry_once_lose_nothing(boxed, box):
    """Kept connections: a request on one that nginx closed at the reload is tried again, and then nothing is lost."""
    boxed.plan()
    box.deploy("v1")
    with box.load(boxed.port, paths="/,/slow?ms=100", rate=200, retry_idle=True) as load:
        box.deploy("v2")
    boxed.alone("v2")
    load.check_nothing_lost("v1", "v2")


def test_upstream_is_a_gateway_and_a_fixed_port(boxed, box):
    """Never a container's address or name: nginx must start although some are gone."""
    boxed.plan()
    box.deploy("v1")
    text = boxed.owned.read_text()
    addresses = {n["IPAddress"] for c in box.containers() for n in c["NetworkSettings"]["Networks"].values()}
    gateways = {n["Gateway"] for n in box.engine.inspect(boxed.id)["NetworkSettings"]["Networks"].values()}
    for address in addresses:
        assert f"{address}:" not in text, text
    assert any(f"{gateway}:{port_of(c)}" in text for gateway in gateways for c in box.containers()), text
    # It starts again by itself, with one instance down.
    box.engine.post(f"/containers/{box.containers()[0]['Id']}/stop?t=1")
    box.engine.post(f"/containers/{boxed.id}/restart?t=1")
    wait_for("nginx to serve again", lambda: ask(boxed.port, "/")[0] == 200, 10)


def test_second_deploy_touches_nothing(boxed, box):
    boxed.plan()
    box.deploy("v1")
    before = boxed.owned.stat().st_ino, boxed.owned.stat().st_mtime_ns
    parts = [stable_part(c) for c in box.containers()]
    for args in (["deploy", "--yes"], ["diff", "--var", "tag=v2"], ["deploy", "--dry-run", "--yes", "--var", "tag=v2"]):
        assert box.turnout(*args).rc == 0
        assert (boxed.owned.stat().st_ino, boxed.owned.stat().st_mtime_ns) == before, args
        assert [stable_part(c) for c in box.containers()] == parts


def test_broken_config_of_the_user_is_found_by_the_test(boxed, box):
    """nginx -t fails: the old file is back byte for byte, v1 serves, nothing new is left."""
    boxed.plan()
    box.deploy("v1")
    before, ids = boxed.owned.read_bytes(), box.ids()
    broken = boxed.dir / "conf.d/broken.conf"
    broken.write_text("upstream nowhere { server 127.0.0.1:1 no_such_option; }\n")
    run = box.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "plain", timeout=60)
    assert run.rc in (1, 3), repr(run)
    assert "no_such_option" in run.err, repr(run)
    assert boxed.owned.read_bytes() == before and box.ids() == ids
    assert versions_served(boxed.port) == {"v1"}
    broken.unlink()
    box.deploy("v2")
    boxed.alone("v2")


def test_a_mounted_single_file_is_refused(box, nginx_image):
    """A mounted file does not see a rename: refused before anything changes, with the mount line to add."""
    boxed = Boxed(box, nginx_image, mount="file")
    boxed.plan()
    run = box.turnout("deploy", "--yes", "--progress", "plain", timeout=60)
    assert run.rc == 1, repr(run)
    assert "/etc/nginx/conf.d" in run.err and "mount" in run.err, repr(run)
    assert box.containers() == [] and boxed.owned.read_text() == ""
    assert f"{boxed.dir}/conf.d:/etc/nginx/conf.d" in run.err or "-v " in run.err or "volumes" in run.err or ":/etc/nginx/conf.d" in run.err, repr(run)


def test_a_container_that_is_not_there(box, nginx_image):
    boxed = Boxed(box, nginx_image)
    boxed.plan(balancer={"container": f"{box.app}nowhere"})
    run = box.turnout("deploy", "--yes", "--progress", "plain", timeout=60)
    assert run.rc == 1 and f"{box.app}nowhere" in run.err, repr(run)
    assert box.containers() == []


def test_destroy_gives_the_file_back(boxed, box):
    boxed.plan()
    box.deploy("v1")
    run = box.turnout("destroy", "--yes", "--confirm", box.app, timeout=60)
    assert run.rc == 0, repr(run)
    assert box.containers() == [] and box.new_volumes() == []
    assert not boxed.owned.exists() or f"{box.app}" not in boxed.owned.read_text()
    assert ask(boxed.port, "/mine")[2] == b"mine"
    assert stable_part(box.engine.inspect(boxed.id)) == boxed.before


def test_killed_between_file_and_reload(boxed, box):
    """S47: turnout dies while it admits; resume compares file, running configuration and plan, and finishes."""
    boxed.plan()
    box.deploy("v1")
    seen = boxed.owned.read_bytes()
    run = box.start("deploy", "--yes", "--var", "tag=v2", "--progress", "json")
    wait_for("the file to change", lambda: boxed.owned.read_bytes() != seen or not run.running(), 20)
    run.kill()
    run.wait()
    assert versions_served(boxed.port) <= {"v1", "v2"}
    end = box.deploy("v2", "--lease-wait=15s", verb="resume", rc=None)
    assert end.rc == 0, repr(end)
    boxed.alone("v2")
