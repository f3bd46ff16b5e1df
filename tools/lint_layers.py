#!/usr/bin/env python3
"""lint_layers.py [ROOT]: includes point downwards only.

The order is that of the design; a file may include its own layer, what stands below it, and any public header.
Back-ends of one kind do not know each other. The pure core includes pure headers only. Public headers include
public headers only, and the program includes nothing of the library but them.
"""

import pathlib
import re
import sys

import lint_c

# Top to bottom.
LAYERS = ['gitops', 'rollout', 'provider', 'balancer', 'provision', 'gate', 'state', 'report', 'strategy', 'diff',
          'plan', 'auth', 'transport', 'base']
RANK = {name: len(LAYERS) - index for index, name in enumerate(LAYERS)}
CORE = {'strategy', 'diff'}
PURE_SYSTEM = {'stdbool.h', 'stddef.h', 'stdint.h', 'limits.h', 'string.h'}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.impure = {}

    def includes(self, path):
        """(line, path below the root or None, as written) of each include."""
        text = lint_c.without_comments((self.root / path).read_text())
        for match in INCLUDE.finditer(text):
            written = match.group(1) or match.group(2)
            line = text.count('\n', 0, match.start()) + 1
            yield line, self.resolve(path, written, quoted=bool(match.group(1))), written

    def resolve(self, path, written, quoted):
        places = [f'include/{written}', written]
        if quoted:
            places.insert(0, (pathlib.PurePosixPath(path).parent / written).as_posix())
        elif not written.startswith('turnout/'):
            return None
        for place in places:
            if '..' not in pathlib.PurePosixPath(place).parts and (self.root / place).is_file():
                return place
        return None

    def why_impure(self, header):
        """None when a public header and all that it includes is free of anything but types; else the reason."""
        if header not in self.impure:
            self.impure[header] = None
            for line, target, written in self.includes(header):
                if target is None and written not in PURE_SYSTEM:
                    self.impure[header] = f'{header}:{line} includes {written}'
                elif target is not None:
                    self.impure[header] = self.impure[header] or self.why_impure(target)
        return self.impure[header]

    def problem(self, path, target, written):
        """Why `path` must not include `target` (None: a system header, or not found), or None."""
        parts = path.split('/')
        if target is None:
            if written not in PURE_SYSTEM and parts[0] == 'lib' and parts[1] in CORE:
                return 'the core includes nothing beyond ' + ', '.join(sorted(PURE_SYSTEM))
            return None
        to = target.split('/')
        if to[0] == 'include':
            if parts[0] == 'lib' and parts[1] in CORE and self.why_impure(target):
                return f'the core includes pure headers only: {self.why_impure(target)}'
            return None
        if parts[0] == 'include':
            return 'a public header includes public headers only'
        if parts[0] == 'cli':
            return None if to[0] == 'cli' else 'the program includes public headers and its own only'
        return self.between(parts, to)

    @staticmethod
    def between(parts, to):
        if to[0] != 'lib' or len(to) < 3:
            return 'the library includes its own and public headers only'
        if to[1] not in RANK:
            return f'unknown layer lib/{to[1]}'
        if parts[1] in CORE and to[1] not in CORE:
            return 'the core includes pure headers only'
        if RANK[to[1]] > RANK[parts[1]]:
            return f'lib/{to[1]} stands above lib/{parts[1]}'
        if to[1] == parts[1] and len(parts) > 3 and len(to) > 3 and to[2] != parts[2]:
            return f'{parts[1]} {parts[2]} must not know {to[1]} {to[2]}'
        return None


def main():
    tree = Tree(sys.argv[1] if len(sys.argv) > 1 else '.')
    problems = []
    for path in lint_c.sources(tree.root, ['include', 'lib', 'cli']):
        parts = path.split('/')
        if parts[0] == 'lib' and (len(parts) < 3 or parts[1] not in RANK):
            problems.append(f'{path}: not in a layer: {", ".join(LAYERS)}')
            continue
        for line, target, written in tree.includes(path):
            if '..' in written.split('/'):
                problems.append(f'{path}:{line}: {written}: paths start at the root or at include/')
                continue
            why = tree.problem(path, target, written)
            if why:
                problems.append(f'{path}:{line}: {written}: {why}')
    lint_c.finish('layers', problems)


main()
