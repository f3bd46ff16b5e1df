"""What deploy, rollback, resume and the verbs beside them do to the world, and how they end."""

import json
import re

import pytest

READS = {'open', 'observe', 'doc_list', 'resolve', 'logs', 'doctor', 'current', 'differs'}


def changing(counters):
    return {slot: n for world in counters.values() for slot, n in world.items() if slot not in READS}


@pytest.mark.tsan
def test_a_second_deploy_changes_nothing_after_one_observation(box):
    box.plan()
    box.ok('deploy', '--yes')
    before = box.counters()
    assert box.ok('deploy', '--yes').out == 'nothing to do: everything is as the plan wants it\n'
    after = box.counters()
    assert changing(after) == changing(before)
    assert after['world.json']['observe'] == before['world.json']['observe'] + 1


@pytest.mark.parametrize('args', [['diff'], ['diff', '-o', 'json'], ['diff', '--out', 'x.json'], ['deploy', '--dry-run'],
                                  ['deploy', '--dry-run', '--yes'], ['rollback', '--dry-run'], ['destroy', '--dry-run'],
                                  ['restart', '--dry-run'], ['prune', '--dry-run'], ['status'], ['lease'], ['doctor'],
                                  ['logs'], ['history'], ['validate', '--online'], ['deploy'], ['rollback'],
                                  ['restart'], ['resume'], ['abort'], ['destroy']])
def test_no_changing_call(box, args):
    """Neither a look, nor a dry run, nor a deploy that is not confirmed changes anything."""
    box.plan()
    box.ok('deploy', '--yes')
    box.deploy('v2')
    world, before = box.instances, changing(box.counters())
    box.run(*args, '--var', 'tag=v3')
    assert changing(box.counters()) == before
    assert box.instances == world


@pytest.mark.parametrize('verb', ['deploy', 'rollback', 'restart', 'resume', 'abort', 'prune', 'destroy'])
def test_without_a_terminal_yes_is_asked_for(box, verb):
    box.plan()
    box.ok('deploy', '--yes')
    ended = box.run(verb, '--var', 'tag=v2')
    assert ended.code == 64, ended
    assert '--yes' in ended.err
    ended = box.run(verb, '--no-input', '--var', 'tag=v2')
    assert ended.code == 64 and '--yes' in ended.err


def test_on_a_terminal_it_asks(box):
    box.plan()
    code, got = box.on_terminal('deploy', keys=b'n\n')
    assert code == 1 and b'Deploy this? [y/N]' in got and box.instances == {}
    code, got = box.on_terminal('deploy', '--no-input', keys=b'y\n')
    assert code == 64 and box.instances == {}
    code, got = box.on_terminal('deploy', keys=b'y\n')
    assert code == 0 and box.versions() == {'v1': 2}, got
    code, got = box.on_terminal('destroy', keys=b'shap\n')
    assert code == 1 and box.versions() == {'v1': 2}, got
    code, got = box.on_terminal('destroy', keys=b'shop\n')
    assert code == 0 and box.versions() == {}, got


def test_old_capacity_goes_last(box):
    """Start, admit, drop, stop: never fewer than two in rotation, never more than three exist."""
    box.plan()
    box.ok('deploy', '--yes')
    cut = len(box.log()), len(box.log('edge.json'))
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    world = [line.split()[0] for line in box.log()[cut[0]:]]
    exist = 2
    for what in world:
        exist += {'start': 1, 'stop': -1}.get(what, 0)
        assert 2 <= exist <= 3
    serving = 2
    for line in box.log('edge.json')[cut[1]:]:
        serving += {'add': 1, 'drop': -1}[line.split()[0]]
        assert 2 <= serving <= 3
    assert box.versions() == {'v2': 2}


def test_restart_policies(box):
    box.plan('one.yaml')
    box.ok('deploy', '--yes')
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    new, = box.instances
    old = box.log()[0].split()[1]
    mine = [line for line in box.log() if old in line]
    assert [' '.join(line.split()[::2]) for line in mine] == [
        'start on', 'set_restart unless-stopped', 'set_restart no', 'stop SIGTERM']
    assert box.instances[new]['policy'] == 'unless-stopped'


@pytest.mark.tsan
def test_depends_on(box):
    box.plan('three.yaml')
    box.ok('deploy', '--yes')
    started = [re.match(r'start shop-(\w+)-', line) for line in box.log()]
    assert [m.group(1) for m in started if m] == ['db', 'api', 'front']
    box.ok('destroy', '--yes')
    cut = [re.match(r'stop shop-(\w+)-', line) for line in box.log()]
    assert sorted(m.group(1) for m in cut if m) == ['api', 'db', 'front']


def test_what_depends_waits_and_a_failure_below_stops_it(box):
    box.plan('three.yaml')
    box.script(start={'fail': {'api': 'no such program'}})
    ended = box.run('deploy', '--yes')
    assert ended.code == 1, ended
    assert 'api@c: an instance could not be started: no such program' in ended.err
    assert box.instances == {} and not [line for line in box.log() if 'front' in line]


def test_one_service_only(box):
    box.plan('three.yaml')
    box.ok('deploy', 'api', '--yes')
    assert [one['labels']['turnout.service'] for one in box.instances.values()] == ['api']
    box.ok('deploy', '-s', 'f*', '--yes')
    assert sorted(one['labels']['turnout.service'] for one in box.instances.values()) == ['api', 'front']
    box.ok('deploy', '--yes')
    before = box.instances
    box.ok('deploy', 'db', '--yes', '--var', 'tag=v2')
    changed = [one['labels']['turnout.service'] for name, one in box.instances.items() if name not in before]
    assert changed == ['db'] and len(box.instances) == 3


def test_scale_replaces_nothing(box):
    box.plan()
    box.ok('deploy', '--yes')
    first = set(box.instances)
    box.ok('deploy', '--yes', '--set', 'services.web.replicas=4')
    assert first < set(box.instances) and len(box.instances) == 4
    box.ok('deploy', '--yes', '--set', 'services.web.replicas=1')
    assert len(box.instances) == 1
    box.ok('deploy', '--yes', '--set', 'services.web.replicas=0')
    assert box.instances == {} and box.json('edge.json')['traffic'].get('shop_web', {}).get('servers', {}) == {}
    assert box.ok('deploy', '--yes', '--set', 'services.web.replicas=0').out.startswith('nothing to do')


def test_a_crashed_instance_is_replaced(box):
    box.plan()
    box.ok('deploy', '--yes')
    dead, kept = sorted(box.instances)
    box.edit(lambda w: w['instances'][dead].update(state='exited', exit_code=1))
    assert 'repair' in box.ok('diff').out
    box.ok('deploy', '--yes')
    assert len(box.instances) == 2 and kept in box.instances
    assert all(one['state'] == 'running' for one in box.instances.values())
    assert box.servers() == set(box.instances)


def test_weights_restart_nothing(box):
    box.plan()
    box.ok('deploy', '--yes')
    before, calls = box.instances, changing(box.counters())
    box.write('weight.yaml', 'services: { web: { expose: [{ balancer: edge, upstream: shop_web, port: http, drain: 1s,'
                             ' weight: 7 }] } }')
    args = ['-f', 'turnout.yaml', '-f', 'weight.yaml']
    assert ' traffic\n' in box.ok('diff', *args).out
    box.ok('deploy', '--yes', *args)
    assert box.instances == before
    after = changing(box.counters())
    assert [after.get(s, 0) for s in ('start', 'stop', 'set_restart')] == [calls.get(s, 0) for s in ('start', 'stop', 'set_restart')]
    assert {s['weight'] for s in box.json('edge.json')['traffic']['shop_web']['servers'].values()} == {7}
    assert box.ok('deploy', '--yes', *args).out.startswith('nothing to do')


def test_strangers_and_other_environments_are_never_touched(box):
    box.plan('one.yaml')
    box.ok('deploy', '--yes', '--dry-run')
    revision = json.loads(box.ok('diff', '-o', 'json').out)['changes'][0]['to_revision']
    stranger = f'shop-web-{revision[:7]}-1'
    foreign = {'host': 'local', 'state': 'running', 'labels': {'turnout.app': 'shop', 'turnout.service': 'web',
               'turnout.cluster': 'c', 'turnout.env': 'prod', 'turnout.revision': 'x' * 12}, 'ports': {}}
    box.edit(lambda w: (w.update(strangers=[stranger]), w.setdefault('instances', {}).update(other=foreign)))
    ended = box.ok('deploy', '--yes')
    assert f"name '{stranger}': taken by something that is not ours; the next name is taken" in ended.err
    assert f'shop-web-{revision[:7]}-2' in box.instances
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    box.ok('destroy', '--yes')
    assert box.instances == {'other': foreign}


def test_ports_in_use(box):
    box.plan('one.yaml')
    box.script(ports_busy=[20000, 20001])
    box.ok('deploy', '--yes')
    assert [one['ports'] for one in box.instances.values()] == [{'http': 20002}]


def test_no_free_port(box):
    box.plan('one.yaml')
    box.script(ports_busy=[20000, 20001])
    ended = box.run('deploy', '--yes', '--set', 'policy.port_range=20000-20001')
    assert ended.code == 1 and 'port' in ended.err and box.instances == {}, ended


def test_images_are_there_before_anything_changes(box):
    box.write('turnout.yaml', '''turnout: 1
name: shop
vars: { tag: v1 }
clusters: { c: { fake: { file: world.json } } }
services:
  web: { image: "reg/web:${tag}", clusters: [c], env: { VERSION: "${tag}" } }
rollout: { min_healthy_time: 20ms, healthy_deadline: 1s, progress_deadline: 3s }
''')
    digest = 'sha256:' + 'a' * 64
    box.edit(lambda w: w.update(images={'reg/web:v1': digest}))
    box.ok('deploy', '--yes')
    assert box.json()['pulled'] == [f'reg/web@{digest}']
    ended = box.deploy('v2')
    assert ended.code == 1 and "image 'reg/web:v2': not in the registry" in ended.err
    box.edit(lambda w: w['images'].update({'reg/web:v2': 'sha256:' + 'b' * 64}))
    box.edit(lambda w: w.update(script={'prepare': {'fail': 'disk full'}}))
    calls = box.count('start'), box.count('stop')
    ended = box.deploy('v2')
    assert ended.code == 1 and 'disk full' in ended.err and box.versions() == {'v1': 1}, ended
    assert (box.count('start'), box.count('stop')) == calls


def test_unreachable_host_is_unknown_not_absent(box):
    box.plan()
    box.edit(lambda w: w.update(hosts=['a', 'b']))
    box.ok('deploy', '--yes')
    assert sorted(one['host'] for one in box.instances.values()) == ['a', 'b']
    before = box.instances
    box.script(hosts_down=['b'])
    for verb in ('deploy', 'destroy', 'prune', 'restart', 'rollback'):
        ended = box.run(verb, '--yes')
        assert ended.code == 1 and "host 'b'" in ended.err, ended
    assert box.instances == before


def test_a_slow_start_on_two_hosts(box):
    """The start is seen in the world only when it is over; it counts meanwhile."""
    box.plan()
    box.edit(lambda w: w.update(hosts=['a', 'b']))
    box.ok('deploy', '--yes')
    box.script(start={'latency_ms': 300})
    p = box.start('deploy', '--yes', '--var', 'tag=v2')
    box.until(lambda: box.count('start') > 2, 'the first start')
    ended = box.end(p)
    assert ended.code == 0, ended


@pytest.mark.tsan
def test_mixed_and_back(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.script(exit_after_start={'v2': 1})
    ended = box.deploy('v2', '--set', 'rollout.on_failure=stop')
    assert ended.code == 5, ended
    assert 'turnout resume' in ended.err and box.versions()['v1'] >= 2
    box.script()
    assert box.ok('rollback', '--yes').code == 0
    assert box.versions() == {'v1': 2}


def test_pause_and_resume(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.script(exit_after_start={'v2': 1})
    ended = box.deploy('v2', '--set', 'rollout.on_failure=pause')
    assert ended.code == 8, ended
    assert box.run('wait', '--timeout', '100ms').code == 6
    box.script()
    box.ok('resume', '--yes')
    assert box.versions() == {'v2': 2}
    assert box.ok('resume', '--yes').out == 'nothing to resume: no rollout was left unfinished\n'


def test_timeout(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.script(ready_after_ms={'v2': 60000})
    ended = box.deploy('v2', '--timeout', '300ms', '--set', 'rollout.healthy_deadline=20s',
                       '--set', 'rollout.progress_deadline=30s')
    assert ended.code == 6, ended
    assert 'turnout resume' in ended.err
    assert box.ok('lease').out.startswith('free; rollout r-')
    box.script()
    box.ok('resume', '--yes')
    assert box.versions() == {'v2': 2}


@pytest.mark.tsan
def test_held_by_another(box, tmp_path):
    box.plan()
    box.ok('deploy', '--yes')
    box.script(ready_after_ms={'v2': 60000})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', '--set', 'rollout.healthy_deadline=40s', '--set',
                  'rollout.progress_deadline=50s')
    box.until(lambda: 'held by' in box.run('lease').out, 'the lease')
    other = {'TURNOUT_STATE': str(tmp_path / 'other'), 'TURNOUT_ACTOR': 'bob'}
    ended = box.deploy('v3', env=other)
    assert ended.code == 7, ended
    assert 'the lease is held by alice' in ended.err and '--lease-wait' in ended.err
    for verb in ('restart', 'resume', 'destroy'):
        assert box.run(verb, '--yes', env=other).code == 7, verb
    assert f'held by alice since' in box.ok('lease', env=other).out
    assert 'is running: alice since' in box.ok('status', env=other).out
    assert box.run('wait', '--timeout', '100ms', env=other).code == 6
    box.script()
    assert box.end(p).code == 0
    assert box.versions() == {'v2': 2}


def test_lease_wait(box):
    box.plan('one.yaml')
    box.ok('deploy', '--yes')
    box.script(start={'latency_ms': 500})
    p = box.start('deploy', '--yes', '--var', 'tag=v2')
    box.until(lambda: 'held by' in box.run('lease').out, 'the lease')
    ended = box.deploy('v3', '--lease-wait=30s')
    assert box.end(p).code == 0
    assert ended.code == 0 and box.versions() == {'v3': 1}, ended


@pytest.mark.tsan
@pytest.mark.parametrize('verb', ['abort', 'rollback'])
def test_abort_ends_the_other_with_3(box, verb):
    box.plan()
    box.ok('deploy', '--yes')
    box.script(ready_after_ms={'v2': 60000})
    p = box.start('deploy', '--yes', '--var', 'tag=v2', '--set', 'rollout.healthy_deadline=20s', '--set',
                  'rollout.progress_deadline=30s')
    box.until(lambda: box.versions().get('v2'), 'the first start')
    assert 'abort was asked for' in box.ok(verb, '--yes', env={'TURNOUT_STATE': 'other'}).out
    ended = box.end(p)
    assert ended.code == 3, ended
    assert box.versions() == {'v1': 2}


def test_lease_release(box):
    box.plan()
    assert box.run('lease', 'release', 'r-000000', '--yes').code != 0
    box.script(start={'latency_ms': 1500})
    p = box.start('deploy', '--yes')
    box.until(lambda: 'held by' in box.run('lease').out, 'the lease')
    rollout = json.loads(box.ok('lease', '-o', 'json').out)['rollout']
    assert box.run('lease', 'release', 'r-000000', '--yes').code == 7
    assert box.run('lease', 'release', rollout).code == 64
    assert box.ok('lease', 'release', rollout, '--yes').out == 'released\n'
    ended = box.end(p)
    assert ended.code == 7, ended
    assert 'lease' in ended.err


@pytest.mark.tsan
def test_three_revisions_converge(box):
    """v2 was stopped half-way; v3 is deployed over it."""
    box.plan()
    box.ok('deploy', '--yes')
    box.script(kill_at={'effect': 'stop', 'point': 'after', 'n': 1})
    assert box.deploy('v2').code == -9
    assert box.versions() == {'v1': 1, 'v2': 1}
    box.script()
    ended = box.deploy('v3')
    assert ended.code == 0, ended
    assert box.versions() == {'v3': 2}
    assert box.servers() == set(box.instances)
    assert box.ok('resume', '--yes').out.startswith('nothing to resume')
    assert box.ok('deploy', '--yes', '--var', 'tag=v3').out.startswith('nothing to do')


def test_rollback_walks_back(box):
    box.plan('one.yaml')
    for version in ('v1', 'v2', 'v3'):
        box.ok('deploy', '--yes', '--var', f'tag={version}')
    revisions = {}
    for row in json.loads(box.ok('history', '-o', 'json').out):
        for one in row['placements']:
            revisions[one['revision']] = row['id']
    assert len(revisions) == 3
    box.ok('rollback', '--yes')
    assert box.versions() == {'v2': 1}
    first = json.loads(box.ok('history', '-o', 'json').out)[-1]['placements'][0]['revision']
    box.ok('rollback', '--yes', '--to', first[:6])
    assert box.versions() == {'v1': 1}
    assert box.run('rollback', '--yes', '--to', 'fffffff').code == 1


def test_rollback_after_the_first_deployment(box):
    box.plan('one.yaml')
    box.ok('deploy', '--yes')
    ended = box.run('rollback', '--yes')
    assert ended.code == 1 and 'no revision to go back to' in ended.err
    assert box.versions() == {'v1': 1}


def test_rolled_back_world_is_as_before(box):
    box.plan()
    box.ok('deploy', '--yes')
    before = box.instances, box.json('edge.json')['traffic']
    box.script(unhealthy={'v2': 0})
    ended = box.deploy('v2')
    assert ended.code == 3, ended
    assert (box.instances, box.json('edge.json')['traffic']) == before
    assert box.ok('deploy', '--yes').out.startswith('nothing to do')


def test_the_rollback_fails_too(box):
    box.plan('one.yaml')
    box.ok('deploy', '--yes')
    box.script(exit_after_start={'v2': {'code': 1, 'after_ms': 100}}, stop={'fail': {'*': 'device busy'}})
    ended = box.deploy('v2')
    assert ended.code == 5, ended
    assert 'the rollback failed, too' in ended.err and 'device busy' in ended.err
    box.script()
    box.run('resume', '--yes')
    assert box.versions() == {'v1': 1}


def test_transient_faults_are_tried_again(box):
    """Never sent: tried again; sent without an answer: looked for, never started twice."""
    box.plan()
    box.script(start={'fail': {'web': {'message': 'connection refused', 'code': 'unreachable', 'times': 2}}})
    box.ok('deploy', '--yes')
    assert box.versions() == {'v1': 2}
    box.script(start={'fail': {'web': {'message': 'no answer', 'code': 'unknown', 'times': 1, 'done': True}}})
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    assert box.versions() == {'v2': 2}
    assert len({one['labels']['turnout.effect'] for one in box.instances.values()}) == 2


def test_balancer_trouble_on_the_way(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.script('edge.json', apply={'fail': {'message': 'connection refused', 'code': 'unreachable', 'times': 1}})
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    assert box.versions() == {'v2': 2}
    box.edit(lambda w: w.update(edited=True), 'edge.json')
    ended = box.deploy('v3')
    assert ended.code == 1 and 'edited by hand' in ended.err, ended
    assert box.versions() == {'v2': 2}
    box.ok('deploy', '--yes', '--force', '--var', 'tag=v3')
    assert box.versions() == {'v3': 2}
    box.edit(lambda w: w.update(foreign=True), 'edge.json')
    ended = box.deploy('v4', '--force')
    assert ended.code == 1 and 'not ours' in ended.err, ended
    assert box.versions() == {'v3': 2}


def test_gates_and_hooks(box):
    box.plan('one.yaml')
    text = (box.dir / 'turnout.yaml').read_text().replace('min_healthy_time: 20ms', 'min_healthy_time: 20ms, gates: [g]')
    box.write('turnout.yaml', text.replace('health: { native: true }', '''health: { native: true }
    hooks: { pre_deploy: [{ run: "echo pre >>hooks" }], post_deploy: [{ run: "echo post >>hooks" }],
             on_failure: [{ run: "echo failed >>hooks" }] }''') +
              'gates: { g: { cmd: "test ! -e closed", interval: 20ms, count: 2 } }\n')
    box.ok('deploy', '--yes')
    assert (box.dir / 'hooks').read_text() == 'pre\npost\n'
    box.write('closed', '')
    ended = box.deploy('v2')
    assert ended.code == 3 and "gate 'g' failed" in ended.err, ended
    assert (box.dir / 'hooks').read_text() == 'pre\npost\npre\nfailed\n'
    assert box.versions() == {'v1': 1}


def test_a_failing_pre_hook_changes_nothing(box):
    box.plan('one.yaml')
    text = (box.dir / 'turnout.yaml').read_text()
    box.write('turnout.yaml', text.replace('health: { native: true }', '''health: { native: true }
    hooks: { pre_deploy: [{ run: "echo broken >&2; exit 4" }] }'''))
    ended = box.run('deploy', '--yes')
    assert ended.code == 1 and box.instances == {}, ended
    assert 'broken' in ended.err


def test_progress_json(box):
    box.plan()
    box.script(logs={'web': '\x1b[31mred\x1b[0m\x07\n'}, exit_after_start={'v2': 1})
    box.ok('deploy', '--yes')
    ended = box.deploy('v2', '--progress', 'json')
    assert ended.code == 3
    lines = [line for line in ended.err.split('\n') if line.startswith('{')]
    events = [json.loads(line) for line in lines]
    assert {e['v'] for e in events} == {1}
    kinds = [e['event'] if 'event' in e else e['kind'] for e in events]
    for kind in ('rollout', 'placement', 'start', 'failed', 'turn', 'done'):
        assert kind in kinds, kinds
    assert len({e['rollout'] for e in events}) == 1
    assert all('\x1b' not in line and '\x07' not in line for line in lines)


def test_output_json_is_one_document(box):
    box.plan()
    ended = box.run('deploy', '--yes', '-o', 'json')
    assert json.loads(ended.out)['state'] == 'done'
    box.script(exit_after_start={'v2': 1})
    ended = box.deploy('v2', '-o', 'json')
    report = json.loads(ended.out)
    assert ended.code == report['exit_code'] == 3
    assert report['state'] == 'rolled_back' and 'exited with code 1' in report['cause']
    assert json.loads(box.ok('deploy', '--yes', '-o', 'json').out)['changed'] is False


def test_history_show_events(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    rows = json.loads(box.ok('history', '-o', 'json').out)
    assert [row['state'] for row in rows] == ['done', 'done']
    assert len(box.ok('history', '--limit', '1').out.strip().split('\n')) == 2
    shown = json.loads(box.ok('show', rows[0]['id'], '-o', 'json').out)
    phases = [(e['move'], e['phase']) for e in shown['effects'] if e['phase'] != 'memo']
    for move in ('start', 'admit', 'settle', 'drain', 'stop'):
        assert phases.count((move, 'intent')) == phases.count((move, 'outcome')) == 2, (move, phases)
    events = [json.loads(line) for line in box.ok('events', rows[0]['id']).out.split('\n') if line]
    assert all(e['v'] == 1 for e in events)
    assert box.ok('events').out == box.ok('events', rows[0]['id']).out
    assert box.ok('history', '--verify').out.startswith('journal is whole')
    assert box.run('history', env={'TURNOUT_STATE': str(box.dir / 'nowhere')}).code == 1


def test_verify_sees_a_forged_journal(box):
    import sqlite3

    box.plan('one.yaml')
    box.ok('deploy', '--yes')
    base = next(p for p in (box.dir / 'state').rglob('*') if p.read_bytes()[:15] == b'SQLite format 3')
    db = sqlite3.connect(base)
    tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
    journal = next(t for t in tables if 'journal' in t)
    db.execute(f"update {journal} set instance = 'forged' where rowid = (select min(rowid) from {journal} where instance like 'shop%')")
    db.commit()
    db.close()
    assert box.run('history', '--verify').code == 1


def test_prune_removes_what_is_not_kept(box):
    box.plan('one.yaml')
    for n in range(6):
        box.ok('deploy', '--yes', '-q', '--var', f'tag=v{n}', '--set', 'rollout.keep=9')
    kept = [name for name in box.json()['docs']['local'] if name.startswith('rev-')]
    assert len(kept) == 6
    box.ok('prune', '--yes', '--set', 'rollout.keep=2', '--var', 'tag=v5')
    kept = [name for name in box.json()['docs']['local'] if name.startswith('rev-')]
    assert len(kept) == 3  # what serves, and two to go back to
    box.ok('rollback', '--yes', '--var', 'tag=v5')
    assert box.versions() == {'v4': 1}


def test_destroy_leaves_nothing(box):
    box.plan()
    box.ok('deploy', '--yes')
    box.ok('destroy', '--yes')
    world = box.json()
    assert world['instances'] == {} and world['docs']['local'] == {}
    assert 'traffic' not in box.json('edge.json')
    assert box.run('destroy', '--yes').code == 0


def test_logs_follow_and_end(box):
    import signal

    box.plan('one.yaml')
    box.script(logs={'web': 'hello\n'})
    box.ok('deploy', '--yes')
    p = box.start('logs', '--follow')
    box.until(lambda: box.count('follow') > 0, 'following')
    p.send_signal(signal.SIGINT)
    ended = box.end(p, 10)
    assert 'hello' in ended.out


def test_unwritable_state(box):
    box.plan('one.yaml')
    box.write('file', 'no folder')
    ended = box.run('deploy', '--yes', env={'TURNOUT_STATE': str(box.dir / 'file')})
    assert ended.code == 1 and 'file' in ended.err and box.instances == {}, ended


def test_removed_state_loses_nothing(box):
    import shutil

    box.plan('one.yaml')
    box.ok('deploy', '--yes')
    box.ok('deploy', '--yes', '--var', 'tag=v2')
    shutil.rmtree(box.dir / 'state')
    assert box.ok('deploy', '--yes', '--var', 'tag=v2').out.startswith('nothing to do')
    box.ok('rollback', '--yes')
    assert box.versions() == {'v1': 1}
