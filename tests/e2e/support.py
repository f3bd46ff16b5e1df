"""Shared helpers of the end-to-end tests.

A Case is one test's private world: a folder, an application name, a block of loopback ports, a state folder. It writes
plans, runs turnout, starts balancers and load, and looks at the outcome from outside (/proc, the balancer's own
statistics, requests), never through turnout. Everything a case starts carries the case's folder in its command line
or environment; that is how it is found again and ended, also by the next run after this one was killed.
"""

import contextlib
import copy
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
TURNOUT = os.path.abspath(os.environ.get("TURNOUT", TOP / "build/turnout"))
TURNOUT_TEST = os.path.abspath(os.environ.get("TURNOUT_FAKE", TOP / "build/turnout-test"))
SUPPORT = pathlib.Path(os.path.abspath(os.environ.get("TURNOUT_SUPPORT", TOP / "build/tests")))
TESTSERVER = str(SUPPORT / "testserver")
LOAD = str(SUPPORT / "load")

ROOT = pathlib.Path("/tmp/turnout-e2e")
PORT_BLOCKS = range(12000, 19950, 50)
BALANCER_PORTS = 15  # the first of a block; the others are the plan's port_range


# ---- waiting ------------------------------------------------------------------------------------------------


def wait_for(what, condition, timeout=15.0):
    """Polls until condition() is true and returns what it returned; exceptions of a world in motion count as no."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, ValueError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g}s for {what}; last: {last!r}")
        time.sleep(0.02)


def need(program):
    """The program's path; without it the test is skipped, or fails where CI=true."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed")


# ---- processes, as /proc shows them -------------------------------------------------------------------------


class Proc:
    """One process: pid, start time (field 22 of stat), state letter, command line, environment at its start."""

    def __init__(self, pid):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = int(pid)
        self.state = fields[0].decode()
        self.ppid = int(fields[1])
        self.started = int(fields[19])
        self.argv = [a.decode("utf-8", "replace") for a in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
        self.env = {}
        for entry in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.decode("utf-8", "replace").partition("=")
            self.env[name] = value

    def __repr__(self):
        return f"<{self.pid} {self.env.get('VERSION', '')} port {self.env.get('PORT', '')}: {' '.join(self.argv)[:90]}>"

    def mentions(self, text):
        """Whether this process belongs to the folder `text` (whole path components only)."""
        where = " ".join(self.argv) + " " + " ".join(self.env.values()) + " "
        return text + "/" in where or text + " " in where


_known = {}  # pid → Proc of processes that are old enough not to be between fork and exec any more


def processes():
    found = []
    ticks = os.sysconf("SC_CLK_TCK")
    now = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] in b"ZX":
                continue
            proc = _known.get(name)
            if proc is None or proc.started != int(fields[19]):
                proc = Proc(name)
                if now - proc.started / ticks > 2:
                    _known[name] = proc
        except (OSError, ValueError):
            continue
        found.append(proc)
    return found


def kill_exactly(pid, started, sig=signal.SIGKILL):
    """Signals the process only while it is still the one that began at `started`."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if Proc(pid).started != started:
            return False
        signal.pidfd_send_signal(fd, sig)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def end_all_of(folder):
    """Ends every process that belongs to the folder: first those that would start others again."""
    folder = str(folder)
    for _ in range(50):
        mine = [p for p in processes() if p.mentions(folder) and p.pid != os.getpid()]
        if not mine:
            return
        mine.sort(key=lambda p: "__shim" not in p.argv)
        for proc in mine:
            kill_exactly(proc.pid, proc.started)
        time.sleep(0.02)
    raise AssertionError(f"cannot end the processes of {folder}: {mine}")


class Session:
    """The folder of one pytest run. Left-overs of runs whose owner is gone are ended and removed at its start."""

    def __init__(self):
        ROOT.mkdir(mode=0o755, exist_ok=True)
        for left in ROOT.glob("run-*"):
            self._clean(left)
        # Short, because sockets lie below it and their addresses hold 107 bytes at most.
        self.folder = ROOT / f"run-{random.SystemRandom().randrange(1 << 24):06x}"
        self.folder.mkdir()
        me = Proc(os.getpid())
        (self.folder / "owner").write_text(f"{me.pid} {me.started}")
        self.count = 0
        self.lock = threading.Lock()

    @staticmethod
    def _clean(folder):
        try:
            pid, started = map(int, (folder / "owner").read_text().split())
            if Proc(pid).started == started:
                return
        except (OSError, ValueError):
            if not (folder / "owner").exists():
                return
        end_all_of(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def case(self):
        with self.lock:
            self.count += 1
            folder = self.folder / f"{self.count:03d}"
        return Case(self, folder)

    def close(self):
        end_all_of(self.folder)
        if os.environ.get("E2E_KEEP") != "1":
            shutil.rmtree(self.folder, ignore_errors=True)


# ---- ports --------------------------------------------------------------------------------------------------


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


class PortBlock:
    """50 loopback ports that no other case of any run uses, below the kernel's own range; held by a locked file."""

    def __init__(self):
        (ROOT / "ports").mkdir(exist_ok=True)
        starts = list(PORT_BLOCKS)
        random.SystemRandom().shuffle(starts)
        for start in starts:
            self.file = open(ROOT / "ports" / str(start), "w")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.file.close()
                continue
            if all(port_is_free(start + i) for i in range(50)):
                self.start, self.next = start, start
                return
            self.file.close()
        raise AssertionError("no free block of ports")

    def take(self):
        port = self.next
        assert port < self.start + BALANCER_PORTS, "a case has no more than 15 balancer ports"
        self.next += 1
        return port

    def plan_range(self):
        return f"{self.start + BALANCER_PORTS}-{self.start + 49}"

    def close(self):
        self.file.close()


# ---- one run of turnout -------------------------------------------------------------------------------------


class Run:
    """A turnout process. Its output goes to pipes read by threads; `events` are the JSON lines of its stderr."""

    def __init__(self, argv, env, cwd, stdin=subprocess.DEVNULL):
        self.argv = argv
        self.proc = subprocess.Popen(argv, env=env, cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = self.proc.pid
        self.events = []
        self._out, self._err = [], []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(self.proc.stdout, self._out, False), daemon=True),
            threading.Thread(target=self._read, args=(self.proc.stderr, self._err, True), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe, lines, events):
        for line in pipe:
            with self._changed:
                lines.append(line)
                if events and line.startswith(b'{"v"'):
                    with contextlib.suppress(ValueError):
                        self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def out(self):
        return b"".join(self._out).decode("utf-8", "replace")

    @property
    def err(self):
        return b"".join(self._err).decode("utf-8", "replace")

    @property
    def rc(self):
        return self.proc.returncode

    def running(self):
        return self.proc.poll() is None

    def wait_event(self, kind, count=1, timeout=30.0):
        """The count-th event of a kind (or of a function of the event); None when turnout ended before."""
        fits = kind if callable(kind) else lambda event: event["kind"] == kind
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [event for event in self.events if fits(event)]
                if len(found) >= count:
                    return found[count - 1]
                if self.proc.poll() is not None and not any(r.is_alive() for r in self._readers):
                    return None
                left = end - time.monotonic()
                assert left > 0, f"no event {kind} in {timeout:g}s; had {[e['kind'] for e in self.events]}"
                self._changed.wait(min(left, 0.05))

    def kill(self, sig=signal.SIGKILL):
        self.proc.send_signal(sig)

    def wait(self, timeout=90.0):
        try:
            self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError(f"turnout still ran after {timeout:g}s: {self.argv}\n{self.err[-3000:]}") from None
        for reader in self._readers:
            reader.join(10)
        return self

    def json(self):
        return json.loads(self.out)

    def kinds(self):
        return [event["kind"] for event in self.events]

    def __repr__(self):
        return f"{' '.join(self.argv)}\n-> {self.rc}\n{self.out}\n{self.err}"


# ---- load ---------------------------------------------------------------------------------------------------


class Load:
    """The load client, as a context: on entry it waits until the mix is in flight, on exit it ends and is read."""

    def __init__(self, case, port, *, rate=400, keepalive=64, fresh=16, paths="mix", retry_idle=False, ready_after=None):
        case.loads += 1
        self.until = case.dir / f"load-{case.loads}.until"
        self.ready = case.dir / f"load-{case.loads}.ready"
        self.json = case.dir / f"load-{case.loads}.json"
        if ready_after is None:
            ready_after = 1500 if paths == "mix" else 100
        self.argv = [LOAD, "--url", f"http://127.0.0.1:{port}", "--until-file", str(self.until), "--max-duration", "120s",
                     "--rate", str(rate), "--keepalive", str(keepalive), "--fresh", str(fresh), "--paths", paths,
                     "--ready-file", str(self.ready), "--ready-after", str(ready_after), "--json", str(self.json), "--quiet"]
        if retry_idle:
            self.argv.append("--retry-idle")
        self.case = case
        self.report = None

    def __enter__(self):
        self.proc = subprocess.Popen(self.argv, cwd=self.case.dir)
        wait_for("the load to be at its full depth", lambda: self.ready.exists() or self.proc.poll() is not None, 30)
        assert self.proc.poll() is None, "the load client ended at once"
        return self

    def __exit__(self, kind, value, trace):
        self.until.touch()
        try:
            self.proc.wait(30)
        finally:
            if self.proc.poll() is None:
                self.proc.kill()
        if self.proc.returncode == 0 and self.json.exists():
            self.report = json.loads(self.json.read_text())

    @property
    def lost(self):
        return self.report["lost"]

    def summary(self):
        keys = ("sent", "ok", "lost", "retried", "by_version", "failure_counts", "status_counts")
        text = {key: self.report.get(key) for key in keys}
        return json.dumps(text) + "\n" + "\n".join(json.dumps(f) for f in self.report["failures"][:10])

    def depth_at(self, when):
        """Requests in flight at a wall clock time (seconds)."""
        depths = self.report["in_flight_100ms"]
        index = int((when * 1000 - self.report["started_unix_ms"]) / 100)
        return depths[index] if 0 <= index < len(depths) else 0

    def check_nothing_lost(self, *versions):
        assert self.lost == 0, self.summary()
        assert self.report["ok"] > 0
        for version in versions:
            assert self.report["by_version"].get(version, 0) > 0, self.summary()


def event_time(event):
    """Wall clock seconds of an event."""
    import datetime

    return datetime.datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()


# ---- the case -----------------------------------------------------------------------------------------------


def merged(base, over):
    """Maps merge deeply, all else replaces, None deletes; as the plan's own overlays do."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return copy.deepcopy(over)
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Case:
    def __init__(self, session, folder):
        self.dir = folder
        self.dir.mkdir()
        (self.dir / "home").mkdir()
        self.ports = PortBlock()
        self.app = "e" + f"{random.SystemRandom().randrange(1 << 32):08x}"
        self.runs = []
        self.loads = 0
        self.closers = []

    def close(self):
        for closer in reversed(self.closers):
            with contextlib.suppress(Exception):
                closer()
        end_all_of(self.dir)
        self.ports.close()

    def port(self):
        return self.ports.take()

    # plans

    def service(self, over=None, *, balancer="edge", upstream=None):
        """The test server on the process cluster, exposed; `over` is merged over it."""
        base = {
            "command": [TESTSERVER],
            "clusters": ["local"],
            "replicas": 3,
            "env": {"VERSION": "${tag}", "BIND": "127.0.0.1", "CASE": str(self.dir)},
            "ports": [{"name": "http"}],
            "health": {"http": "/healthz", "port": "http", "interval": "50ms", "timeout": "1s", "healthy_after": 1},
            "stop": {"signal": "SIGTERM", "grace": "100ms"},
        }
        if balancer:
            expose = {"balancer": balancer, "port": "http", "drain": "5s"}
            expose.update({"upstream": upstream} if upstream else {"path": "/"})
            base["expose"] = [expose]
        return merged(base, over or {})

    def plan(self, over=None, *, services=None, balancers=None, name="turnout.yaml"):
        """Writes a plan with short times; `over` is merged over it. JSON, which is YAML. Returns its path."""
        base = {
            "turnout": 1,
            "name": self.app,
            "vars": {"tag": "v1"},
            "clusters": {"local": {"process": {"dir": "./run"}}},
            "services": services if services is not None else {"web": self.service()},
            "rollout": {"strategy": "rolling", "max_surge": 1, "max_unavailable": 0, "min_healthy_time": "200ms",
                        "healthy_deadline": "10s", "progress_deadline": "20s"},
            "policy": {"lease_ttl": "2s", "port_range": self.ports.plan_range()},
        }
        if balancers:
            base["balancers"] = balancers
        path = self.dir / name
        path.write_text(json.dumps(merged(base, over or {}), indent=1) + "\n")
        return path

    def managed(self):
        """A HAProxy that turnout runs itself: (port, the plan's balancers)."""
        need("haproxy")
        port = self.port()
        return port, {"edge": {"haproxy": {"managed": "local", "listen": f"127.0.0.1:{port}"}}}

    # turnout

    def start(self, *args, unsafe=None, state="state", env=None, program=None, stdin=subprocess.DEVNULL):
        """Starts turnout in the case's folder; `unsafe` switches a safety step off, for twins."""
        full = {
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
            "HOME": str(self.dir / "home"),
            "LANG": "C.UTF-8",
            "TURNOUT_STATE": str(self.dir / state),
        }
        program = program or (TURNOUT_TEST if unsafe else TURNOUT)
        if unsafe:
            full["TURNOUT_UNSAFE"] = unsafe
        full.update(env or {})
        run = Run([program, *map(str, args)], full, self.dir, stdin)
        self.runs.append(run)
        self.closers.append(lambda: run.running() and run.kill())
        return run

    def turnout(self, *args, timeout=90.0, **options):
        """Runs turnout to its end."""
        return self.start(*args, **options).wait(timeout)

    def deploy(self, tag="v1", *more, rc=0, verb="deploy", **options):
        """deploy (or another acting verb) with events; checks the exit code unless rc is None."""
        args = [verb, "--yes", "--progress", "json", "-o", "json"]
        if tag:
            args += ["--var", f"tag={tag}"]
        run = self.turnout(*args, *more, **options)
        if rc is not None:
            assert run.rc == rc, repr(run)
        return run

    # the world, from outside

    def instances(self, version=None, service=None):
        """The test servers of this case that live, as /proc shows them."""
        found = []
        for proc in processes():
            if proc.env.get("CASE") != str(self.dir) or "__shim" in proc.argv or not proc.argv:
                continue
            if os.path.basename(proc.argv[0]) not in ("testserver", "server") or "SERVICE" in proc.env and service and proc.env["SERVICE"] != service:
                continue
            if version is None or proc.env.get("VERSION") == version:
                found.append(proc)
        return sorted(found, key=lambda p: p.pid)

    def versions(self):
        """How many live test servers of each version there are."""
        counts = {}
        for proc in self.instances():
            counts[proc.env["VERSION"]] = counts.get(proc.env["VERSION"], 0) + 1
        return counts

    def shims(self):
        return [p for p in processes() if "__shim" in p.argv and p.mentions(str(self.dir))]

    def load(self, port, **options):
        return Load(self, port, **options)

    def write(self, name, text, mode=0o644):
        path = self.dir / name
        path.write_text(text)
        path.chmod(mode)
        return path


def ask(port, path="/", host=None, timeout=5.0):
    """One fresh request: (status, headers, body)."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Connection": "close", **({"Host": host} if host else {})})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def versions_served(port, count=20, path="/"):
    """The set of versions that `count` fresh requests got."""
    seen = set()
    for _ in range(count):
        status, headers, _ = ask(port, path)
        seen.add(headers.get("X-Version") if status == 200 else status)
    return seen


# ---- HAProxy ------------------------------------------------------------------------------------------------


def unix_command(path, command, timeout=5.0):
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        # By descriptor: the whole path may be longer than a socket's address can be.
        return _unix_command(f"/proc/self/fd/{folder}/{os.path.basename(path)}", command, timeout)
    finally:
        os.close(folder)


def _unix_command(path, command, timeout):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        sock.sendall(command.encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)
        parts = []
        while True:
            part = sock.recv(65536)
            if not part:
                return b"".join(parts).decode()
            parts.append(part)


def haproxy_servers(admin, backend):
    """Rows of `show stat` for the servers of a backend: list of {svname, status, addr, weight, hrsp_2xx …}."""
    lines = unix_command(admin, "show stat").splitlines()
    names = lines[0].lstrip("# ").split(",")
    rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line]
    return [row for row in rows if row["pxname"] == backend and row["svname"] not in ("BACKEND", "FRONTEND")]


def haproxy_up(admin, backend):
    """Addresses of the servers that get new requests."""
    return sorted(row["addr"] for row in haproxy_servers(admin, backend) if row["status"].split()[0] in ("UP", "no"))


class Haproxy:
    """A HAProxy of the user: its own main file, master-worker mode, a second file that turnout owns."""

    def __init__(self, case, backend, owned="owned.cfg", extra=""):
        program = need("haproxy")
        self.case, self.backend = case, backend
        self.port = case.port()
        self.dir = case.dir / f"haproxy-{self.port}"
        self.dir.mkdir()
        self.admin, self.master = self.dir / "admin.sock", self.dir / "master.sock"
        self.main, self.owned = self.dir / "main.cfg", self.dir / owned
        self.reload_log = self.dir / "reloads"
        self.main.write_text(
            f"global\n    stats socket {self.admin} mode 600 level admin expose-fd listeners\n    hard-stop-after 30s\n"
            "defaults\n    mode http\n    timeout connect 2s\n    timeout client 30s\n    timeout server 30s\n    option idle-close-on-response\n"
            f"frontend front\n    bind 127.0.0.1:{self.port}\n    use_backend %[str({backend})]\n{extra}"
        )
        if not self.owned.exists():
            self.owned.write_text("")
        self.test = [program, "-c", "-f", str(self.main), "-f", str(self.owned)]
        self.proc = subprocess.Popen([program, "-W", "-S", str(self.master), "-f", str(self.main), "-f", str(self.owned)],
                                     cwd=self.dir, stdout=open(self.dir / "log", "wb"), stderr=subprocess.STDOUT)
        case.closers.append(self.proc.kill)
        self.script = case.write(f"reload-{self.port}", f"#!/bin/sh\necho reload >>{self.reload_log}\nkill -USR2 {self.proc.pid}\n", 0o755)
        wait_for("haproxy", lambda: self.proc.poll() is not None or self.admin.exists() and not port_is_free(self.port))
        assert self.proc.poll() is None, (self.dir / "log").read_text()

    def balancer(self):
        """The plan's entry."""
        return {"haproxy": {"socket": str(self.admin), "file": str(self.owned), "test": self.test, "reload": [str(self.script)]}}

    def reloads(self):
        """How often the master was reloaded, by whomever."""
        for line in unix_command(self.master, "show proc").splitlines():
            fields = line.split()
            if len(fields) > 2 and fields[1] == "master":
                return int(fields[2])
        raise ValueError("no master in show proc")

    def asked(self):
        """How often turnout ran the reload command."""
        return len(self.reload_log.read_text().split()) if self.reload_log.exists() else 0

    def reload_by_hand(self):
        before = self.reloads()
        self.proc.send_signal(signal.SIGUSR2)
        wait_for("the reload", lambda: self.reloads() > before and haproxy_servers(self.admin, self.backend) is not None)

    def up(self):
        return haproxy_up(self.admin, self.backend)


# ---- nginx --------------------------------------------------------------------------------------------------


class Nginx:
    """An nginx of the user on this host: own prefix, its conf includes the folder of the file that turnout owns."""

    def __init__(self, case, upstream, http="", server=""):
        self.program = need("nginx")
        self.case, self.upstream = case, upstream
        self.port = case.port()
        self.dir = case.dir / f"nginx-{self.port}"
        (self.dir / "conf.d").mkdir(parents=True)
        (self.dir / "tmp").mkdir()
        self.conf, self.owned = self.dir / "nginx.conf", self.dir / "conf.d" / "turnout.conf"
        self.reload_log, self.errors = self.dir / "reloads", self.dir / "error.log"
        temp = "".join(f"    {kind}_temp_path {self.dir}/tmp/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.conf.write_text(
            f"user root;\ndaemon off;\nworker_processes 2;\npid {self.dir}/pid;\nerror_log {self.errors} notice;\n"
            "events { worker_connections 2048; }\n"
            f"http {{\n    access_log off;\n{temp}    include {self.dir}/conf.d/*.conf;\n{http}"
            f"    server {{\n        listen 127.0.0.1:{self.port};\n"
            f"        location / {{\n            set $upstream {upstream};\n            proxy_pass http://$upstream;\n        }}\n{server}    }}\n}}\n"
        )
        self.proc = subprocess.Popen(self._argv(), cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        case.closers.append(self.proc.kill)
        self.test = self._argv("-t")
        self.script = case.write(f"nginx-reload-{self.port}", f"#!/bin/sh\necho reload >>{self.reload_log}\nexec {' '.join(self._argv('-s', 'reload'))}\n", 0o755)
        wait_for("nginx", lambda: self.proc.poll() is not None or (self.dir / "pid").exists() and not port_is_free(self.port))
        assert self.proc.poll() is None, self.errors.read_text()

    def _argv(self, *more):
        return [self.program, "-p", str(self.dir), "-e", str(self.errors), "-c", str(self.conf), *more]

    def balancer(self, **more):
        return {"nginx": {"file": str(self.owned), "test": self.test, "reload": [str(self.script)],
                          "generation": f"127.0.0.1:{self.case.port()}", **more}}

    def asked(self):
        return len(self.reload_log.read_text().split()) if self.reload_log.exists() else 0
