"""What a rollout looks like: in a real terminal (tmux) at two widths, as plain lines, as JSON lines, in a pipe."""

import json
import os
import re
import shlex
import subprocess

import pytest
import support
from support import wait_for

ESCAPE = "\x1b"


@pytest.fixture
def world(case):
    port, balancers = case.managed()
    case.plan(balancers=balancers)
    case.deploy("v1")
    return case


class Terminal:
    """A tmux server of its own (socket in the case's folder) with one pane."""

    def __init__(self, case, width, height=24):
        self.program = support.need("tmux")
        self.case, self.socket = case, case.dir / "tmux"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "/bin/sh")
        case.closers.append(lambda: self._tmux("kill-server"))
        self._tmux("set-option", "-g", "history-limit", "5000")

    def _tmux(self, *words):
        env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "HOME": str(self.case.dir / "home"), "PS1": "", "CASE_TMUX": str(self.case.dir)}
        return subprocess.run([self.program, "-u", "-S", str(self.socket), *words], env=env, check=True, capture_output=True, text=True, timeout=10).stdout

    def type(self, line):
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def key(self, name):
        self._tmux("send-keys", name)

    def screen(self, history=False):
        return self._tmux("capture-pane", "-p", *(["-S", "-"] if history else [])).splitlines()


def command(case, *words):
    state = shlex.quote(str(case.dir / "state"))
    return f"cd {case.dir}; TURNOUT_STATE={state} {support.TURNOUT} {' '.join(words)}; echo rc=$?"


@pytest.mark.parametrize("width", [80, 200])
def test_live_view_in_a_terminal(world, width):
    case = world
    terminal = Terminal(case, width)
    terminal.type("PS1=; clear; " + command(case, "deploy", "--yes", "--var", "tag=v2"))
    views = []

    def over():
        screen = terminal.screen()
        views.append(screen)
        return any(line.startswith("rc=") for line in screen)

    wait_for("the deploy", over, 40)
    text = "\n".join("\n".join(view) for view in views)
    assert "rc=0" in text
    # A terminal wraps what is too long, so a wrapped line shows as one that fills the width.
    full = {line for view in views for line in view if len(line) >= width and "TURNOUT_STATE" not in line and not line.startswith("PS1")}
    full = {line for line in full if str(case.dir) not in line and support.TURNOUT not in line}
    assert not full, full
    live = [view for view in views if any("web" in line and "rolling" in line for line in view)]
    assert live, "no live view was ever seen:\n" + "\n".join(views[-1])
    for words in ("serving", case.app):
        assert any(words in line for view in live for line in view), words
    # Never two trees at once: each instance stands in at most one line of a screen.
    for view in live:
        if any(line.startswith("rc=") for line in view):
            continue
        names = [name for line in view if line.lstrip()[:1] in ("├", "└") for name in re.findall(rf"{case.app}-web-[0-9a-f]+-\d+", line)]
        assert len(names) == len(set(names)), "left-overs of an older picture:\n" + "\n".join(view)
    last = terminal.screen(history=True)
    end = [line for line in last if line.strip()]
    assert end[-1] == "rc=0" and not any("●" in line for line in end[-3:]), "\n".join(end)
    assert "?25l" not in "\n".join(last)


def test_live_view_survives_a_resize_and_a_failure(world):
    case = world
    terminal = Terminal(case, 120)
    plan = json.loads((case.dir / "turnout.yaml").read_text())
    plan["services"]["web"]["env"]["CRASH_AT_START"] = "1"
    plan["services"]["web"]["env"]["NOISE"] = "x"
    (case.dir / "turnout.yaml").write_text(json.dumps(plan))
    terminal.type("PS1=; clear; " + command(case, "deploy", "--yes", "--var", "tag=v2"))
    terminal._tmux("resize-window", "-x", "70", "-y", "20")
    wait_for("the end", lambda: any(line.startswith("rc=") for line in terminal.screen()), 30)
    text = "\n".join(terminal.screen(history=True))
    assert "rc=3" in text and "fatal: DATABASE_URL missing" in text and "next:" in text, text
    assert text.index("fatal: DATABASE_URL missing") < text.index("next:"), "the cause and the log first, then what to type"


def test_interrupt_in_a_terminal(world):
    case = world
    terminal = Terminal(case, 100)
    terminal.type("PS1=; clear; " + command(case, "deploy", "--yes", "--var", "tag=v2"))
    wait_for("the live view", lambda: any("rolling" in line for line in terminal.screen()))
    terminal.key("C-c")
    wait_for("the end", lambda: any(line.startswith("rc=") for line in terminal.screen()), 10)
    text = "\n".join(terminal.screen(history=True))
    assert "rc=130" in text and "resume" in text, text
    terminal.type("stty -a | grep -c -w -- '[^-]echo'; " + command(case, "resume", "--yes", "--var", "tag=v2"))
    wait_for("the resume", lambda: any(line.startswith("rc=0") for line in terminal.screen()), 40)


def test_no_question_without_a_terminal(world):
    case = world
    run = case.turnout("deploy", "--var", "tag=v2")
    assert run.rc in (1, 64) and "--yes" in run.err, repr(run)
    assert case.versions() == {"v1": 3}


def test_question_on_a_terminal_can_be_refused(world):
    case = world
    terminal = Terminal(case, 100)
    terminal.type("PS1=; clear; " + command(case, "deploy", "--var", "tag=v2"))
    wait_for("the question", lambda: any("?" in line and "PS1" not in line and "echo rc" not in line for line in terminal.screen()))
    terminal.type("no")
    wait_for("the end", lambda: any(line.startswith("rc=") for line in terminal.screen()), 10)
    assert "rc=0" not in terminal.screen() and case.versions() == {"v1": 3}


@pytest.mark.parametrize("how", ["plain", "auto"])
def test_plain_progress_has_no_escapes(world, how):
    case = world
    run = case.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", how)
    assert run.rc == 0
    text = run.out + run.err
    assert ESCAPE not in text and "\r" not in text and "\b" not in text
    lines = [line for line in run.err.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    for kind in ("start", "ready", "admit", "drain", "stop", "done"):
        assert any(f" {kind} " in line + " " for line in lines), (kind, run.err)


def test_quiet_says_nothing_on_stderr(world):
    run = world.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "quiet")
    assert run.rc == 0 and run.err == "", repr(run)


def test_json_progress_is_ndjson_and_the_result_one_document(world):
    run = world.turnout("deploy", "--yes", "--var", "tag=v2", "--progress", "json", "-o", "json")
    assert run.rc == 0
    for line in run.err.splitlines():
        event = json.loads(line)
        assert event["v"] == 1 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["at"]) and event["kind"] and event["rollout"]
    result = json.loads(run.out)
    assert result["v"] == 1 and result["exit_code"] == 0 and result["state"] == "done"


def test_output_into_a_closed_pipe_does_not_stop_the_rollout(world):
    """`turnout deploy | head -1`: a reader that leaves is no reason to leave a half-done rollout."""
    case = world
    run = subprocess.run(["/bin/bash", "-c", f"cd {case.dir}; TURNOUT_STATE={case.dir}/state {support.TURNOUT} deploy --yes --var tag=v2 --progress plain 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"],
                         capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(case.dir / "home")})
    wait_for("v2", lambda: case.versions() == {"v2": 3}, 20)
    assert run.stdout.splitlines()[-1] == "0", run.stdout


def test_no_color_and_dumb_terminal(world):
    for env in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
        run = world.turnout("diff", "--var", "tag=v2", env=env)
        assert ESCAPE not in run.out
    forced = world.turnout("diff", "--var", "tag=v2", "--color", "always")
    assert ESCAPE + "[" in forced.out
    forced = world.turnout("diff", "--var", "tag=v2", env={"CLICOLOR_FORCE": "1"})
    assert ESCAPE + "[" in forced.out


def test_hostile_log_lines_cannot_drive_the_terminal(case):
    """The last lines of a failed instance go through the filter: no escape of theirs reaches the terminal."""
    port, balancers = case.managed()
    evil = "printf '\\033]0;owned\\007\\033[2J\\033[31mred\\n::error::injected\\n'; exit 3"
    service = case.service({"command": ["/bin/sh", "-c", evil]})
    case.plan(services={"web": service}, balancers=balancers)
    run = case.turnout("deploy", "--yes", "--progress", "plain")
    assert run.rc == 1 and "red" in run.err, repr(run)
    assert ESCAPE not in run.err and "\x07" not in run.err
