#!/usr/bin/env python3
"""lint_banned.py [ROOT]: calls that lib/ and cli/ must not make. Exceptions: tools/lint_exceptions.txt."""

import pathlib
import re
import sys

import lint_c

BANNED = {
    'strcpy': 'no bound: tn_strdup or tn_buf',
    'strcat': 'no bound: tn_buf',
    'stpcpy': 'no bound: tn_buf',
    'sprintf': 'no bound: snprintf or tn_buf_printf',
    'vsprintf': 'no bound: vsnprintf',
    'gets': 'no bound',
    'strtok': 'hidden state: strsep or strcspn',
    'atoi': 'no errors: strtol',
    'atol': 'no errors: strtol',
    'atoll': 'no errors: strtoll',
    'atof': 'no errors: strtod',
    'system': 'a shell and an untracked child: lib/transport runs commands',
    'popen': 'a shell and an untracked child: lib/transport runs commands',
    'pthread_cancel': 'leaks whatever the thread holds: the cancel token',
    'sleep': 'cannot be cancelled: a wait on the clock with the cancel token',
    'usleep': 'cannot be cancelled: a wait on the clock with the cancel token',
}
# A member of that name (ops->system) is something else.
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.')
    allowed = lint_c.exceptions(root)
    used = set()
    problems = []
    for path in lint_c.sources(root, ['include', 'lib', 'cli']):
        code = lint_c.TOKEN.sub(lint_c._blank, (root / path).read_text())
        for match in CALL.finditer(code):
            name = match.group(1)
            key = f'{path}:{name}()'
            if key in allowed:
                used.add(key)
            else:
                line = code.count('\n', 0, match.start()) + 1
                problems.append(f'{path}:{line}: {name}: {BANNED[name]}')
    problems += lint_c.stale(root, used, lambda key: key.endswith('()'))
    lint_c.finish('banned', problems)


main()
