"""Secrets are in the instance's own environment and nowhere else; hostile bytes never reach the screen."""

import json
import pathlib

import pytest

VALUES = ('hunter2-from-env', 'hunter3-from-file', 'hunter4-from-program')

PLAN = '''turnout: 1
name: shop
vars: { tag: v1 }
secrets: { a: "env://A_SECRET", b: "file://./secret", c: "exec://./program" }
clusters: { c: { fake: { file: world.json } } }
balancers: { edge: { fake: { file: edge.json } } }
services:
  web:
    command: [./server]
    clusters: [c]
    env: { VERSION: "${tag}" }
    secrets: { A: a, B: b, C: c }
    ports: [{ name: http }]
    health: { native: true }
    expose: [{ balancer: edge, upstream: shop_web, port: http, drain: 1s }]
rollout: { min_healthy_time: 20ms, healthy_deadline: 1s, progress_deadline: 3s }
policy: { lease_ttl: 2s }
'''
OUTSIDE = {'secret', 'program'}  # the files that the user keeps them in
NASTY = '\x1b[31mred\x1b]0;title\x07\x1b[2J\x9b31m\r\x00\u202e\u009b31m'


@pytest.fixture
def sealed(box):
    box.write('turnout.yaml', PLAN)
    box.write('secret', VALUES[1] + '\n')
    program = box.write('program', f'#!/bin/sh\necho {VALUES[2]}\n')
    program.chmod(0o755)
    box.env['A_SECRET'] = VALUES[0]
    return box


def look_everywhere(box, *endings):
    for ended in endings:
        for value in VALUES:
            assert value not in ended.out + ended.err, ended
    for path in box.dir.rglob('*'):
        if not path.is_file() or path.name in OUTSIDE:
            continue
        data = path.read_bytes()
        if path.name == 'world.json':
            world = json.loads(data)
            for one in world.get('instances', {}).values():
                one.pop('env', None)
            data = json.dumps(world).encode()
        for value in VALUES:
            assert value.encode() not in data, path


def test_secrets_reach_the_instance_and_nothing_else(sealed):
    box = sealed
    endings = [box.run(*args) for args in (
        ['validate'], ['config'], ['config', '-o', 'json'], ['diff'], ['diff', '-o', 'json'], ['diff', '--out', 'set.json'],
        ['deploy', '--yes', '--progress', 'json', '-o', 'json'], ['status'], ['status', '-o', 'json'], ['history'],
        ['history', '-o', 'json'], ['events'], ['lease', '-o', 'json'], ['logs'], ['exec', 'web', '--', 'env'],
        ['deploy', '--yes', '--var', 'tag=v2'], ['rollback', '--yes'], ['restart', '--yes'], ['doctor'], ['prune', '--yes'])]
    assert [e.code for e in endings] == [0] * len(endings), endings
    rollout = json.loads(endings[10].out)[0]['id']
    endings += [box.run('show', rollout), box.run('show', rollout, '-o', 'json')]
    one, = box.instances.values()
    assert [one['env'][name] for name in 'ABC'] == list(VALUES)
    assert one['labels']['turnout.secrets'].count('scrypt:') == 3
    look_everywhere(box, *endings)


def test_a_changed_secret_is_a_change(sealed):
    box = sealed
    box.ok('deploy', '--yes')
    first, = box.instances
    assert box.ok('deploy', '--yes').out.startswith('nothing to do')
    box.write('secret', 'hunter5-from-file\n')
    ended = box.ok('diff')
    assert 'hunter' not in ended.out and ' update\n' in ended.out and 'b' in ended.out
    box.ok('deploy', '--yes')
    second, = box.instances
    assert first != second and box.instances[second]['env']['B'] == 'hunter5-from-file'
    assert box.ok('deploy', '--yes').out.startswith('nothing to do')
    other = {'TURNOUT_STATE': str(box.dir / 'other')}
    assert box.ok('deploy', '--yes', env=other).out.startswith('nothing to do'), 'every operator sees the same'
    look_everywhere(box)


def test_a_missing_secret(sealed):
    box = sealed
    del box.env['A_SECRET']
    ended = box.run('deploy', '--yes')
    assert ended.code == 1 and "secret 'a'" in ended.err and 'A_SECRET' in ended.err and box.instances == {}, ended
    box.env['A_SECRET'] = VALUES[0]
    (box.dir / 'secret').unlink()
    ended = box.run('deploy', '--yes')
    assert ended.code == 1 and "secret 'b'" in ended.err and box.instances == {}, ended
    box.write('secret', VALUES[1])
    box.write('program', '#!/bin/sh\necho no entry >&2\nexit 3\n')
    ended = box.run('deploy', '--yes')
    assert ended.code == 1 and "secret 'c'" in ended.err and box.instances == {}, ended
    look_everywhere(box, ended)


def test_no_exec(sealed):
    box = sealed
    box.ok('deploy', '--yes')
    box.write('program', '#!/bin/sh\ntouch ran\necho x\n')
    for ended in (box.run('diff', '--no-exec'), box.run('diff', env={'TURNOUT_NO_EXEC': '1'})):
        assert not (box.dir / 'ran').exists(), ended
    look_everywhere(box)


def test_secrets_of_a_failed_deployment(sealed):
    box = sealed
    box.script(exit_after_start={'web': 1}, logs={'web': 'cannot log in\n'})
    ended = box.run('deploy', '--yes', '-o', 'json')
    assert ended.code == 1
    look_everywhere(box, ended, box.run('history', '-o', 'json'), box.run('events'))


# ---- hostile text


def hostile(box):
    """Everything that comes back from the engine is nasty."""
    box.plan('one.yaml')
    box.ok('deploy', '--yes')

    def spoil(world):
        for one in world['instances'].values():
            one['labels']['turnout.rollout'] = NASTY
        foreign = json.loads(json.dumps(next(iter(world['instances'].values()))))
        foreign['labels']['turnout.revision'] = NASTY
        foreign['labels']['turnout.spec'] = NASTY
        foreign.update(state='exited', exit_code=1, detail=NASTY)
        world['instances']['shop-web-' + NASTY.replace('\x00', '')] = foreign
        lease = next(name for name in world['docs']['local'] if name.startswith('lease-') and name.count('-') == 2)
        world['docs']['local'][lease].update(holder_name=NASTY, since=NASTY, rollout=NASTY)
        world['docs']['local'].pop(lease + '-free', None)
        world['script'] = {'logs': {'*': f'{NASTY}\n'}, 'exec': {'*': {'out': f'{NASTY}\n', 'err': NASTY}},
                           'exit_after_start': {'v2': {'code': 1, 'detail': NASTY}},
                           'task': {'*': {'out': NASTY}}}
    world = box.json()
    spoil(world)
    box.write('world.json', json.dumps(world).replace('\\u0000', ''))


def is_clean(data):
    text = data.decode('utf-8', 'replace')
    for c in text:
        assert c in '\n\r\t' or not (ord(c) < 32 or 127 <= ord(c) < 160 or c in '\u202a\u202b\u202d\u202e'), repr(text)


@pytest.mark.parametrize('args', [['status'], ['lease'], ['diff', '--var', 'tag=v2'], ['logs'], ['exec', 'web', '--', 'x'],
                                  ['deploy', '--yes', '--progress', 'plain', '--var', 'tag=v2'],
                                  ['deploy', '--yes', '--progress', 'plain', '--lease-wait', '0s', '--var', 'tag=v3'],
                                  ['restart', '--yes', '--progress', 'plain'], ['doctor'], ['history'], ['status', '-o', 'json']],
                         ids=' '.join)
def test_hostile_text_on_a_terminal(box, args):
    hostile(box)
    _, got = box.on_terminal(*args, '--no-color')
    assert got
    is_clean(got)


def test_hostile_text_in_a_live_view(box):
    hostile(box)
    _, got = box.on_terminal('deploy', '--yes', '--var', 'tag=v2')
    for bad in (b'\x1b]0', b'\x1b[31mred', b'\x07', b'\x1b[2J', '\u009b'.encode()):
        assert bad not in got, got


@pytest.mark.parametrize('args', [['status'], ['lease'], ['deploy', '--yes', '--var', 'tag=v2'], ['show'], ['history'],
                                  ['deploy', '--yes', '--progress', 'json', '--var', 'tag=v2'], ['events']], ids=' '.join)
def test_hostile_text_in_a_pipe(box, args):
    """What is no program's own output (logs, exec) is clean in a pipe, too."""
    hostile(box)
    if args == ['show']:
        args = ['show', json.loads(box.ok('history', '-o', 'json').out)[0]['id']]
    ended = box.run(*args)
    is_clean((ended.out + ended.err).encode('utf-8', 'surrogateescape'))


def test_hostile_plan(box):
    pathlib.Path(box.dir / 'turnout.yaml').write_bytes(
        b'turnout: 1\nname: "\\e[31mx"\nclusters: {}\n"\\e]0;x\\a": 1\nservices: {"\\u009b31m": {}}\n')
    ended = box.run('validate')
    assert ended.code == 65
    is_clean(ended.err.encode('utf-8', 'surrogateescape'))
