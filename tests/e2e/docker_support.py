"""Docker for the end-to-end tests: private engines, images made of the test server, a registry, a proxy at the socket.

An Engine is a dockerd of ours with its own data, sockets, bridge and range of addresses, in its own mount namespace, so
that its mounts go when it goes. It never touches the machine's iptables: published ports on loopback need none. What a
killed test run left is ended by the next one: engines by their folder in the command line, containers by the mounts
that they live in, bridges by their names.
"""

import base64
import contextlib
import fcntl
import http.client
import io
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
import time
import urllib.parse

import pytest
import support
from support import need, wait_for

ROOT = support.ROOT
PREFIX = "turnout."


# ---- the engine's API, spoken by ourselves ------------------------------------------------------------------


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30.0):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class ApiError(OSError):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


def query(**values):
    return urllib.parse.urlencode({k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in values.items()})


class Api:
    """Calls to one engine, for the test's own looks at the world."""

    def __init__(self, sock):
        self.sock = str(sock)

    def raw(self, method, path, body=None, kind="application/json", headers=None, timeout=30.0):
        connection = UnixConnection(self.sock, timeout)
        try:
            connection.request(method, path, body, {"Content-Type": kind, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method, path, body=None, ok=(200, 201, 204, 304), **options):
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        status, answer = self.raw(method, "/v1.41" + path, data, **options)
        if status not in ok:
            raise ApiError(status, answer.decode("utf-8", "replace"))
        return json.loads(answer) if answer.startswith((b"{", b"[")) and b"\n{" not in answer else answer

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def delete(self, path):
        return self.call("DELETE", path, ok=(200, 204, 404))

    # containers

    def list(self, **labels):
        """All containers that carry these labels ('' = any value), running or not."""
        wanted = [f"{k}={v}" if v != "" else k for k, v in labels.items()]
        return self.get("/containers/json?" + query(all=1, filters={"label": wanted}))

    def inspect(self, name):
        return self.get(f"/containers/{name}/json")

    def run(self, image, name=None, labels=None, start=True, host=None, **config):
        """A container of the test's own: a stranger to turnout."""
        body = {"Image": image, "Labels": labels or {}, "HostConfig": host or {}, **config}
        made = self.post("/containers/create" + (f"?name={name}" if name else ""), body)
        if start:
            self.post(f"/containers/{made['Id']}/start")
        return made["Id"]

    def remove(self, name):
        self.delete(f"/containers/{name}?v=1&force=1")

    def exec(self, name, *argv):
        """Runs a command in a container: (exit code, output)."""
        made = self.post(f"/containers/{name}/exec", {"AttachStdout": True, "AttachStderr": True, "Tty": True, "Cmd": list(argv)})
        _, out = self.raw("POST", f"/v1.41/exec/{made['Id']}/start", json.dumps({"Detach": False, "Tty": True}).encode())
        return self.get(f"/exec/{made['Id']}/json")["ExitCode"], out.decode("utf-8", "replace")

    def volumes(self):
        return {v["Name"]: v for v in self.get("/volumes")["Volumes"] or []}

    def networks(self):
        return {n["Name"]: n for n in self.get("/networks")}

    def images(self):
        return {tag for image in self.get("/images/json") for tag in image["RepoTags"] or []}


# ---- private engines ----------------------------------------------------------------------------------------


def ip(*args, check=False):
    return subprocess.run([need("ip"), *args], capture_output=True, text=True, check=check).stdout


def foreign_mounts(folder):
    """Processes that live in another mount namespace and have mounts of the folder: its containers."""
    mine, found = os.readlink("/proc/self/ns/mnt"), []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(f"/proc/{name}/ns/mnt") != mine and str(folder) in pathlib.Path(f"/proc/{name}/mountinfo").read_text():
                proc = support.Proc(name)
                found.append((proc.pid, proc.started))
    return found


def end_engine(folder):
    """Ends whatever is left of an engine's folder, its bridges too, and removes it."""
    support.end_all_of(folder)
    for _ in range(20):
        left = foreign_mounts(folder)
        if not left:
            break
        for pid, started in left:
            support.kill_exactly(pid, started)
        time.sleep(0.02)
    with contextlib.suppress(OSError):
        prefix = (folder / "bridge").read_text()
        for line in ip("-br", "link", "show", "type", "bridge").splitlines():
            name = line.split()[0]
            if name.startswith(prefix):
                ip("link", "del", name)
    shutil.rmtree(folder, ignore_errors=True)


def clean_left_engines():
    for folder in ROOT.glob("docker-*"):
        try:
            pid, started = map(int, (folder / "owner").read_text().split())
            if support.Proc(pid).started == started:
                continue
        except FileNotFoundError:
            if not (folder / "owner").exists():
                continue
        except (OSError, ValueError):
            pass
        end_engine(folder)


class AddressBlock:
    """10.N.0.0/16 that no interface and no other test run uses."""

    def __init__(self):
        (ROOT / "nets").mkdir(exist_ok=True)
        numbers = list(range(130, 250))
        random.SystemRandom().shuffle(numbers)
        used = ip("-4", "-br", "addr") + ip("-4", "route")
        for number in numbers:
            self.file = open(ROOT / "nets" / str(number), "w")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.file.close()
                continue
            if f"10.{number}." not in used:
                self.number = number
                return
            self.file.close()
        raise AssertionError("no free range of addresses")


class Engine(Api):
    """A dockerd of ours. stop() and start() keep its data; kill() is the machine losing power."""

    def __init__(self, tls=False):
        need("dockerd"), need("containerd"), need("unshare")
        if os.geteuid() != 0:
            pytest.skip("dockerd needs root")
        mark = f"{random.SystemRandom().randrange(1 << 32):08x}"
        self.folder = ROOT / f"docker-{mark}"
        self.folder.mkdir()
        me = support.Proc(os.getpid())
        (self.folder / "owner").write_text(f"{me.pid} {me.started}")
        self.bridge = "tt" + mark[:6]
        (self.folder / "bridge").write_text(self.bridge)
        super().__init__(self.folder / "docker.sock")
        self.addresses = AddressBlock()
        self.gateway = f"10.{self.addresses.number}.255.1"
        ip("link", "add", self.bridge, "type", "bridge", check=True)
        ip("addr", "add", f"{self.gateway}/24", "dev", self.bridge, check=True)
        ip("link", "set", self.bridge, "up", check=True)
        self.made_networks = 0
        self.tls_port = None
        self.argv = [need("unshare"), "--mount", need("dockerd"), "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
                     "--pidfile", f"{self.folder}/pid", "-H", f"unix://{self.sock}", "--bridge", self.bridge, "--iptables=false", "--ip6tables=false",
                     "--default-address-pool", f"base=10.{self.addresses.number}.0.0/17,size=24", "--config-file", f"{self.folder}/none.json"]
        (self.folder / "none.json").write_text("{}")
        self.proc = None
        self.start()

    @property
    def url(self):
        return f"unix://{self.sock}"

    def start(self):
        env = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "HOME": str(self.folder)}
        with open(self.folder / "log", "ab") as log:
            self.proc = subprocess.Popen(self.argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_for("dockerd", self._up, 30)

    def answers(self):
        try:
            return self.raw("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def _up(self):
        assert self.proc.poll() is None, "dockerd ended: " + (self.folder / "log").read_text()[-2000:]
        return self.answers()

    def stop(self):
        self.proc.terminate()
        try:
            self.proc.wait(30)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()

    def kill(self):
        """Power loss: engine, shims and containers die at once."""
        self.proc.kill()
        self.proc.wait()
        for _ in range(50):
            left = [(p.pid, p.started) for p in support.processes() if p.mentions(str(self.folder))] + foreign_mounts(self.folder)
            if not left:
                break
            for pid, started in left:
                support.kill_exactly(pid, started)
            time.sleep(0.01)
        # What a machine keeps in memory is gone after it: sockets, pids, states of containers.
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        for name in ("docker.sock", "pid"):
            (self.folder / name).unlink(missing_ok=True)

    def restart(self):
        self.stop()
        self.start()

    def network(self, name, **labels):
        """A user-defined network whose bridge we find again."""
        self.made_networks += 1
        return self.post("/networks/create", {"Name": name, "Labels": labels, "Options": {
            "com.docker.network.bridge.name": f"{self.bridge}n{self.made_networks}"}})["Id"]

    # images

    def import_image(self, name, files, changes, links=None):
        """files: {path in the image: local path or bytes}; an image of one layer."""
        repo, _, tag = name.rpartition(":")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("bin", 0o755), ("data", 0o777)):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, mode
                tar.addfile(entry)
            for path, source in files.items():
                data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(data), 0o755
                tar.addfile(entry, io.BytesIO(data))
            for path, target in (links or {}).items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
        parts = [("fromSrc", "-"), ("repo", repo), ("tag", tag)] + [("changes", c) for c in changes]
        answer = self.post("/images/create?" + urllib.parse.urlencode(parts), out.getvalue(), kind="application/x-tar")
        assert b"errorDetail" not in (answer if isinstance(answer, bytes) else b""), answer

    def image(self, name, version=None, env=None, health=None, changes=()):
        """The test server as an image; VERSION is the tag unless said. health: a HEALTHCHECK's text."""
        version = version or name.rpartition(":")[2]
        lines = [f"ENV VERSION={version}"] + [f"ENV {k}={v}" for k, v in (env or {}).items()]
        lines += ['ENTRYPOINT ["/testserver"]', "EXPOSE 8080"] + ([f"HEALTHCHECK {health}"] if health else []) + list(changes)
        box = need("busybox")
        links = {f"/bin/{tool}": "busybox" for tool in ("sh", "cat", "wget", "nslookup", "id", "true", "false", "sleep", "touch", "ls", "ps", "kill", "tail")}
        self.import_image(name, {"/testserver": support.TESTSERVER, "/bin/busybox": box,
                                 "/etc/passwd": b"root:x:0:0::/:/bin/sh\napp:x:1234:1234::/:/bin/sh\n"}, lines, links)
        return name

    def wipe(self, app):
        """Removes what a case left: by turnout's label, by the case's own label."""
        for label in (f"turnout.app={app}", f"e2e.case={app}"):
            for found in self.get("/containers/json?" + query(all=1, filters={"label": [label]})):
                with contextlib.suppress(OSError):
                    self.remove(found["Id"])
            for name, found in self.networks().items():
                key, _, value = label.partition("=")
                if (found["Labels"] or {}).get(key) == value:
                    with contextlib.suppress(OSError):
                        self.delete(f"/networks/{found['Id']}")
            for name, found in self.volumes().items():
                key, _, value = label.partition("=")
                if (found["Labels"] or {}).get(key) == value:
                    with contextlib.suppress(OSError):
                        self.delete(f"/volumes/{name}?force=1")

    def close(self):
        with contextlib.suppress(Exception):
            if self.proc.poll() is None:
                for found in self.get("/containers/json?all=1"):
                    self.remove(found["Id"])
                for name, found in self.networks().items():
                    if name not in ("bridge", "host", "none"):
                        self.delete(f"/networks/{found['Id']}")
                self.stop()
        end_engine(self.folder)
        self.addresses.file.close()


# ---- a proxy in front of the socket -------------------------------------------------------------------------


class Proxy:
    """A unix socket in front of an engine's: records every request, and makes the faults that a test asks for.

    rule(match, act, times): `match` is a function of (method, path without version and query) or text "METHOD prefix";
    act: "refuse" closes before the engine sees the request, "lose" lets the engine act and closes without the answer,
    "hang" answers nothing until release(), or a function (status line and headers, body) → the same, rewritten.
    Streams are passed on piece by piece unless a function rewrites them.
    """

    def __init__(self, target, path):
        self.target, self.path = str(target), str(path)
        self.calls, self.rules, self.open = [], [], set()
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.down = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"unix://{self.path}"

    def rule(self, match, act, times=1 << 30):
        if isinstance(match, str):
            method, _, prefix = match.partition(" ")
            match = lambda m, p, method=method, prefix=prefix: m == method and p.startswith(prefix)  # noqa: E731
        with self.lock:
            self.rules.append([match, act, times])

    def clear(self):
        with self.lock:
            self.rules.clear()
        self.released.set()
        self.released = threading.Event()

    release = clear

    def forget(self):
        with self.lock:
            self.calls.clear()

    def changing(self):
        """The recorded requests that could change anything."""
        return [call for call in self.calls if call[0] not in ("GET", "HEAD")]

    def without_ping(self):
        return [call for call in self.calls if not call[1].endswith("/_ping")]

    def close(self):
        self.down = True
        self.released.set()
        self.listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # inside

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _find(self, method, path):
        with self.lock:
            self.calls.append((method, path))
            bare = path.partition("?")[0]
            if bare.startswith("/v1."):
                bare = "/" + bare.split("/", 2)[2]
            for rule in self.rules:
                if rule[2] > 0 and rule[0](method, bare):
                    rule[2] -= 1
                    return rule[1]
        return None

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        self.open |= {client, server}
        try:
            server.connect(self.target)
            requests, answers = client.makefile("rb"), server.makefile("rb")
            while self._one(client, server, requests, answers):
                pass
        except (OSError, ValueError):
            pass
        finally:
            self.open -= {client, server}
            for sock in (client, server):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    @staticmethod
    def _head(stream):
        lines = []
        while True:
            line = stream.readline(65536)
            if not line:
                return None, {}
            if line in (b"\r\n", b"\n"):
                break
            lines.append(line)
        fields = {}
        for line in lines[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
        return lines, fields

    @staticmethod
    def _pieces(stream, fields, until_close):
        """The raw pieces of a body, as (raw, payload)."""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size_line = stream.readline(1024)
                size = int(size_line.split(b";")[0], 16)
                data = stream.read(size)
                end = stream.readline(1024)
                yield size_line + data + end, data
                if size == 0:
                    return
        elif "content-length" in fields:
            data = stream.read(int(fields["content-length"]))
            yield data, data
        elif until_close:
            while True:
                data = stream.read1(65536)
                if not data:
                    return
                yield data, data

    def _one(self, client, server, requests, answers):
        lines, fields = self._head(requests)
        if not lines:
            return False
        method, path = lines[0].decode().split()[:2]
        act = self._find(method, path)
        if act == "refuse":
            return False
        body = b"".join(raw for raw, _ in self._pieces(requests, fields, False))
        if act == "hang":
            self.released.wait()
            return False
        server.sendall(b"".join(lines) + b"\r\n" + body)
        lines, fields = self._head(answers)
        if not lines:
            return False
        status = int(lines[0].split()[1])
        bare = method == "HEAD" or status in (204, 304) or status < 200
        keep = "content-length" in fields or fields.get("transfer-encoding") == "chunked" or bare
        if status == 101:
            client.sendall(b"".join(lines) + b"\r\n")
            return self._raw(client, server, answers)
        pieces = () if bare else self._pieces(answers, fields, True)
        if act == "lose":
            for _ in pieces:
                pass
            return False
        if callable(act):
            head, data = act(b"".join(lines), b"".join(payload for _, payload in pieces))
            head = b"".join(line for line in head.splitlines(True) if not line.lower().startswith((b"content-length", b"transfer-encoding")))
            client.sendall(head + (b"" if bare else b"Content-Length: %d\r\n" % len(data)) + b"\r\n" + data)
            return True
        client.sendall(b"".join(lines) + b"\r\n")
        for raw, _ in pieces:
            client.sendall(raw)
        return keep

    @staticmethod
    def _raw(client, server, answers):
        def pump():
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)

        threading.Thread(target=pump, daemon=True).start()
        while data := answers.read1(65536):
            client.sendall(data)
        return False


# ---- a registry ---------------------------------------------------------------------------------------------


class Registry:
    """docker-registry on loopback. With a user it wants a login."""

    def __init__(self, case, user=None, password=None):
        program = need("docker-registry")
        self.port = case.port()
        self.dir = case.dir / f"registry-{self.port}"
        self.dir.mkdir()
        self.server = f"127.0.0.1:{self.port}"
        self.user, self.password = user, password
        auth = ""
        if user:
            (self.dir / "htpasswd").write_text(f"{user}:{bcrypt(password)}\n")
            auth = f"auth:\n  htpasswd:\n    realm: e2e\n    path: {self.dir}/htpasswd\n"
        (self.dir / "config.yml").write_text(
            f"version: 0.1\nlog: {{ level: info }}\nstorage:\n  filesystem: {{ rootdirectory: {self.dir}/data }}\n  delete: {{ enabled: true }}\n"
            f"http: {{ addr: '{self.server}' }}\n{auth}")
        self.log = self.dir / "log"
        self.proc = subprocess.Popen([program, "serve", str(self.dir / "config.yml")], stdout=open(self.log, "wb"), stderr=subprocess.STDOUT)
        case.closers.append(self.proc.kill)
        wait_for("the registry", lambda: not support.port_is_free(self.port))

    def _auth(self):
        values = {"username": self.user or "", "password": self.password or "", "serveraddress": self.server}
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()

    def push(self, engine, image, name, keep=False):
        """Pushes a local image as `name` (repo:tag) of this registry; returns the reference."""
        repo, _, tag = name.rpartition(":")
        full = f"{self.server}/{repo}"
        engine.post(f"/images/{image}/tag?" + query(repo=full, tag=tag))
        answer = engine.post(f"/images/{full}/push?tag={tag}", headers={"X-Registry-Auth": self._auth()})
        assert b"errorDetail" not in answer, answer
        if not keep:
            engine.delete(f"/images/{full}:{tag}?noprune=1")
        return f"{full}:{tag}"


def bcrypt(password):
    """A $2b$ hash by the C library's crypt(3)."""
    import ctypes
    import ctypes.util

    lib = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    lib.crypt.restype = ctypes.c_char_p
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "".join(random.choice(alphabet) for _ in range(21)) + "."
    hashed = lib.crypt(password.encode(), f"$2b$04${salt}".encode())
    assert hashed and hashed.startswith(b"$2"), "crypt(3) knows no bcrypt"
    return hashed.decode()


# ---- a case with an engine ----------------------------------------------------------------------------------


class DockerCase:
    """A Case whose services run on an engine, and a look at that engine from outside."""

    def __init__(self, case, engine, url=None):
        self.case, self.engine = case, engine
        self.url = url or engine.url
        self.strangers = 0
        self.volumes_before = set(engine.volumes())
        self._proxies = []

    def __getattr__(self, name):
        return getattr(self.case, name)

    def service(self, over=None, *, balancer="edge", upstream=None):
        base = {
            "image": "ts:${tag}",
            "clusters": ["web"],
            "replicas": 3,
            "ports": [{"name": "http", "container": 8080}],
            "health": {"http": "/healthz", "port": "http", "interval": "50ms", "timeout": "1s", "healthy_after": 1},
            "stop": {"signal": "SIGTERM", "grace": "100ms"},
        }
        if balancer:
            expose = {"balancer": balancer, "port": "http", "drain": "5s"}
            expose.update({"upstream": upstream} if upstream else {"path": "/"})
            base["expose"] = [expose]
        return support.merged(base, over or {})

    def plan(self, over=None, *, services=None, balancers=None, name="turnout.yaml", url=None, hosts=None, docker=None):
        """As Case.plan, with the docker cluster `web`; without balancers the default service is not exposed."""
        cluster = {"hosts": hosts} if hosts else {"host": url or self.url}
        cluster.update(docker or {})
        clusters = {"web": {"docker": cluster}}
        if services is None:
            services = {"web": self.service(balancer="edge" if balancers else None)}
        return self.case.plan(support.merged({"clusters": clusters}, over or {}), services=services, balancers=balancers, name=name)

    def proxy(self, engine=None):
        """A recording proxy in front of the engine; the plan must name its url."""
        made = Proxy((engine or self.engine).sock, self.case.dir / f"proxy{len(self._proxies)}.sock")
        self._proxies.append(made)
        self.case.closers.append(made.close)
        return made

    # the world, from outside

    def containers(self, engine=None, **labels):
        """inspect of this case's containers, sorted by name."""
        engine = engine or self.engine
        found = []
        for entry in engine.list(**{"turnout.app": self.case.app, **labels}):
            with contextlib.suppress(ApiError):
                found.append(engine.inspect(entry["Id"]))
        return sorted(found, key=lambda c: c["Name"])

    def running(self, engine=None, service="web"):
        return [c for c in self.containers(engine, **({"turnout.service": service} if service else {})) if c["State"]["Running"]]

    def ids(self, **options):
        return {c["Id"] for c in self.running(**options)}

    def versions(self, engine=None, service="web"):
        counts = {}
        for found in self.running(engine, service):
            version = env_of(found).get("VERSION")
            counts[version] = counts.get(version, 0) + 1
        return counts

    def host_ports(self, service="web", engine=None):
        return sorted(port_of(c) for c in self.running(engine, service))

    def stranger(self, image="ts:v1", name=None, labels=None, **options):
        """A container that is none of turnout's business."""
        self.strangers += 1
        name = name or f"{self.case.app}stranger{self.strangers}"
        return self.engine.run(image, name, {"e2e.case": self.case.app, **(labels or {})}, **options)

    def new_volumes(self, engine=None):
        """Volumes made since the case began: turnout's documents (leases, records) and what it left."""
        engine = engine or self.engine
        return sorted(set(engine.volumes()) - (self.volumes_before if engine is self.engine else set()))

    def close(self):
        with contextlib.suppress(OSError):
            if not self.engine.answers():
                self.engine.start()
            self.engine.wipe(self.case.app)
            for name in self.new_volumes():
                self.engine.delete(f"/volumes/{name}?force=1")


def env_of(found):
    return dict(entry.partition("=")[::2] for entry in found["Config"]["Env"])


def port_of(found, port="8080/tcp"):
    """The one host port that a running container has been given for a port, as the engine says."""
    bound = found["NetworkSettings"]["Ports"][port]
    return int(bound[0]["HostPort"])


def stable_part(found):
    """What must not change of a container that nobody may touch."""
    return {
        "id": found["Id"],
        "name": found["Name"],
        "config": found["Config"],
        "host": found["HostConfig"],
        "state": {k: found["State"][k] for k in ("Status", "Pid", "StartedAt", "FinishedAt", "ExitCode")},
        "restarts": found["RestartCount"],
        "networks": {k: (v["NetworkID"], v["Aliases"], v["IPAddress"]) for k, v in found["NetworkSettings"]["Networks"].items()},
    }


# ---- fixtures -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def engine(session):
    """The engine that all tests share, with the images ts:v1, ts:v2 and ts:v3."""
    clean_left_engines()
    made = Engine()
    try:
        for tag in ("v1", "v2", "v3"):
            made.image(f"ts:{tag}")
        yield made
    finally:
        made.close()


@pytest.fixture
def box(case, engine):
    """A case on the shared engine."""
    made = DockerCase(case, engine)
    yield made
    made.close()


def copy_program(program, extra=()):
    """{path in an image: local path} of a dynamic program with its libraries."""
    files = {}
    for path in (program, *extra):
        files[path] = path
        out = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        for line in out.splitlines():
            word = line.split("=>")[-1].split("(")[0].strip()
            if word.startswith("/"):
                files[word] = word
    return files
