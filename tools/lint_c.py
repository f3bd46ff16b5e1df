"""Reads C well enough for the checks of this folder: blanks comments, strings and preprocessor lines, finds functions."""

import pathlib
import re

TOKEN = re.compile(r'//(?:\\\n|[^\n])*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
DIRECTIVE = re.compile(r'^[ \t]*#(?:\\\n|[^\n])*', re.M)
SKIP = {'build', '.git', 'corpus'}


def _blank(match):
    return re.sub(r'[^\n]', ' ', match.group())


def without_comments(text):
    """Comments become blanks of the same shape; strings stay."""
    return TOKEN.sub(lambda m: _blank(m) if m.group()[0] == '/' else m.group(), text)


def code_only(text):
    """Comments, strings, character constants and preprocessor lines become blanks; line numbers stay."""
    def blank_literal(match):
        if match.group()[0] == '/':
            return _blank(match)
        return match.group()[0] + ' ' * (len(match.group()) - 2) + match.group()[0]
    return DIRECTIVE.sub(_blank, TOKEN.sub(blank_literal, text))


def sources(root, folders, suffixes=('.c', '.h')):
    """Paths below `folders` of `root`, relative to it, sorted."""
    root = pathlib.Path(root)
    found = []
    for folder in folders:
        for path in (root / folder).rglob('*'):
            rel = path.relative_to(root)
            if path.suffix in suffixes and path.is_file() and not SKIP & set(rel.parts):
                found.append(rel.as_posix())
    return sorted(found)


class Function:
    def __init__(self, name, line, body, lines):
        self.name = name    # as written
        self.line = line    # of the name
        self.body = body    # text between the outer braces, blanked
        self.lines = lines  # from the name to the closing brace


def functions(text):
    """The function definitions of a C text."""
    code = code_only(text)
    found = []
    depth = 0
    start = None
    for pos, char in enumerate(code):
        if char == '{':
            if depth == 0:
                start = pos
            depth += 1
        elif char == '}':
            depth -= 1
            if depth == 0 and start is not None:
                header = _header(code, start)
                if header:
                    name, at = header
                    line = code.count('\n', 0, at) + 1
                    found.append(Function(name, line, code[start:pos],
                                          code.count('\n', 0, pos) + 2 - line))
                start = None
    if depth != 0:
        raise ValueError('braces do not match (an #if that opens one and an #else that opens it again?)')
    return found


def _header(code, brace):
    """(name, position) of the function whose body opens at `brace`, or None when it is no function."""
    pos = brace - 1
    while pos >= 0 and code[pos].isspace():
        pos -= 1
    if pos < 0 or code[pos] != ')':
        return None
    while True:
        depth = 0
        while pos >= 0:
            depth += {')': 1, '(': -1}.get(code[pos], 0)
            if depth == 0:
                break
            pos -= 1
        match = re.search(r'([A-Za-z_]\w*)\s*$', code[:pos])
        if not match:
            return None
        if match.group(1) != '__attribute__':
            return match.group(1), match.start(1)
        pos = match.start(1) - 1
        while pos >= 0 and code[pos].isspace():
            pos -= 1


def exceptions(root):
    """{key: (line number, reason)} of tools/lint_exceptions.txt; see there."""
    path = pathlib.Path(root) / 'tools/lint_exceptions.txt'
    table = {}
    if path.exists():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.strip() and not line.startswith('#'):
                key, _, reason = line.strip().partition(' ')
                table[key] = (number, reason.strip())
    return table


def stale(root, used, mine):
    """Messages for the exceptions for which `mine(key)` holds that nothing needed, or that give no reason."""
    out = []
    for key, (number, reason) in exceptions(root).items():
        if mine(key):
            if key not in used:
                out.append(f'tools/lint_exceptions.txt:{number}: stale: {key} needs no exception any more')
            if not reason:
                out.append(f'tools/lint_exceptions.txt:{number}: {key} gives no reason')
    return out


def finish(check, problems):
    for problem in problems:
        print(problem)
    if problems:
        raise SystemExit(f'{check}: {len(problems)} problem(s)')
