#!/usr/bin/env python3
"""make bench: the figures that docs/benchmarks.md quotes.

A private Docker engine (with Swarm) is started in a temporary folder. Every comparison is made in interleaved rounds, so
that what the machine does meanwhile hits all of them alike; medians and quartiles are printed. Loopback only.

  tests/bench/run.py [--rounds 10] [--only NAME,…] [--out FILE]
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TURNOUT = os.environ.get("TURNOUT", os.path.join(ROOT, "build", "turnout"))
SERVER = os.path.join(os.environ.get("TURNOUT_SUPPORT", os.path.join(ROOT, "build", "tests")), "testserver")
REPLICAS = 10
HEALTH_MS = 1000
MONITOR_MS = 500
PARALLEL = tuple(int(p) for p in os.environ.get("BENCH_PARALLEL", "10,2,1").split(","))


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """A dockerd of our own, with a swarm of one node."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = os.path.join(folder, "docker.sock")
        self.bridge = "tnbench0"
        subprocess.run(["ip", "link", "del", self.bridge], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True)
        subprocess.run(["ip", "addr", "add", "10.223.0.1/24", "dev", self.bridge], check=True)
        subprocess.run(["ip", "link", "set", self.bridge, "up"], check=True)
        self.process = subprocess.Popen(
            ["dockerd", "--data-root", folder + "/data", "--exec-root", folder + "/exec", "-H", "unix://" + self.socket,
             "--pidfile", folder + "/pid", "--bridge", self.bridge, "--fixed-cidr", "10.223.0.0/24"],
            stdout=open(folder + "/log", "w"), stderr=subprocess.STDOUT)
        wait_until("dockerd", lambda: self.call("GET", "/_ping")[0] == 200, 30)

    def call(self, method, path, body=None):
        try:
            c = UnixHTTP(self.socket)
            data = json.dumps(body) if body is not None else None
            c.request(method, "/v1.41" + path, data, {"Content-Type": "application/json"})
            r = c.getresponse()
            text = r.read()
            c.close()
        except OSError:
            return 0, None
        try:
            return r.status, json.loads(text) if text else None
        except ValueError:
            return r.status, text.decode("utf-8", "replace")

    def docker(self, *args, **kw):
        env = dict(os.environ, DOCKER_HOST="unix://" + self.socket)
        return subprocess.run(["docker", *args], env=env, check=True, capture_output=True, text=True, **kw).stdout

    def image(self, tag, version):
        root = os.path.join(self.folder, "image")
        os.makedirs(root, exist_ok=True)
        shutil.copy(SERVER, os.path.join(root, "app"))
        tar = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
        health = "HEALTHCHECK --interval=%dms --timeout=10s --retries=5 CMD [\"/app\", \"probe\", \"http://127.0.0.1:8080/healthz\"]"
        env = dict(os.environ, DOCKER_HOST="unix://" + self.socket)
        subprocess.run(["docker", "import", "-c", 'ENTRYPOINT ["/app"]', "-c", "ENV VERSION=" + version, "-c",
                        health % HEALTH_MS, "-", tag], input=tar, env=env, check=True, capture_output=True)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        subprocess.run(["ip", "link", "del", self.bridge], stderr=subprocess.DEVNULL)


def wait_until(what, condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("bench: %s did not come within %d s" % (what, seconds))
        time.sleep(0.02)


# ---- rolling update of ten containers ------------------------------------------------------------------------

def turnout(engine, folder, args):
    env = dict(os.environ, TURNOUT_STATE=os.path.join(folder, "state"))
    began = time.monotonic()
    r = subprocess.run([TURNOUT, *args], cwd=folder, env=env, capture_output=True, text=True)
    took = time.monotonic() - began
    if r.returncode != 0:
        raise SystemExit("bench: turnout %s: %s%s" % (" ".join(args), r.stdout, r.stderr))
    return took, r


def write_plan(engine, folder, surge):
    with open(os.path.join(folder, "turnout.yaml"), "w") as f:
        f.write("""turnout: 1
name: bench%d
vars: { tag: v1 }
clusters: { web: { docker: { host: "unix://%s" } } }
services:
  web:
    image: "bench:${tag}"
    clusters: [web]
    replicas: %d
    health: { native: true }
    stop: { grace: 10s }
rollout: { strategy: rolling, max_surge: %d, max_unavailable: 0, min_healthy_time: %dms, healthy_deadline: 60s, progress_deadline: 5m }
""" % (surge, engine.socket, REPLICAS, surge, MONITOR_MS))


class Turnout:
    def __init__(self, engine, parallel):
        self.engine, self.name = engine, "turnout, %d at once" % parallel
        self.folder = os.path.join(engine.folder, "plan-%d" % parallel)
        os.makedirs(self.folder)
        write_plan(engine, self.folder, parallel)
        self.tag = 1
        turnout(engine, self.folder, ["deploy", "--yes", "--progress", "quiet"])

    def round(self):
        self.tag = 3 - self.tag
        took, _ = turnout(self.engine, self.folder, ["deploy", "--yes", "--progress", "quiet", "--var", "tag=v%d" % self.tag])
        return took

    def end(self):
        turnout(self.engine, self.folder, ["destroy", "--yes", "--progress", "quiet"])


class Swarm:
    def __init__(self, engine, parallel):
        self.engine, self.name = engine, "Swarm service update, parallelism %d" % parallel
        self.service = "bench%d" % parallel
        self.tag = 1
        engine.docker("service", "create", "--detach=false", "--quiet", "--no-resolve-image", "--name", self.service, "--replicas",
                      str(REPLICAS), "--update-order", "start-first", "--update-parallelism", str(parallel), "--update-monitor",
                      "%dms" % MONITOR_MS, "--update-delay", "0s", "--stop-grace-period", "10s", "bench:v1")

    def round(self):
        self.tag = 3 - self.tag
        began = time.monotonic()
        self.engine.docker("service", "update", "--detach=false", "--quiet", "--no-resolve-image", "--image", "bench:v%d" % self.tag,
                           self.service)
        return time.monotonic() - began

    def end(self):
        self.engine.docker("service", "rm", self.service)


class Raw:
    """What cannot be gone below: create + start ten at the same time, wait until all are healthy, stop and remove the old."""
    name = "raw API calls"

    def __init__(self, engine):
        self.engine, self.tag = engine, 1
        self.ids = []
        self.round()

    def start(self, _):
        body = {"Image": "bench:v%d" % self.tag}
        status, made = self.engine.call("POST", "/containers/create", body)
        assert status == 201, made
        assert self.engine.call("POST", "/containers/%s/start" % made["Id"])[0] == 204
        return made["Id"]

    def healthy(self, cid):
        return self.engine.call("GET", "/containers/%s/json" % cid)[1]["State"]["Health"]["Status"] == "healthy"

    def stop(self, cid):
        self.engine.call("POST", "/containers/%s/stop?t=10" % cid)
        self.engine.call("DELETE", "/containers/%s?v=1" % cid)

    def round(self):
        self.tag = 3 - self.tag
        old = self.ids
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(REPLICAS) as pool:
            self.ids = list(pool.map(self.start, range(REPLICAS)))
            while not all(pool.map(self.healthy, self.ids)):
                time.sleep(0.02)
            list(pool.map(self.stop, old))
        return time.monotonic() - began

    def end(self):
        for cid in self.ids:
            self.engine.call("DELETE", "/containers/%s?force=1" % cid)


# ---- small commands ---------------------------------------------------------------------------------------------

def timed(argv, cwd, env):
    began = time.perf_counter()
    subprocess.run(argv, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def peak_memory(argv, cwd, env):
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)]) \
        if os.chdir(cwd) is None else 0
    _, _, usage = os.wait4(pid, 0)
    os.chdir(ROOT)
    return usage.ru_maxrss / 1024.0


def quartiles(values):
    q = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return q[0], statistics.median(values), q[2]


def table(title, rows, unit, scale):
    out = ["", "### " + title, "", "| what | runs | lower quartile | median | upper quartile |", "|---|---|---|---|---|"]
    for name, values in rows:
        low, mid, high = quartiles(values)
        out.append("| %s | %d | %.*f %s | **%.*f %s** | %.*f %s |" % (name, len(values), 2 if scale == 1 else 1, low * scale, unit,
                                                                     2 if scale == 1 else 1, mid * scale, unit,
                                                                     2 if scale == 1 else 1, high * scale, unit))
    return "\n".join(out) + "\n"


def rolling(engine, rounds, slow_rounds):
    text = ""
    for parallel in PARALLEL:  # one group at a time: containers that only wait have health checks, too
        subjects = ([Raw(engine)] if parallel == 10 else []) + [Turnout(engine, parallel), Swarm(engine, parallel)]
        results = {s.name: [] for s in subjects}
        for i in range(rounds if parallel == 10 else slow_rounds):
            for s in subjects:
                results[s.name].append(s.round())
                print("round %d  %-40s %.2f s" % (i + 1, s.name, results[s.name][-1]), file=sys.stderr, flush=True)
        for s in subjects:
            s.end()
        text += table("Rolling update of %d containers, %d at once (health every %d ms, %d ms minimum healthy time)" % (
            REPLICAS, parallel, HEALTH_MS, MONITOR_MS), list(results.items()), "s", 1)
    return text


def commands(engine, rounds):
    folder = os.path.join(engine.folder, "cmd")
    os.makedirs(folder)
    write_plan(engine, folder, 10)
    env = dict(os.environ, TURNOUT_STATE=os.path.join(folder, "state"))
    turnout(engine, folder, ["deploy", "--yes", "--progress", "quiet"])
    listing = []
    rows = {name: [] for name in ("version", "validate", "diff", "slowest call of diff (container list)")}
    for _ in range(rounds * 3):
        rows["version"].append(timed([TURNOUT, "version"], folder, env))
        rows["validate"].append(timed([TURNOUT, "validate"], folder, env))
        rows["diff"].append(timed([TURNOUT, "diff", "--var", "tag=v2"], folder, env))
        began = time.perf_counter()
        engine.call("GET", "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22turnout.app%3Dbench10%22%5D%7D")
        rows["slowest call of diff (container list)"].append(time.perf_counter() - began)
    text = table("Start to output", list(rows.items()), "ms", 1000)
    memory = [peak_memory([TURNOUT, "deploy", "--yes", "--progress", "quiet", "--var", "tag=v%d" % (2 - i % 2)], folder, env)
              for i in range(3)]
    turnout(engine, folder, ["destroy", "--yes", "--progress", "quiet"])
    return text + "\nPeak memory of a deploy of %d containers: %.1f MiB (largest of 3).\n" % (REPLICAS, max(memory))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--slow-rounds", type=int, help="for 2 and 1 at once (default: as --rounds)")
    parser.add_argument("--only", default="commands,rolling")
    parser.add_argument("--out")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the engine is stopped on the way out
    folder = tempfile.mkdtemp(prefix="tn-bench-")
    engine = Engine(folder)
    try:
        for tag in (1, 2):
            engine.image("bench:v%d" % tag, "v%d" % tag)
        engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        text = "Measured on %d cores, Docker %s, %d rounds, interleaved. `make bench`\n" % (
            os.cpu_count(), engine.docker("version", "--format", "{{.Server.Version}}").strip(), args.rounds)
        slow = args.slow_rounds or args.rounds
        suites = {"commands": lambda: commands(engine, args.rounds), "rolling": lambda: rolling(engine, args.rounds, slow)}
        for name in args.only.split(","):
            text += suites[name]()
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if args.out:
        with open(args.out, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
