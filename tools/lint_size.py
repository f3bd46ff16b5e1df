#!/usr/bin/env python3
"""lint_size.py [ROOT]: functions of at most 80 lines and complexity 15, files of at most 600 lines.

Complexity is 1 + the decisions: if, for, while, &&, ||, ?, and each case that has statements of its own (labels
that share them count once). Exceptions: tools/lint_exceptions.txt.
"""

import pathlib
import re
import sys

import lint_c

MAX_COMPLEXITY = 15
MAX_FUNCTION = 80
MAX_FILE = 600
DECISION = re.compile(r'\b(?:if|for|while)\b|&&|\|\||\?')
# A GNU `a ?: b` is one decision, as any other.
CASES = re.compile(r'(?:\bcase\b[^:?]*(?:\?[^:]*:[^:]*)?:\s*(?:default\s*:\s*)?)+')


def complexity(body):
    return 1 + len(DECISION.findall(body)) + len(CASES.findall(body))


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.')
    allowed = lint_c.exceptions(root)
    used = set()
    problems = []

    def report(key, text):
        if key in allowed:
            used.add(key)
        else:
            problems.append(text)

    for path in lint_c.sources(root, ['include', 'lib', 'cli', 'tests', 'tools']):
        text = (root / path).read_text()
        lines = text.count('\n')
        if lines > MAX_FILE:
            report(path, f'{path}: {lines} lines (at most {MAX_FILE})')
        try:
            found_functions = lint_c.functions(text)
        except ValueError as error:
            problems.append(f'{path}: {error}')
            continue
        for function in found_functions:
            key = f'{path}:{function.name}'
            where = f'{path}:{function.line}: {function.name}'
            if function.lines > MAX_FUNCTION:
                report(key, f'{where}: {function.lines} lines (at most {MAX_FUNCTION})')
            found = complexity(function.body)
            if found > MAX_COMPLEXITY:
                report(key, f'{where}: complexity {found} (at most {MAX_COMPLEXITY})')
    problems += lint_c.stale(root, used, lambda key: not key.endswith('()'))
    lint_c.finish('size', problems)


main()
