"""The table of verbs and flags: help, parser and completion say the same."""

import re
import shutil
import subprocess

import pytest

from conftest import Box


def ask(*args):
    box = Box('/tmp')
    return box.run(*args)


def verbs_of_help():
    return re.findall(r'^  (\w+) ', ask('help').out, re.M)


def verbs_of_bash():
    return re.findall(r"^    (\w+)\) flags='([^']*)'", ask('completion', 'bash').out, re.M)


VERBS = verbs_of_help()
FLAGS = {verb: flags.split() for verb, flags in verbs_of_bash()}
ALL_FLAGS = sorted({flag for flags in FLAGS.values() for flag in flags})
RESERVED = ['render', 'provision', 'scale', 'promote', 'approve', 'pause', 'retry', 'report', 'simulate', 'capacity',
            'drain', 'undrain', 'adopt', 'reconcile']
BUILT = ['init', 'validate', 'doctor', 'explain', 'schema', 'config', 'diff', 'deploy', 'rollback', 'destroy', 'status',
         'wait', 'resume', 'abort', 'logs', 'history', 'show', 'events', 'restart', 'exec', 'lease', 'prune',
         'completion', 'version', 'help']


def test_every_verb_is_there():
    assert sorted(VERBS) == sorted(BUILT) == sorted(FLAGS)


@pytest.mark.parametrize('verb', BUILT)
def test_help_of(verb):
    by_help, by_flag = ask('help', verb), ask(verb, '--help')
    assert by_help.code == by_flag.code == 0
    assert by_help.out == by_flag.out
    assert by_help.out.startswith(f'usage: turnout {verb} ')
    assert re.findall(r'--([\w-]+)', by_help.out.split('\n\n', 2)[2]) != []
    told = re.findall(r'^  (?:-\w, |    )--([\w-]+)', by_help.out, re.M)
    assert [f'--{name}' for name in told] == FLAGS[verb]


@pytest.mark.parametrize('verb', BUILT)
def test_flags_that_are_accepted(box, verb):
    """Each flag of the program goes with exactly the verbs whose help names it. --help runs nothing, so it is asked
    with a wrong value, or with a plan that does not exist."""
    values = {'--output': 'json', '--progress': 'plain', '--color': 'never', '--timeout': '1s', '--interval': '1s',
              '--lease-wait': '1s'}
    for flag in ALL_FLAGS:
        if flag in ('--help', '--directory'):
            continue
        ended = box.run(verb, '-C', '/nowhere', f'{flag}={values.get(flag, "1")}')
        if 'takes no value' in ended.err:
            ended = box.run(verb, '-C', '/nowhere', flag)
        refused = f"{flag} does not go with '{verb}'" in ended.err
        assert ended.code == 64, (flag, ended)
        assert refused == (flag not in FLAGS[verb]), (flag, ended)
        assert refused or "'/nowhere': no such folder" in ended.err, (flag, ended)


@pytest.mark.parametrize('verb', RESERVED)
def test_reserved_verbs_are_refused_by_name(verb):
    ended = ask(verb)
    assert (ended.code, ended.out) == (64, '')
    assert ended.err == f"turnout: '{verb}' is reserved: this build cannot do it yet\n"
    assert 'reserved' in ask('help', verb).out


@pytest.mark.parametrize('alias, verb', [('plan', 'diff'), ('apply', 'deploy'), ('undo', 'rollback')])
def test_aliases(alias, verb):
    assert ask('help', alias).out == ask('help', verb).out
    assert f'also: turnout {alias}' in ask('help', verb).out


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion_is_a_script_of_its_shell(tmp_path, shell):
    ended = ask('completion', shell)
    assert ended.code == 0
    for verb in BUILT:
        assert re.search(rf'\b{verb}\b', ended.out), verb
    for verb in RESERVED:
        assert not re.search(rf'-a {verb}\b|^    {verb}\)', ended.out, re.M), verb
    script = tmp_path / 'script'
    script.write_text(ended.out)
    if not shutil.which(shell):
        pytest.skip(f'{shell} is not installed')
    assert subprocess.run([shell, '-n', script], capture_output=True, check=False).stderr == b''


def test_bash_completes(tmp_path):
    script = tmp_path / 'script'
    script.write_text(ask('completion', 'bash').out + '''
COMP_WORDS=(turnout dep); COMP_CWORD=1; _turnout; echo "${COMPREPLY[@]}"
COMP_WORDS=(turnout deploy --dr); COMP_CWORD=2; _turnout; echo "${COMPREPLY[@]}"
COMP_WORDS=(turnout diff --de); COMP_CWORD=2; _turnout; echo "${COMPREPLY[@]}"
''')
    done = subprocess.run(['bash', script], capture_output=True, text=True, check=False)
    assert done.stdout == 'deploy\n--dry-run\n--detailed-exitcode\n', done


def test_init_without_a_terminal(box):
    ended = box.run('init')
    assert (ended.code, ended.out, ended.err) == (0, 'turnout.yaml is written. Next: turnout validate\n', '')
    first = (box.dir / 'turnout.yaml').read_text()
    assert first.startswith('#') or 'turnout: 1' in first
    assert box.run('validate').code in (0, 65), 'it is a plan, perhaps with variables to fill in'
    again = box.run('init')
    assert again.code == 1 and "'turnout.yaml'" in again.err and 'it was left as it is' in again.err
    assert (box.dir / 'turnout.yaml').read_text() == first
    for kind in ('docker', 'process'):
        assert box.run('init', '--from', kind, '--out', f'{kind}.yaml').code == 0
        assert box.ok('validate', '-f', f'{kind}.yaml').err == ''
    assert box.run('init', '--from', 'podman', '--out', 'x.yaml').code == 64
    assert not (box.dir / 'x.yaml').exists()


def test_schema_is_draft_07_and_knows_every_top_key(box):
    import json

    schema = json.loads(box.ok('schema').out)
    assert schema['$schema'] == 'http://json-schema.org/draft-07/schema#'
    top = box.ok('explain').out
    for key in ('name', 'clusters', 'services', 'rollout', 'policy', 'gates', 'vars', 'secrets', 'environments'):
        assert key in schema['properties'], key
        assert key in top, key


def test_nothing_of_these_runs_anything(box):
    """validate, config, explain, schema: no secret is resolved, no program started, no state made, no engine asked."""
    box.write('turnout.yaml', '''turnout: 1
name: shop
secrets: { a: "exec://./touch", b: "env://A_SECRET", c: "file://secret" }
clusters: { c: { fake: { file: world.json } } }
services:
  web: { command: [./x], clusters: [c], secrets: { A: a, B: b, C: c },
         hooks: { pre_deploy: [{ run: "touch ran" }] }, health: { cmd: "touch ran" } }
gates: { g: { cmd: "touch ran", count: 1 } }
''')
    for verb in (['validate'], ['config'], ['config', '-o', 'json'], ['explain', 'gates'], ['schema']):
        ended = box.run(*verb, env={'A_SECRET': 'hunter2'})
        assert ended.code == 0, ended
        assert 'hunter2' not in ended.out + ended.err
    assert sorted(p.name for p in box.dir.iterdir()) == ['turnout.yaml']


def test_no_color(box):
    box.plan()
    box.ok('deploy', '--yes', '-q')
    args = ['diff', '--var', 'tag=v2']
    code, got = box.on_terminal(*args)
    assert code == 0 and b'\x1b[33m' in got, got
    for env, flags in (({'NO_COLOR': '1'}, []), ({'TERM': 'dumb'}, []), ({}, ['--no-color']), ({}, ['--color', 'never'])):
        code, got = box.on_terminal(*args, *flags, env=env)
        assert code == 0 and b'\x1b' not in got, (env, flags, got)
    assert '\x1b' not in box.ok(*args).out
    assert '\x1b[33m' in box.ok(*args, '--color', 'always').out
    assert '\x1b[33m' in box.ok(*args, env={'CLICOLOR_FORCE': '1'}).out


def test_ascii_where_the_locale_is_not_utf8(box):
    box.plan()
    box.ok('deploy', '--yes', '-q')
    for args in (['diff', '--var', 'tag=v2'], ['status']):
        box.ok(*args, env={'LC_ALL': 'C'}).out.encode('ascii')
