"""Runs every file of transcripts/: commands with their exact output.

    # a comment
    @plan web.yaml              a plan of plans/ becomes turnout.yaml
    @file NAME                  lines up to @end become that file
    @end
    @script NAME JSON           the script of a fake world
    $ NAME=VALUE turnout diff   a command; variables before it and "< NAME" (standard input) behind it are allowed
    1| stdout
    2| stderr
    = exit code

What differs from run to run is replaced by its name: rollouts are r-1, r-2 in the order of their appearance, revisions
REV1 …, clocks TIME, moments WHEN, spans SPAN, the folder DIR. Event lines that say "wait", "still" or "settle" are left
out: whether and where they stand depends on the machine. UPDATE=1 writes the output that came back into the files: read the diff before you believe it.
"""

import json
import os
import pathlib
import re
import shlex

import pytest

HERE = pathlib.Path(__file__).resolve().parent
FILES = sorted((HERE / 'transcripts').glob('*.txt'))
EVENT = re.compile(r'^\d\d:\d\d:\d\d \S+ (?:\S+ )?(?:wait|still|settle) ')
RULES = [
    (re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?'), 'WHEN'),
    (re.compile(r'^\d\d:\d\d:\d\d ', re.M), 'TIME '),
    (re.compile(r'\b(after|in|at most|expected|for) \d+(\.\d+)?(ms|s|m\d+s)\b'), r'\1 SPAN'),
    (re.compile(r'\(process \d+'), '(process PID'),
    (re.compile(r' +\d+(\.\d+)?(ms|s)(?=  $|  \S)', re.M), ' AGE'),
    (re.compile(r'^turnout \d+\.\S+$', re.M), 'turnout VERSION'),
    (re.compile(r'\b\d+ records'), 'N records'),
    (re.compile(r'"(started_at|pid|at_ms|expected_ms)": \d+'), r'"\1": N'),
    (re.compile(r'"version": "\d+\.[^"]+"'), '"version": VERSION'),
    (re.compile(r'\bscrypt:[0-9a-f:]+'), 'HASH'),
    (re.compile(r'\bsha256:[0-9a-f]{64}'), 'DIGEST'),
]


class Names:
    """The same thing gets the same name through the whole file."""

    def __init__(self, box):
        self.box = box
        self.rollouts, self.revisions = [], []

    def number(self, known, value):
        if value not in known:
            known.append(value)
        return known.index(value) + 1

    def rollout(self, match):
        return f'r-{self.number(self.rollouts, match.group(0))}'

    def revision(self, match):
        word = match.group(0)
        if word.isdigit() or word.isalpha():
            return word
        return f'REV{self.number(self.revisions, word[:7])}'

    def clean(self, text):
        text = ''.join(line for line in text.splitlines(True) if not EVENT.match(line))
        text = text.replace(str(self.box.dir), 'DIR')
        for pattern, name in RULES:
            text = pattern.sub(name, text)
        text = re.sub(r'\br-[0-9a-f]{6}\b', self.rollout, text)
        return re.sub(r'\b[0-9a-f]{7}(?:[0-9a-f]{5})?\b', self.revision, text)


def run_command(box, line):
    words, env, stdin = shlex.split(line), {}, None
    while '=' in words[0]:
        name, value = words.pop(0).split('=', 1)
        env[name] = value
    assert words[0] == 'turnout', line
    if '<' in words:
        stdin = (box.dir / words[words.index('<') + 1]).read_text()
        words = words[:words.index('<')]
    return box.run(*words[1:], env=env, stdin=stdin)


def prefixed(prefix, text):
    lines = text.split('\n')
    if lines[-1] == '':
        lines.pop()
    else:
        lines[-1] += '\\'  # no newline at the end
    return [f'{prefix} {line}'.rstrip(' ') if not line else f'{prefix} {line}' for line in lines]


def play(box, lines):
    """The file as it would have to be."""
    names, out, at = Names(box), [], 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if re.match(r'[12]\||= ', line):
            continue
        out.append(line)
        word = line.split(' ', 2)
        if word[0] == '@plan':
            box.plan(word[1])
        elif word[0] == '@script':
            box.script(word[1], **json.loads(word[2]))
        elif word[0] == '@file':
            end = lines.index('@end', at)
            box.write(line.split(' ', 1)[1], '\n'.join(lines[at:end]) + '\n')
            out += lines[at:end + 1]
            at = end + 1
        elif word[0] == '$':
            ended = run_command(box, line[2:])
            out += prefixed('1|', names.clean(ended.out)) + prefixed('2|', names.clean(ended.err)) + [f'= {ended.code}']
        else:
            assert not line or line[0] == '#', f'what is this: {line}'
    return out


@pytest.mark.parametrize('path', FILES, ids=[p.stem for p in FILES])
def test_transcript(box, path):
    lines = path.read_text().split('\n')
    played = play(box, lines)
    if os.environ.get('UPDATE'):
        path.write_text('\n'.join(played))
    assert '\n'.join(played) == '\n'.join(lines)
