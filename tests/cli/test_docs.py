"""README, docs/ and plans/: what they show exists, runs and is true.

A fenced block marked `console` holds commands (lines that begin with "$ turnout" or "$ make") and, below a command, what it
prints. Every command is checked against the program's own help or the Makefile. A block that should really run has a
comment in front of it:

    <!-- run: process -->                a fresh folder with a plan of three processes behind a managed HAProxy
    <!-- run: process v1 -->             the same, with these versions deployed one after the other
    <!-- run: process v1, exit=2 -->     the last command ends with 2 (all others, and by default all, with 0)
    <!-- run: process v1, same -->       stdout is as shown, apart from revisions, ids and times

A fenced block marked `yaml` with <!-- plan: FLAGS --> in front of it is a whole plan and must validate with
`--var FLAGS`; without the comment it is a fragment. Nothing here needs a network or a Docker engine.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.release

TOP = pathlib.Path(__file__).resolve().parents[2]
TURNOUT = os.path.abspath(os.environ.get('TURNOUT_RELEASE') or TOP / 'build/turnout')
SUPPORT = pathlib.Path(os.path.abspath(os.environ.get('TURNOUT_SUPPORT') or TOP / 'build/tests'))
PAGES = [TOP / 'README.md', TOP / 'CONTRIBUTING.md', TOP / 'plans/README.md', *sorted((TOP / 'docs').glob('*.md'))]
PLANS = sorted((TOP / 'plans').glob('*.yaml'))
LIMIT = 60

PLAN = """turnout: 1
name: hello
vars: { tag: v1 }
clusters:
  local: { process: { dir: ./run } }
balancers:
  edge: { haproxy: { managed: local, listen: "127.0.0.1:%d" } }
services:
  web:
    command: [./server]
    files: [./server]
    clusters: [local]
    replicas: 3
    env: { VERSION: "${tag}" }
    ports: [{ name: http }]
    health: { http: /healthz, interval: 200ms, timeout: 1s }
    stop: { grace: 2s }
    expose: [{ balancer: edge, drain: 10s }]
rollout: { min_healthy_time: 100ms, healthy_deadline: 20s }
policy: { port_range: "%d-%d" }
"""


def name_of(path):
    return str(path.relative_to(TOP))


def environment(folder):
    return {
        'PATH': f"{pathlib.Path(TURNOUT).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        'HOME': str(folder),
        'LANG': 'C.UTF-8',
        'TZ': 'UTC',
        'TURNOUT_STATE': str(folder / 'state'),
    }


def run(command, folder, **more):
    return subprocess.run(command, cwd=folder, env={**environment(folder), **more}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)


# ---- reading pages ---------------------------------------------------------------------------------------------


class Block:
    def __init__(self, page, line, language, mark, text):
        self.page, self.line, self.language, self.mark, self.text = page, line, language, mark, text
        self.commands = []  # [command, lines that it prints]
        for one in text.splitlines():
            if one.startswith('$ '):
                self.commands.append([one[2:], []])
            elif self.commands:
                self.commands[-1][1].append(one)

    def __repr__(self):
        return f'{name_of(self.page)}:{self.line}'


def blocks_of(page):
    found, opened, mark = [], None, ''
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if opened is None and line.startswith('```'):
            opened = (number, line[3:].strip(), [])
        elif opened is not None and line == '```':
            found.append(Block(page, opened[0], opened[1], mark, '\n'.join(opened[2])))
            opened, mark = None, ''
        elif opened is not None:
            opened[2].append(line)
        elif line.strip():
            comment = re.fullmatch(r'<!-- (run|plan): ?(.*?) ?-->', line)
            mark = f'{comment.group(1)}:{comment.group(2)}' if comment else ''
    assert opened is None, f'{name_of(page)}: a block is not closed'
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose_of(page):
    """The page without its fenced blocks."""
    return re.sub(r'^```.*?^```$', '', page.read_text(), flags=re.M | re.S)


# ---- what the program knows ------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def helps():
    """verb or alias → its flags; the flags of all verbs are under ''."""
    text = subprocess.run([TURNOUT, 'help'], stdout=subprocess.PIPE, text=True, check=True).stdout
    all_flags, known = {'--help', '-h'}, {}
    for line in re.findall(r'^  ([a-z].*)$', text, flags=re.M):
        verb, also = line.split()[0], re.search(r'\(also: (\w+)\)', line)
        page = subprocess.run([TURNOUT, 'help', verb], stdout=subprocess.PIPE, text=True, check=True).stdout
        known[verb] = set(re.findall(r'(?<=[ ,])--?[a-z][a-z-]*\b', page)) | set(re.findall(r'^  (-\w),', page, flags=re.M))
        known[verb] |= {flag for flag in re.findall(r'-[a-zA-Z](?=, --)', page)}
        if also:
            known[also.group(1)] = known[verb]
        all_flags |= known[verb]
    known[''] = all_flags
    assert 'deploy' in known and '--var' in known['deploy'] and '-y' in known['deploy']
    return known


@pytest.fixture(scope='module')
def targets():
    return set(re.findall(r'^([a-z][a-z0-9-]*):', (TOP / 'Makefile').read_text(), flags=re.M))


def check_turnout(words, helps, where):
    verbs = [word for word in words[1:] if not word.startswith('-')]
    assert verbs and verbs[0] in helps, f'{where}: no verb {verbs[:1]}'
    for word in words[1:]:
        if word == '--':
            break
        if word.startswith('-') and word != '-':
            flag = word.split('=')[0]
            assert flag in helps[verbs[0]], f'{where}: {verbs[0]} has no flag {flag}'


COMMANDS = [(block, command) for block in BLOCKS for command, _ in block.commands]


@pytest.mark.parametrize('block,command', COMMANDS, ids=[f'{b}-{c[:40]}' for b, c in COMMANDS])
def test_command_exists(block, command, helps, targets):
    assert block.language == 'console', f'{block}: commands stand in console blocks'
    words = shlex.split(command.split(' > ')[0])
    if words[0] == 'make':
        for word in words[1:]:
            assert word in targets or re.fullmatch(r'[A-Z_]+=.*', word), f'{block}: make has no target {word}'
    else:
        assert words[0] == 'turnout', f'{block}: {words[0]} is neither turnout nor make'
        check_turnout(words, helps, block)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_words_of_the_text_exist(page, helps, targets):
    """`turnout VERB …` and `--flag` in running text."""
    reserved = reserved_verbs()
    for code in re.findall(r'`([^`\n]+)`', prose_of(page)):
        words = code.replace('…', '').split()
        if not words:
            continue
        if words[0] == 'turnout' and len(words) > 1:
            verb = words[1]
            assert verb in helps or verb in reserved or verb == '__shim', f'{name_of(page)}: `{code}`: no verb {verb}'
        elif words[0] == 'make' and len(words) > 1 and words[1] != '&&':
            assert words[1] in targets, f'{name_of(page)}: `{code}`: no target'
        flags = words if words[0] in helps or words[0] == 'turnout' or words[0].startswith('--') else []
        for word in flags:
            flag = re.split(r'[=\[]', word)[0]
            if flag.startswith('--') and flag not in ('--', '--network', '--one', '--verbose', '--write', '--name'):
                assert flag in helps[''], f'{name_of(page)}: `{code}`: no flag {flag}'


def reserved_verbs():
    """Rows of the verb table without a function."""
    return set(re.findall(r'\{"(\w+)"[^{}]*NULL\}', (TOP / 'cli/verbs.c').read_text()))


def test_reserved_verbs_of_the_readme_are_refused_by_name(tmp_path):
    line = next(l for l in (TOP / 'README.md').read_text().splitlines() if 'reserved verb (' in l)
    named = re.findall(r'`(\w+)`', line[line.index('(') : line.index(')')])
    assert len(named) > 5
    for verb in named:
        done = run([TURNOUT, verb], tmp_path)
        assert done.returncode == 64 and f"'{verb}' is reserved" in done.stderr, (verb, done)


# ---- running ---------------------------------------------------------------------------------------------------


def free_ports(count):
    """A block of loopback ports that nobody listens on, below the kernel's own range."""
    for start in range(23000 + os.getpid() % 97 * 40, 29000, 40):
        sockets = []
        try:
            for port in range(start, start + count):
                one = socket.socket()
                sockets.append(one)
                one.bind(('127.0.0.1', port))
            return start
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError('no free ports')


@pytest.fixture
def box(tmp_path):
    if not shutil.which('haproxy', path=environment(tmp_path)['PATH']):
        pytest.skip('haproxy is not installed')
    shutil.copy(SUPPORT / 'testserver', tmp_path / 'server')
    start = free_ports(20)
    (tmp_path / 'turnout.yaml').write_text(PLAN % (start, start + 1, start + 19))
    yield tmp_path
    run([TURNOUT, 'destroy', '--yes', '--progress', 'quiet'], tmp_path)


def plain(text):
    """Without what differs from run to run."""
    text = re.sub(r'\b[0-9a-f]{12}\b', 'REVISION', text)
    text = re.sub(r'\br-[0-9a-f]{6}\b', 'r-ID', text)
    text = re.sub(r'\b\d+(\.\d+)?(ms|s)\b', 'TIME', text)
    return [line.rstrip() for line in text.strip('\n').splitlines()]


RUNS = [block for block in BLOCKS if block.mark.startswith('run:')]


@pytest.mark.parametrize('block', RUNS, ids=repr)
def test_marked_block_runs(block, box):
    where, *options = [part.strip() for part in block.mark[4:].split(',')]
    kind, *versions = where.split()
    assert kind == 'process', f'{block}: unknown fixture {kind}'
    for version in versions:
        done = run([TURNOUT, 'deploy', '--yes', '--progress', 'quiet', '--var', f'tag={version}'], box)
        assert done.returncode == 0, done
    wanted = next((int(option[5:]) for option in options if option.startswith('exit=')), 0)
    for number, (command, shown) in enumerate(block.commands):
        done = run(['/bin/sh', '-c', command], box)
        last = number + 1 == len(block.commands)
        assert done.returncode == (wanted if last else 0), f'{block}: {command}\n{done.stdout}\n{done.stderr}'
        if 'same' in options and shown:
            assert plain(done.stdout) == plain('\n'.join(shown)), f'{block}: {command} prints something else'


def test_some_blocks_run():
    assert len(RUNS) >= 8
    assert any('same' in block.mark for block in RUNS)


# ---- plans -----------------------------------------------------------------------------------------------------


def tries(plan):
    found = re.findall(r'^# try: (.*)$', plan.read_text(), flags=re.M)
    assert found, f'{name_of(plan)}: no line "# try: FLAGS"'
    return [shlex.split(one) for one in found]


@pytest.mark.parametrize('plan', PLANS, ids=name_of)
def test_plan_is_valid_and_commented(plan, tmp_path):
    lines = plan.read_text().splitlines()
    assert lines[0].startswith('# yaml-language-server: $schema='), name_of(plan)
    assert lines[1].startswith('# '), name_of(plan)
    for flags in tries(plan):
        done = run([TURNOUT, 'validate', '-f', str(plan), *flags], tmp_path)
        assert done.returncode == 0 and 'is valid' in done.stdout, done


@pytest.mark.parametrize('plan', [p for p in PLANS if p.name.startswith('process-')], ids=name_of)
def test_process_plan_dry_runs_and_changes_nothing(plan, tmp_path):
    folder = tmp_path / 'plans'
    shutil.copytree(TOP / 'plans', folder)
    before = sorted(str(p) for p in folder.rglob('*'))
    for flags in tries(plan):
        done = run([TURNOUT, 'deploy', '--dry-run', '-f', plan.name, *flags], folder, DEMO_API_KEY='x',
                   TURNOUT_STATE=str(tmp_path / 'state'))
        assert done.returncode == 0, done
        assert 'dry run: nothing was changed' in done.stdout, done
        assert re.search(r'[1-9]\d* to create', done.stdout), done
    assert sorted(str(p) for p in folder.rglob('*')) == before


def test_every_plan_is_listed():
    listed = set(re.findall(r'\]\((\S+\.yaml)\)', (TOP / 'plans/README.md').read_text()))
    assert listed == {plan.name for plan in PLANS}


WHOLE = [block for block in BLOCKS if block.mark.startswith('plan:')]


@pytest.mark.parametrize('block', WHOLE, ids=repr)
def test_plan_in_a_page_is_valid(block, tmp_path):
    assert block.language == 'yaml', f'{block}: a plan stands in a yaml block'
    (tmp_path / 'turnout.yaml').write_text(block.text + '\n')
    flags = [word for value in block.mark[5:].split() for word in ('--var', value)]
    done = run([TURNOUT, 'validate', *flags], tmp_path)
    assert done.returncode == 0, done


# ---- tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('page', ['README.md', 'docs/exit-codes.md'])
def test_exit_codes_are_the_programs(page, tmp_path):
    told = re.findall(r'^ +(\d+)  ', run([TURNOUT, 'help', 'exit-codes'], tmp_path).stdout, flags=re.M)
    shown = re.findall(r'^\| (\d+) \|', (TOP / page).read_text(), flags=re.M)
    assert shown == told


def test_event_kinds_are_the_programs():
    source = (TOP / 'lib/report/event.c').read_text()
    names = re.findall(r'"(\w+)"', source[source.index('names[] = {') : source.index('};')])
    page = (TOP / 'docs/events.md').read_text()
    table = page[page.index('## Kinds') : page.index('`instances` of `world`')]
    assert re.findall(r'^\| `(\w+)` \|', table, flags=re.M) == names


def test_events_of_a_run_are_documented(box):
    page = (TOP / 'docs/events.md').read_text()
    rows = dict(re.findall(r'^\| `(\w+)` \|[^|]*\|([^|]*)\|$', page[page.index('## Kinds') :], flags=re.M))
    common = set(re.findall(r'`(\w+)`', ' '.join(re.findall(r'^\| (`[^|]*) \| (?:number|text|object) \|', page, flags=re.M))))
    for flags in (['tag=v1'], ['tag=v2', '--set', 'services.web.env.CRASH_AT_START=1']):
        done = run([TURNOUT, 'deploy', '--yes', '--progress', 'json', '-o', 'json', '--var', *flags], box)
        events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{')]
        assert {'rollout', 'placement', 'done', 'world'} <= {event['kind'] for event in events}
        for event in events:
            assert set(event) <= common, event
            assert set(event.get('data', {})) <= set(re.findall(r'`(\w+)`', rows[event['kind']])), event
        result = page[page.index('## The result document') :]
        assert set(json.loads(done.stdout)) <= set(re.findall(r'`(\w+)`', result)), done.stdout


def test_suites_of_the_testing_page_exist():
    script = (TOP / 'tools/check.sh').read_text()
    table = script[script.index('table="') + 7 :]
    suites = dict(line.split()[:2] for line in table[: table.index('"')].strip().splitlines())
    rows = re.findall(r'^\| (`[a-z0-9`, -]+`) \| ([^|]*) \|', (TOP / 'docs/testing.md').read_text(), flags=re.M)
    shown = {}
    for names, budgets in rows:
        for name, budget in zip(re.findall(r'`([a-z0-9-]+)`', names), budgets.split(',') * 9):
            shown[name] = budget.strip()
    assert set(shown) == set(suites)
    for name, budget in shown.items():
        if budget.endswith(' s'):
            assert budget == f'{suites[name]} s', name


def test_reference_is_made_from_the_key_table():
    done = subprocess.run([sys.executable, str(TOP / 'tools/plan_reference.py'), '--check'], stderr=subprocess.PIPE,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- links -----------------------------------------------------------------------------------------------------


def anchors_of(page):
    heads = re.findall(r'^#+ (.*)$', prose_of(page), flags=re.M)
    return {re.sub(r'[^\w\- ]', '', head.lower()).replace(' ', '-') for head in heads}


@pytest.mark.parametrize('page', [*PAGES, TOP / 'tests/support/README.md'], ids=name_of)
def test_links_resolve(page):
    for text, link in re.findall(r'\[([^\]]+)\]\(([^)]+)\)', prose_of(page)):
        if re.match(r'[a-z]+:', link):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f'{name_of(page)}: [{text}]({link})'
        if anchor:
            assert anchor in anchors_of(target), f'{name_of(page)}: [{text}]({link}): no such heading'


def test_every_page_is_linked_from_the_readme():
    links = set(re.findall(r'\]\((docs/[a-z-]+\.md)\)', (TOP / 'README.md').read_text()))
    pages = {name_of(page) for page in PAGES if page.parent.name == 'docs'}
    assert links == pages


FILES = re.compile(r'`((?:lib|cli|include|tests|tools|docs|plans)/[\w./-]+\.(?:c|h|py|sh|md|txt|yaml))`')


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_files_named_in_the_text_exist(page):
    for path in FILES.findall(prose_of(page)):
        assert (TOP / path).exists(), f'{name_of(page)}: `{path}`'
