"""kill -9 before and after every call that changes something, then resume: here and from a machine with an empty store."""

import json
import signal

import pytest

from test_deploy import changing

CALLS = [('world.json', 'doc_create', 3), ('world.json', 'start', 2), ('world.json', 'set_restart', 4),
         ('world.json', 'stop', 2), ('edge.json', 'apply', 4)]
POINTS = [(file, slot, n, point) for file, slot, most in CALLS for n in range(1, most + 1)
          for point in ('before', 'after')]
BOB = {'TURNOUT_STATE': 'bobs-state', 'TURNOUT_ACTOR': 'bob'}


def killed(box, file, slot, n, point, version='v2', number=signal.SIGKILL):
    """Runs a deploy that ends itself there; it may be over before it comes to that call."""
    have = box.count(slot, file)
    box.script(file, kill_at={'effect': slot, 'point': point, 'n': have + n, 'signal': int(number)})
    ended = box.deploy(version)
    box.script(file)
    return ended


def check_floor(box, cut):
    """Never fewer than two in rotation, never more than three exist: over both runs."""
    serving, exist = 2, 2
    for line in box.log('edge.json')[cut[1]:]:
        serving += {'add': 1, 'drop': -1}[line.split()[0]]
        assert serving >= 2, box.log('edge.json')
    for line in box.log()[cut[0]:]:
        exist += {'start': 1, 'stop': -1}.get(line.split()[0], 0)
        assert exist <= 3, box.log()


def check_end(box, version):
    assert box.versions() == {version: 2}
    assert {one['policy'] for one in box.instances.values()} == {'unless-stopped'}
    assert box.servers() == set(box.instances)
    effects = [one['labels']['turnout.effect'] for one in box.instances.values()]
    assert len(set(effects)) == 2, effects
    assert box.ok('resume', '--yes').out.startswith('nothing to resume')
    before = changing(box.counters())
    assert box.ok('deploy', '--yes', '--var', f'tag={version}').out.startswith('nothing to do')
    assert changing(box.counters()) == before


@pytest.fixture
def serving(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.cut = len(box.log()), len(box.log('edge.json'))
    return box


def ids(point):
    return f'{point[1]}-{point[2]}-{point[3]}'


@pytest.mark.crash
@pytest.mark.parametrize('other', [None, BOB], ids=['here', 'other-machine'])
@pytest.mark.parametrize('point', POINTS, ids=ids)
def test_killed_then_resumed(serving, point, other):
    box = serving
    ended = killed(box, *point)
    assert ended.code in (-signal.SIGKILL, 0), ended
    if ended.code == 0:
        assert point[1:] == ('doc_create', 3, 'after'), 'there are that many calls'
    ended = box.run('resume', '--yes', env=other)
    assert ended.code == 0, ended
    if box.versions() != {'v2': 2}:  # it was killed before it was told of: nothing was left
        assert 'nothing to resume' in ended.out and box.versions() == {'v1': 2}
        assert point[1:3] == ('doc_create', 1)
        assert box.deploy('v2').code == 0
    check_floor(box, box.cut)
    check_end(box, 'v2')


@pytest.mark.crash
@pytest.mark.parametrize('point', [p for p in POINTS if p[1] != 'doc_create'], ids=ids)
def test_killed_then_rolled_back(serving, point):
    """From another machine, which is harder: its store is empty."""
    box, other = serving, BOB
    before = {name: one['labels']['turnout.revision'] for name, one in box.instances.items()}
    ended = killed(box, *point)
    assert ended.code == -signal.SIGKILL, ended
    ended = box.run('rollback', '--yes', env=other)
    assert ended.code == 0, ended
    check_floor(box, box.cut)
    assert {one['labels']['turnout.revision'] for one in box.instances.values()} == set(before.values())
    check_end(box, 'v1')


@pytest.mark.crash
@pytest.mark.parametrize('point', [p for p in POINTS if p[1] != 'doc_create'][::3], ids=ids)
def test_killed_twice(serving, point):
    """The run that finishes it is killed, too."""
    box = serving
    killed(box, *point)
    box.script(kill_at={'effect': 'stop', 'point': 'after', 'n': box.count('stop') + 1})
    ended = box.run('resume', '--yes', env=BOB)
    assert ended.code in (-signal.SIGKILL, 0), ended
    box.script()
    box.ok('resume', '--yes')
    check_floor(box, box.cut)
    check_end(box, 'v2')


@pytest.mark.crash
@pytest.mark.parametrize('point', [('world.json', 'start', 1, 'after'), ('edge.json', 'apply', 2, 'after'),
                                   ('world.json', 'stop', 1, 'after')], ids=ids)
def test_killed_while_it_goes_back(serving, point):
    box = serving
    box.script(kill_at={'effect': 'stop', 'point': 'after', 'n': 1})
    assert box.deploy('v2').code == -signal.SIGKILL
    box.script()
    file, slot, n, when = point
    box.script(file, kill_at={'effect': slot, 'point': when, 'n': box.count(slot, file) + n})
    ended = box.run('rollback', '--yes')
    box.script(file)
    if ended.code == -signal.SIGKILL:
        box.ok('resume', '--yes', env=BOB)
    check_floor(box, box.cut)
    check_end(box, 'v1')


@pytest.mark.crash
def test_another_deploy_over_it(serving):
    """Not only resume: a deploy takes over what a dead run left, and says so."""
    box = serving
    assert killed(box, 'edge.json', 'apply', 1, 'after').code == -signal.SIGKILL
    ended = box.deploy('v3', env=BOB)
    assert ended.code == 0, ended
    assert 'taken over from alice' in ended.err
    check_floor(box, box.cut)
    check_end(box, 'v3')


@pytest.mark.crash
def test_what_was_left_is_shown(serving):
    box = serving
    killed(box, 'world.json', 'stop', 1, 'after')
    for env in (None, BOB):
        status = json.loads(box.ok('status', '-o', 'json', env=env).out)
        assert status['lease']['unfinished'], status['lease']
        assert 'turnout resume' in box.ok('status', env=env).out
        assert 'turnout resume' in box.ok('lease', env=env).out
    assert box.run('wait', '--timeout', '100ms').code == 6
    rows = json.loads(box.ok('history', '-o', 'json').out)
    assert rows[0]['state'] != 'done'


@pytest.mark.crash
def test_first_deployment_killed(box):
    box.plan()
    assert killed(box, 'world.json', 'start', 1, 'after', 'v1').code == -signal.SIGKILL
    box.ok('resume', '--yes', env=BOB)
    check_end(box, 'v1')


# ---- signals


@pytest.mark.tsan
@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize('point', [('world.json', 'start', 1, 'before'), ('world.json', 'start', 1, 'after'),
                                   ('edge.json', 'apply', 1, 'before'), ('world.json', 'stop', 1, 'before'),
                                   ('world.json', 'stop', 2, 'before')], ids=ids)
def test_signal_once(serving, point, number, code):
    """A safe point: moves in flight land, the lease is given back, it can be resumed."""
    box = serving
    ended = killed(box, *point, number=number)
    assert 'stopping at the next safe point' in ended.err
    if ended.code == 0:
        assert point[1:3] == ('stop', 2), 'the last move landed, and that was all'
    else:
        assert ended.code == code, ended
        assert 'turnout resume' in ended.err
        assert box.ok('lease', env=BOB).out.startswith('free; rollout r-')
        box.ok('resume', '--yes', env=BOB)
    check_floor(box, box.cut)
    check_end(box, 'v2')


@pytest.mark.tsan
def test_signal_twice(serving):
    """The second one: out at once, although a start takes long; nothing is lost."""
    box = serving
    box.script(start={'latency_ms': 20000})
    p = box.start('deploy', '--yes', '--var', 'tag=v2')
    box.until(lambda: box.count('start') > 2, 'the first start')
    p.send_signal(signal.SIGINT)
    while b'press again to leave at once' not in p.stderr.readline():
        assert p.poll() is None
    p.send_signal(signal.SIGINT)
    ended = box.end(p, 5)
    assert ended.code == 130, ended
    box.script()
    box.ok('resume', '--yes')
    check_end(box, 'v2')


def test_signal_while_waiting_for_the_lease(serving):
    box = serving
    box.script(start={'latency_ms': 1500})
    p = box.start('deploy', '--yes', '--var', 'tag=v2')
    box.until(lambda: 'held by' in box.run('lease').out, 'the lease')
    opened, looks = box.count('open'), box.count('doc_list')
    q = box.start('deploy', '--yes', '--var', 'tag=v3', '--lease-wait=1m')
    box.until(lambda: box.count('open') > opened and box.count('doc_list') > looks + 4, 'the other one waits')
    q.send_signal(signal.SIGINT)
    ended = box.end(q, 10)
    assert ended.code == 130, ended
    assert box.end(p).code == 0
    check_end(box, 'v2')


def test_signal_while_it_goes_back(serving):
    """An interrupted rollback is still a rollback when it is resumed."""
    box = serving
    box.script(unhealthy={'v2': 100}, kill_at={'effect': 'stop', 'point': 'before', 'n': box.count('stop') + 1,
                                              'signal': int(signal.SIGINT)})
    ended = box.deploy('v2', '--set', 'rollout.min_healthy_time=500ms')
    assert ended.code in (130, 3), ended
    box.script()
    box.ok('resume', '--yes', env=BOB)
    check_end(box, 'v1')


def test_sighup_is_a_stop_too(serving):
    box = serving
    ended = killed(box, 'world.json', 'start', 1, 'after', number=signal.SIGHUP)
    assert ended.code in (129, 130, 143), ended
    box.ok('resume', '--yes')
    check_end(box, 'v2')
