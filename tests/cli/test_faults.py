"""What is unknown is not absent; leases across machines; hooks of dead runs; environments beside each other."""

import json
import os
import re
import signal

import pytest

from test_crash import BOB, check_end, check_floor

SLOW = ('--set', 'rollout.healthy_deadline=10s', '--set', 'rollout.progress_deadline=20s')


def serving(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.cut = len(box.log()), len(box.log('edge.json'))


# ---- unknown


def test_a_host_does_not_answer_for_a_while(box):
    """Its instances exist, so nothing more is started than the surge allows; nothing that serves is stopped below the
    floor; when it is back the rollout goes on."""
    box.edit(lambda w: w.update(hosts=['a', 'b']))
    serving(box)
    box.script(ready_after_ms={'v2': 300})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', *SLOW)
    box.until(lambda: box.versions().get('v2'), 'the first start')
    box.script(hosts_down=['a'])
    looks = box.count('observe')
    box.until(lambda: box.count('observe') > looks + 5, 'it looks on')
    box.script()
    ended = box.end(p)
    assert ended.code == 0, ended
    check_floor(box, box.cut)
    check_end(box, 'v2')


@pytest.mark.parametrize('answer', [None, {'message': 'reset', 'code': 'unknown', 'done': True, 'times': 1}],
                         ids=['answered', 'answer-lost'])
def test_a_host_is_gone_right_after_a_start(box, answer):
    """What was started there is seen by no look, and exists all the same: nothing is started in its place."""
    box.edit(lambda w: w.update(hosts=['a', 'b']))
    serving(box)
    start = {'then': {'hosts_down': ['a']}}
    box.script(start={**start, 'fail': answer} if answer else start)
    p = box.start('deploy', '--yes', '--var', 'tag=v2', *SLOW)
    box.until(lambda: box.json()['script'].get('hosts_down'), 'the host is gone')
    looks = box.count('observe')
    box.until(lambda: box.count('observe') > looks + 5, 'it looks on')
    box.script()
    ended = box.end(p)
    assert ended.code == 0, ended
    check_floor(box, box.cut)
    check_end(box, 'v2')


def test_a_host_stays_away(box):
    """Nothing can go on: the deadline, and the way back is not there either: mixed, and the world is as it may be."""
    box.edit(lambda w: w.update(hosts=['a', 'b']))
    serving(box)
    box.script(ready_after_ms={'v2': 300})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', '--set', 'rollout.progress_deadline=1500ms')
    box.until(lambda: box.versions().get('v2'), 'the first start')
    box.script(hosts_down=['a', 'b'])
    ended = box.end(p)
    assert ended.code == 5, ended
    assert 'does not answer' in ended.err
    assert box.versions()['v1'] == 2
    box.script()
    box.ok('rollback', '--yes')
    check_floor(box, box.cut)
    check_end(box, 'v1')


def test_the_balancer_does_not_answer_for_a_while(box):
    serving(box)
    box.script(ready_after_ms={'v2': 200})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', *SLOW)
    box.until(lambda: box.versions().get('v2'), 'the first start')
    box.script('edge.json', down=True)
    looks, stops = box.count('observe'), box.count('stop')
    box.until(lambda: box.count('observe') > looks + 5, 'it looks on')
    assert box.count('stop') == stops, 'nothing is stopped while the last hop is unknown'
    box.script('edge.json')
    ended = box.end(p)
    assert ended.code == 0, ended
    check_floor(box, box.cut)
    check_end(box, 'v2')


def test_running_requests_are_waited_for(box):
    """The old one is stopped when its last request is over, or at the cap: not before."""
    serving(box)
    box.script('edge.json', drain_ms=400)
    ended = box.deploy('v2')
    assert ended.code == 0
    assert drains(ended) == [True, True], ended.err
    check_floor(box, box.cut)


def drains(ended):
    """For each that was stopped: was it out of rotation for 390 ms?"""
    spans = re.findall(r'drained in (\S+?)(ms|s)\b', ended.err)
    return [float(n) * (1 if unit == 'ms' else 1000) >= 390 for n, unit in spans]


def test_twin_without_drain(box):
    """With that step switched off the check above sees it: it can fail."""
    serving(box)
    box.script('edge.json', drain_ms=400)
    ended = box.deploy('v2', env={'TURNOUT_UNSAFE': 'no-drain'})
    assert ended.code == 0 and drains(ended) != [True, True], ended.err


def test_rights_are_lost_on_the_way(box):
    serving(box)
    box.script(start={'fail': {'v2': {'message': 'token expired', 'code': 'auth'}}})
    ended = box.deploy('v2')
    assert ended.code in (3, 4) and 'token expired' in ended.err, ended
    box.script()
    box.run('rollback', '--yes')
    assert box.versions() == {'v1': 2}


# ---- leases across machines


def other_boot(box):
    """The holder's claim as if it came from another machine."""
    def change(world):
        for name, body in world['docs']['local'].items():
            if name.startswith('lease-') and name.count('-') == 2:
                body['boot'] = 'another-machine'
    box.edit(change)


def test_a_dead_holder_on_another_machine_expires(box):
    serving(box)
    box.script(kill_at={'effect': 'stop', 'point': 'after', 'n': 1})
    assert box.deploy('v2', '--set', 'policy.lease_ttl=1s').code == -signal.SIGKILL
    box.script()
    other_boot(box)
    looks = box.count('doc_list')
    ended = box.deploy('v3', '--set', 'policy.lease_ttl=1s', env=BOB)
    assert ended.code == 0 and 'taken over from alice' in ended.err, ended
    assert box.count('doc_list') > looks + 5, 'it was watched for the TTL'
    check_floor(box, box.cut)
    check_end(box, 'v3')


def test_a_living_holder_on_another_machine_is_left_alone(box):
    serving(box)
    box.script(ready_after_ms={'v2': 60000})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', '--set', 'policy.lease_ttl=1s', *SLOW)
    box.until(lambda: box.versions().get('v2'), 'the first start')
    other_boot(box)
    ended = box.deploy('v3', '--set', 'policy.lease_ttl=1s', env=BOB)
    assert ended.code == 7, ended
    box.script()
    assert box.end(p).code == 0
    check_end(box, 'v2')


@pytest.mark.tsan
def test_a_holder_that_slept_too_long_changes_nothing_more(box):
    """SIGSTOP, another machine takes over after the TTL, SIGCONT: its effects are refused, it ends with 7."""
    serving(box)
    box.script(ready_after_ms={'v2': 60000})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', '--set', 'policy.lease_ttl=1s', *SLOW)
    box.until(lambda: box.versions().get('v2'), 'the first start')
    with box.locked('world.json'), box.locked('edge.json'):  # it must not sleep with a lock of the fakes
        p.send_signal(signal.SIGSTOP)
        os.waitpid(p.pid, os.WUNTRACED)
    other_boot(box)
    box.script()
    ended = box.deploy('v3', '--set', 'policy.lease_ttl=1s', env=BOB)
    assert ended.code == 0, ended
    effects = box.log()
    p.send_signal(signal.SIGCONT)
    ended = box.end(p)
    assert ended.code == 7, ended
    assert 'lease' in ended.err and 'turnout status' in ended.err
    assert box.log() == effects
    check_end(box, 'v3')


@pytest.mark.tsan
def test_two_at_the_same_moment(box):
    """One gets the lease, the other is told so; never both, never none."""
    box.edit(lambda w: w.update(hosts=['a', 'b', 'c']))
    serving(box)
    box.script(start={'latency_ms': 1000})
    runs = [box.start('deploy', '--yes', '--var', f'tag=v{n}', env={'TURNOUT_STATE': f'state{n}'}) for n in (2, 3, 4)]
    codes = [box.end(p).code for p in runs]
    assert sorted(codes) == [0, 7, 7], codes
    check_end(box, f'v{codes.index(0) + 2}')


# ---- hooks


HOOK = '''health: { native: true }
    hooks: { pre_deploy: [{ run: "echo began >>hooks; while ! test -e go; do read -t 0.02 x <>fifo; done; echo ended >>hooks" }] }'''


def kill_in_hook(box):
    serving(box)
    os.mkfifo(box.dir / 'fifo')
    text = (box.dir / 'turnout.yaml').read_text()
    box.write('turnout.yaml', text.replace('health: { native: true }', HOOK).replace('run: "', 'run: [bash, -c, "')
              .replace('>>hooks" }', '>>hooks"] }'))
    p = box.start('deploy', '--yes', '--var', 'tag=v2')
    box.until(lambda: (box.dir / 'hooks').exists(), 'the hook')
    p.send_signal(signal.SIGKILL)
    box.end(p)


def test_a_hook_outlives_its_run_and_is_not_run_twice(box):
    kill_in_hook(box)
    p = box.start('resume', '--yes')
    box.write('go', '')
    ended = box.end(p)
    if ended.code == 6:  # its outcome was not known yet
        box.until(lambda: 'ended' in (box.dir / 'hooks').read_text(), 'the end of the hook')
        ended = box.run('resume', '--yes')
    assert ended.code == 0, ended
    assert (box.dir / 'hooks').read_text() == 'began\nended\n'
    check_end(box, 'v2')


def test_a_hook_whose_outcome_is_not_known_here_is_asked_for(box):
    kill_in_hook(box)
    box.write('go', '')
    box.until(lambda: 'ended' in (box.dir / 'hooks').read_text(), 'the end of the hook')
    ended = box.run('resume', '--yes', env=BOB)
    assert ended.code == 6 and '--hook' in ended.err, ended
    assert (box.dir / 'hooks').read_text() == 'began\nended\n'
    box.ok('resume', '--yes', '--hook', 'skip', env=BOB)
    assert (box.dir / 'hooks').read_text() == 'began\nended\n'
    check_end(box, 'v2')


# ---- beside each other


def test_environments_do_not_see_each_other(box):
    box.plan()
    with open(box.dir / 'turnout.yaml', 'a') as plan:
        plan.write('environments: { prod: { balancers: { edge: { fake: { file: prod.json } } } } }\n')
    box.ok('deploy', '--yes')
    first = box.instances
    box.ok('deploy', '--yes', '-e', 'prod', '--var', 'tag=v9')
    assert box.versions() == {'v1': 2, 'v9': 2}
    assert box.ok('deploy', '--yes').out.startswith('nothing to do')
    assert len(json.loads(box.ok('history', '-o', 'json').out)) == 1
    box.ok('restart', '--yes', '-e', 'prod')
    box.ok('destroy', '--yes', '-e', 'prod')
    assert box.instances == first
    assert box.ok('deploy', '--yes').out.startswith('nothing to do')


@pytest.mark.tsan
def test_two_clusters_behind_one_balancer(box):
    box.plan()
    text = (box.dir / 'turnout.yaml').read_text()
    box.write('turnout.yaml', text.replace('clusters: { c: { fake: { file: world.json } } }',
                                           'clusters: { c: { fake: { file: world.json } }, d: { fake: { file: d.json } } }')
              .replace('clusters: [c]', 'clusters: [c, d]'))
    box.ok('deploy', '--yes')
    servers = set(box.json('edge.json')['traffic']['shop_web']['servers'])
    assert len(servers) == 4
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    assert box.versions() == {'v2': 2}
    assert {one['version'] for one in box.json('d.json')['instances'].values()} == {'v2'}
    servers = set(box.json('edge.json')['traffic']['shop_web']['servers'])
    assert len(servers) == 4 and len([s for s in servers if s.endswith('.d')]) == 2
    assert box.ok('deploy', '--yes', '--var', 'tag=v2').out.startswith('nothing to do')
    box.ok('deploy', '--yes', '-c', 'd', '--var', 'tag=v3')
    assert box.versions() == {'v2': 2}
    assert {one['version'] for one in box.json('d.json')['instances'].values()} == {'v3'}
    box.script('d.json', exit_after_start={'v4': 1})
    ended = box.deploy('v4')
    assert ended.code == 3, ended
    assert box.versions() == {'v2': 2}, 'what went well elsewhere goes back, too'
    assert {one['version'] for one in box.json('d.json')['instances'].values()} == {'v3'}


# ---- terminals


@pytest.mark.tsan
def test_live_view(box):
    serving(box)
    box.script(ready_after_ms={'v2': 300})
    code, got = box.on_terminal('deploy', '--yes', '--var', 'tag=v2')
    text = got.decode()
    assert code == 0 and '\x1b[' in text and 'serving' in text and '^C stops at a safe point' in text
    assert 'shop-web-' in text and 'rolling' in text
    code, got = box.on_terminal('deploy', '--yes', '--var', 'tag=v3', '--progress', 'plain', '--no-color')
    assert code == 0 and b'\x1b' not in got


def test_interrupted_on_a_terminal(box):
    serving(box)
    box.script(ready_after_ms={'v2': 60000})
    code, got = box.on_terminal('deploy', '--yes', '--var', 'tag=v2', *SLOW, keys=b'\x03', after=b'checking')
    assert code == 130 and b'turnout resume' in got, got
    box.script()
    box.ok('resume', '--yes')
    check_end(box, 'v2')


def test_status_is_watched(box):
    serving(box)
    code, got = box.on_terminal('status', '-w', '--interval', '20ms', keys=b'\x03', after=b'\x1b[H\x1b[J')
    assert code in (0, 130) and got.count(b'shop web') >= 1, got


@pytest.mark.parametrize('env', [{'TURNOUT_YES': '1'}, {'TURNOUT_AUTO_APPROVE': 'true'}])
def test_flags_from_the_environment(box, env):
    box.plan()
    box.ok('deploy', env={**env, 'TURNOUT_VAR_tag': 'v5', 'TURNOUT_PROGRESS': 'quiet'})
    assert box.versions() == {'v5': 2}
    assert box.run('restart', env={'TURNOUT_YES': '0'}).code == 64
