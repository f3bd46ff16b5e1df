"""The box: a folder of its own with a plan, a fake world, and the program under test ($TURNOUT)."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TURNOUT = os.environ.get('TURNOUT') or str(ROOT / 'build' / 'turnout-test')
KEPT = ('PATH', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS', 'TSAN_OPTIONS', 'LD_LIBRARY_PATH')
LIMIT = 60  # seconds for one command; only a hang takes that long


class Ended:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f'exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}'


class Box:
    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.running = []
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.env.update(HOME=str(self.dir), LANG='C.UTF-8', TZ='UTC', TURNOUT_ACTOR='alice',
                        TURNOUT_STATE=str(self.dir / 'state'))

    # ---- files

    def write(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def plan(self, name='web.yaml'):
        """A plan of tests/cli/plans as turnout.yaml."""
        self.write('turnout.yaml', (HERE / 'plans' / name).read_text())

    def json(self, name='world.json'):
        path = self.dir / name
        return json.loads(path.read_text()) if path.exists() else {}

    def script(self, name='world.json', **script):
        """Replaces the script of a fake world."""
        self.edit(lambda world: world.update(script=script), name)

    @contextlib.contextmanager
    def locked(self, name):
        with open(self.dir / f'{name}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def edit(self, change, name='world.json'):
        """Under the lock of the fakes, so that it is safe while programs run."""
        with self.locked(name):
            world = self.json(name)
            change(world)
            self.write(f'{name}.edited', json.dumps(world)).rename(self.dir / name)

    @property
    def instances(self):
        return self.json().get('instances', {})

    def versions(self):
        """version → how many instances, as the world has them."""
        count = {}
        for one in self.instances.values():
            count[one.get('version')] = count.get(one.get('version'), 0) + 1
        return count

    def servers(self):
        """Instances in the balancer; there they stand as INSTANCE.CLUSTER."""
        return {name.rsplit('.', 1)[0] for name in self.json('edge.json')['traffic']['shop_web']['servers']}

    def log(self, name='world.json'):
        return self.json(name).get('log', [])

    def count(self, slot, name='world.json'):
        return self.json(name).get('counters', {}).get(slot, 0)

    def counters(self):
        return {name: self.json(name).get('counters', {}) for name in ('world.json', 'edge.json')}

    # ---- running

    def start(self, *args, env=None, stdin=subprocess.DEVNULL):
        p = subprocess.Popen([TURNOUT, *args], cwd=self.dir, env={**self.env, **(env or {})}, stdin=stdin,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.running.append(p)
        return p

    def end(self, p, limit=LIMIT):
        try:
            out, err = p.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            pytest.fail(f'does not end: {p.args}\n{out.decode()}\n{err.decode()}')
        return Ended(p.returncode, out.decode('utf-8', 'surrogateescape'), err.decode('utf-8', 'surrogateescape'))

    def run(self, *args, env=None, stdin=None):
        if stdin is None:
            return self.end(self.start(*args, env=env))
        p = self.start(*args, env=env, stdin=subprocess.PIPE)
        p.stdin.write(stdin.encode())
        p.stdin.close()
        p.stdin = None
        return self.end(p)

    def ok(self, *args, **more):
        """Runs it; it must end with 0."""
        ended = self.run(*args, **more)
        assert ended.code == 0, ended
        return ended

    def deploy(self, version, *args, env=None):
        return self.run('deploy', '--yes', '--var', f'tag={version}', *args, env=env)

    def on_terminal(self, *args, env=None, keys=b'', after=b''):
        """stdin, stdout and stderr on a terminal; `keys` are typed once `after` was seen. Returns exit code and bytes."""
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            os.execve(TURNOUT, [TURNOUT, *args], {**self.env, 'TERM': 'xterm', **(env or {})})
        got, limit = b'', time.monotonic() + LIMIT
        while time.monotonic() < limit:
            if keys and after in got:
                os.write(fd, keys)
                keys = b''
            ready, _, _ = select.select([fd], [], [], 0.5)
            try:
                data = os.read(fd, 65536) if ready else b'.'
            except OSError:
                break
            if not data:
                break
            got += data if ready else b''
        else:
            os.kill(pid, signal.SIGKILL)
        os.close(fd)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), got

    def until(self, question, what='it', limit=20):
        """Polls; a test fails when it does not come true in time."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            try:
                answer = question()
            except ValueError:  # a file that is being replaced
                answer = None
            if answer:
                return answer
            time.sleep(0.01)
        return pytest.fail(f'{what} did not happen in {limit} s')

    def close(self):
        for p in self.running:
            if p.poll() is None:
                p.send_signal(signal.SIGKILL)
                p.wait()


@pytest.fixture
def box(tmp_path):
    b = Box(tmp_path)
    yield b
    b.close()
