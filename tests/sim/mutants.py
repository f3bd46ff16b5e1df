#!/usr/bin/env python3
"""mutants.py: breaks the core one line at a time, and says which test sees it.

Each mutation is applied to a copy of lib/strategy/strategy.c in a temporary folder; the simulation and the unit test
of the core are built against it. Found = random worlds, small worlds or unit test fail, hang or crash. Writes MUTANTS.md
beside this file (--print: to stdout only). Exit 1 when one survives.

    tests/sim/mutants.py [--print] [NAME…]
"""

import glob
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / 'lib/strategy/strategy.c'
ROLLOUTS = '20000'

# name, what it breaks, text (must be there exactly once), its replacement
MUTANTS = [
    ('serves-while-draining', 'a drain in flight still counts as available',
     'i->rotation == TN_IN && i->busy != TN_BUSY_DRAIN && i->busy', 'i->rotation == TN_IN && i->busy'),
    ('serves-out-of-rotation', 'ready is enough to be available',
     'return i->state == TN_I_READY && i->rotation == TN_IN &&', 'return i->state == TN_I_READY &&'),
    ('serves-not-ready', 'in rotation is enough to be available',
     'return i->state == TN_I_READY && i->rotation == TN_IN &&', 'return i->rotation == TN_IN &&'),
    ('never-late', 'not ready in time is no failure',
     'in->now - i->started > in->spec->healthy_deadline;', 'false;'),
    ('late-while-starting', 'a start in flight can be late', "i->state == TN_I_STARTING && i->busy != TN_BUSY_START &&",
     'i->state == TN_I_STARTING &&'),
    ('others-fail', 'old instances count as failed candidates', 'return i->target && has_failed(in, i) &&',
     'return has_failed(in, i) &&'),
    ('stopping-fails-again', 'one that is being stopped is counted as failed again',
     'has_failed(in, i) && i->busy != TN_BUSY_STOP;', 'has_failed(in, i);'),
    ('starts-not-existing', 'starts in flight do not count for surge', 'c.exist += in->starts;', 'c.exist += 0;'),
    ('starts-not-wanted', 'starts in flight do not count as instances to be', 'c.target += in->starts;', 'c.target += 0;'),
    ('starts-not-busy', 'done with a start in flight', 'c.busy += in->starts;', 'c.busy += 0;'),
    ('leaving-is-target', 'a wanted instance that leaves still counts', "c->target += i->busy != TN_BUSY_STOP && i->busy != TN_BUSY_DRAIN;",
     'c->target += 1;'),
    ('unsettled-ignored', 'restart policies are not waited for', 'c->target_unsettled += !i->settled;',
     'c->target_unsettled += 0;'),
    ('min-healthy-back', 'a rollback waits for min_healthy_time', 'return s->direction == TN_BACK ? 0 : s->min_healthy_time;',
     'return s->min_healthy_time;'),
    ('no-min-healthy', 'min_healthy_time is ignored', 'return s->direction == TN_BACK ? 0 : s->min_healthy_time;', 'return s ? 0 : 1;'),
    ('floor-off-by-one', 'one fewer than allowed may serve', 'int f = s->replicas - s->max_unavailable;',
     'int f = s->replicas - s->max_unavailable - 1;'),
    ('floor-recreate', 'recreate keeps a floor', 'return s->kind == TN_RECREATE || f < 0 ? 0 : f;', 'return f < 0 ? 0 : f;'),
    ('admit-too-many', 'more than replicas are admitted', 'int room = in->spec->replicas;', 'int room = in->n;'),
    ('admit-unready', 'what is not ready is admitted', "if (!i->target || i->state != TN_I_READY || i->rotation != TN_OUT ||",
     'if (!i->target || i->state == TN_I_FAILED || i->rotation != TN_OUT ||'),
    ('admit-others', 'another revision is admitted', "if (!i->target || i->state != TN_I_READY || i->rotation != TN_OUT ||",
     'if (i->state != TN_I_READY || i->rotation != TN_OUT ||'),
    ('admit-unknown-rotation', 'admits where rotation is not known', "i->state != TN_I_READY || i->rotation != TN_OUT || i->busy == TN_BUSY_STOP",
     'i->state != TN_I_READY || i->rotation == TN_IN || i->busy == TN_BUSY_STOP'),
    ('admit-busy', 'two moves at once: admit', 'if (i->busy == TN_IDLE && is_old_enough(in, i, out) && push(out, TN_MOVE_ADMIT',
     'if (is_old_enough(in, i, out) && push(out, TN_MOVE_ADMIT'),
    ('admit-no-delay', 'an admit is not remembered', 'memo->last_admit = in->now;', 'memo->last_admit = 0;'),
    ('settle-early', 'settles what does not serve', 'i->busy == TN_IDLE && serves(i) && is_old_enough(in, i, out))\n            push(out, TN_MOVE_SETTLE',
     'i->busy == TN_IDLE && is_old_enough(in, i, out))\n            push(out, TN_MOVE_SETTLE'),
    ('settle-never', 'restart policies are never set', 'if (i->target && !i->settled && i->busy == TN_IDLE && serves(i)',
     'if (false && i->target && !i->settled && i->busy == TN_IDLE && serves(i)'),
    ('never-weak', 'a weak old instance is dropped at once', 'return i->state == TN_I_STARTING && (i->rotation == TN_IN ||',
     'return false && (i->rotation == TN_IN ||'),
    ('no-drain', 'stops what is not drained', 'if (!in->spec->has_balancer || i->drained || !i->was_serving)', 'if (in)'),
    ('no-drain-cap', 'running requests are waited for without end', 'if (in->now >= at)\n        return true;\n    wait_for(out, TN_WAIT_DRAIN, at);',
     'wait_for(out, TN_WAIT_DRAIN, at);'),
    ('stop-in-rotation', 'stops in rotation: old ones', 'if (in->spec->has_balancer && i->rotation == TN_IN)\n        push(out, TN_MOVE_DRAIN, k, i->host);\n    else if',
     'if (false)\n        push(out, TN_MOVE_DRAIN, k, i->host);\n    else if'),
    ('discard-in-rotation', 'stops in rotation: failed candidates', 'if (in->spec->has_balancer && i->rotation == TN_IN) {', 'if (false) {'),
    ('discard-unknown-rotation', 'touches failed ones of unknown rotation', 'if (i->busy != TN_IDLE || !fresh_failure(in, i) || i->rotation == TN_ROTATION_UNKNOWN)',
     'if (i->busy != TN_IDLE || !fresh_failure(in, i))'),
    ('discard-busy', 'two moves at once: discard', 'if (i->busy != TN_IDLE || !fresh_failure(in, i) ||', 'if (!fresh_failure(in, i) ||'),
    ('discard-uncounted', 'failures are not remembered', 'memo->failures += !i->counted;', 'memo->failures += 0;'),
    ('discard-counted-twice', 'a stop tried again is a second failure', 'memo->failures += !i->counted;', 'memo->failures++;'),
    ('census-counted-twice', 'one whose stop failed is counted beside the memo', 'if (fresh_failure(in, i) && !i->counted) {', 'if (fresh_failure(in, i)) {'),
    ('delay-ignored', 'no delay between batches', "if (in->spec->direction == TN_BACK || in->spec->delay == 0 || memo->last_admit == 0)", 'if (in)'),
    ('delay-back', 'a rollback waits for the delay', "if (in->spec->direction == TN_BACK || in->spec->delay == 0 ||", 'if (in->spec->delay == 0 ||'),
    ('gates-ignored', 'goes on while gates are pending', 'if (in->spec->direction == TN_BACK || in->gates == TN_GATES_PASS)\n        return false;',
     'if (in)\n        return false;'),
    ('gates-back', 'a rollback waits for gates', 'if (in->spec->direction == TN_BACK || in->gates == TN_GATES_PASS)\n        return false;',
     'if (in->gates == TN_GATES_PASS)\n        return false;'),
    ('touch-unknown', 'touches what does not answer', 'if (i->state == TN_I_UNKNOWN || i->busy != TN_IDLE ||', 'if (i->busy != TN_IDLE ||'),
    ('leave-busy', 'two moves at once: leave', 'if (i->state == TN_I_UNKNOWN || i->busy != TN_IDLE ||', 'if (i->state == TN_I_UNKNOWN ||'),
    ('leave-unknown-rotation', 'takes out where rotation is not known', 'i->busy != TN_IDLE || i->rotation == TN_ROTATION_UNKNOWN ||',
     'i->busy != TN_IDLE ||'),
    ('leave-planned', 'two moves in one decision on one instance', 'TN_ROTATION_UNKNOWN || planned(out, k))',
     'TN_ROTATION_UNKNOWN)'),
    ('leave-no-surplus', 'never scales down', 'return !i->target || (surplus > 0 && !has_failed(in, i));', 'return !i->target;'),
    ('leave-any-target', 'wanted ones leave without surplus', 'return !i->target || (surplus > 0 && !has_failed(in, i));', 'return true;'),
    ('weak-never-enough', 'weak ones stay for ever', 'bool enough = c->available >= floor_of(in->spec);', 'bool enough = false;'),
    ('weak-never-full', 'a weak one blocks its place for ever',
     'bool full = c->exist >= in->spec->replicas + in->spec->max_surge && c->target == c->target_available;', 'bool full = false;'),
    ('weak-all-at-once', 'weak ones leave all at once', 'full = full && !is_weak(in, i); /* one at a time */', '/* all at once */'),
    ('clear-uncounted', 'surplus that was cleared away is counted again', 'take_out(in, k, out);\n        c->target -= i->target;\n    }\n}\n\n/* The serving',
     'take_out(in, k, out);\n    }\n}\n\n/* The serving'),
    ('leaves-target-first', 'scale down before other revisions', '(b->target && !i->target) ||', '(!b->target && i->target) ||'),
    ('leaves-oldest', 'the oldest leaves first', 'i->started > b->started))', 'i->started < b->started))'),
    ('reduce-below-floor', 'one more than allowed is taken out', 'if (c->available - 1 < floor_of(in->spec) ||', 'if (c->available < floor_of(in->spec) ||'),
    ('reduce-uncounted', 'what was just taken out still counts as available', '        c->available--;\n', ''),
    ('reduce-target-uncounted', 'surplus taken out is counted again', '        c->target -= in->v[k].target;\n    }\n}\n\nstatic int least_loaded',
     '    }\n}\n\nstatic int least_loaded'),
    ('last-batch-delays', 'a delay after the last batch', '(!last_batch && !in->v[k].target &&', '(!in->v[k].target &&'),
    ('start-on-down-host', 'starts where nobody answers', 'if (in->host_down && in->host_down[h])', 'if (false)'),
    ('most-loaded', 'hosts are filled unevenly', 'if (best < 0 || load < best_load) {', 'if (best < 0 || load > best_load) {'),
    ('recreate-beside', 'recreate starts beside the old', 'if (in->spec->kind == TN_RECREATE && c->other > 0)\n        return;', ''),
    ('surge-off-by-one', 'one more than surge', 'int room = in->spec->replicas + in->spec->max_surge - c->exist;',
     'int room = in->spec->replicas + in->spec->max_surge - c->exist + 1;'),
    ('starts-more-than-wanted', 'fills the surge up', 'int missing = in->spec->replicas - c->target;',
     'int missing = in->spec->replicas + in->spec->max_surge - c->target;'),
    ('progress-always', 'the progress deadline never comes', '} else if (progress > memo->progress) {', '} else {'),
    ('progress-never', 'progress does not move the deadline', '} else if (progress > memo->progress) {', '} else if (false) {'),
    ('done-with-others', 'done while another revision exists', 'return c->other == 0 && c->exist ==', 'return c->exist - c->other =='),
    ('done-with-more', 'done with too many', 'c->exist == in->spec->replicas && c->target_available', 'c->exist >= in->spec->replicas && c->target_available'),
    ('done-not-serving', 'done before all serve', 'c->target_available == in->spec->replicas &&', ''),
    ('done-unsettled', 'done before restart policies are set', 'c->target_unsettled == 0 && ', ''),
    ('done-busy', 'done with moves in flight', 'c->busy == 0 && (!in->balancer_unknown', '(!in->balancer_unknown'),
    ('done-balancer-unknown', 'done without the balancer', 'c->busy == 0 && (!in->balancer_unknown || c->exist == 0) &&', 'c->busy == 0 &&'),
    ('not-done-when-empty', 'nothing left, and the balancer is waited for', '(!in->balancer_unknown || c->exist == 0)', '!in->balancer_unknown'),
    ('done-gates', 'done while gates are pending', '           (in->spec->direction == TN_BACK || in->gates == TN_GATES_PASS);', '           true;'),
    ('back-fails-early', 'a rollback gives up like a deployment', 'return s->direction == TN_BACK && s->max_failures < 3 ? 3 : s->max_failures;',
     'return s->max_failures;'),
    ('deadline-without-drain', 'a long drain is lack of progress', ' + (s->has_balancer ? s->drain_cap : 0);', ';'),
    ('deadline-without-delay', 'a long delay is lack of progress', 'return s->progress_deadline + s->delay +', 'return s->progress_deadline +'),
    ('failures-off-by-one', 'one failure more is allowed', 'if (memo->failures + c->failed > failures_allowed(in->spec))',
     'if (memo->failures + c->failed > failures_allowed(in->spec) + 1)'),
    ('failures-forgotten', 'failures of the past are forgotten', 'if (memo->failures + c->failed >', 'if (c->failed >'),
    ('gate-failure-ignored', 'a failed gate stops nothing', 'else if (in->gates == TN_GATES_FAIL && in->spec->direction == TN_FORWARD)', 'else if (false)'),
    ('gate-failure-back', 'a failed gate stops the rollback', 'in->gates == TN_GATES_FAIL && in->spec->direction == TN_FORWARD)', 'in->gates == TN_GATES_FAIL)'),
    ('no-deadline', 'no progress deadline', 'else if (in->now - memo->last_progress > progress_deadline(in->spec))', 'else if (false)'),
    ('admit-without-balancer', 'admits while the balancer does not answer', 'if (!in->balancer_unknown) /*', 'if (true) /*'),
    ('manual-acts', 'manual is rolled', 'if (in->spec->kind == TN_MANUAL || is_done(in, &c)) {', 'if (is_done(in, &c)) {'),
    ('silent-wait', 'no wait is named', 'if (out->wait != TN_WAIT_NOTHING)\n        return;\n    if (c->busy > 0)', 'if (out)\n        return;\n    if (c->busy > 0)'),
    ('no-moves-wait', 'moves in flight are no wait', 'if (c->busy > 0) {', 'if (false) {'),
    ('unknown-is-no-wait', 'a host that does not answer is no wait', 'if (out->wait == TN_WAIT_NOTHING && (c->unknown > 0 || in->balancer_unknown))',
     'if (out->wait == TN_WAIT_NOTHING && in->balancer_unknown)'),
    ('traffic-counts-old', 'the setpoint counts old traffic as new', 'new_traffic += in->v[k].target;', 'new_traffic += !in->v[k].target;'),
    ('moves-unbounded', 'the list of moves has one place too few', 'if (out->n_moves == TN_MAX_MOVES)', 'if (out->n_moves == TN_MAX_MOVES - 1)'),
]


def build(folder, core):
    flags = ['gcc', '-std=c11', '-D_GNU_SOURCE', '-O2', '-w', f'-I{ROOT}/include', f'-I{ROOT}']
    sim = sorted(glob.glob(f'{ROOT}/tests/sim/*.c'))
    unit = sorted(glob.glob(f'{ROOT}/tests/unit/strategy/*.c'))
    subprocess.run(flags + ['-o', folder / 'sim', core] + sim, check=True)
    subprocess.run(flags + ['-o', folder / 'unit', core] + unit + ['-lcmocka'], check=True)


def fails(command, seconds):
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def failed_units(folder):
    """The names of failing unit tests, so that one that fails without a mutation finds nothing."""
    try:
        out = subprocess.run([folder / 'unit'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return {'(hangs)'}
    names = {line.split()[-1] for line in out.stdout.splitlines() if line.startswith('[  FAILED  ] test_')}
    return names if out.returncode >= 0 else names | {'(crashes)'}


def place_of(old):
    """Wherever the formatter breaks the line."""
    return re.compile(r'\s+'.join(map(re.escape, old.split())))


def try_one(folder, text, mutant, known):
    name, what, old, new = mutant
    place = place_of(old)
    n = len(place.findall(text))
    if n != 1:
        sys.exit(f'mutants: {name}: its line is there {n} times, not once: bring the list up to date')
    core = folder / 'strategy.c'
    core.write_text(place.sub(lambda _: new, text))
    build(folder, core)
    return (
        fails([folder / 'sim', '--seed', '1', '--rollouts', ROLLOUTS], 120),
        fails([folder / 'sim', '--small'], 120),
        bool(failed_units(folder) - known),
    )


def table(rows):
    found = sum(any(row[2]) for row in rows)
    by = [sum(row[2][i] for row in rows) for i in range(3)]
    lines = [
        '# Mutants of the core',
        '',
        'Each row is lib/strategy/strategy.c with one line broken. Made by `tests/sim/mutants.py`; do not edit.',
        '',
        f'{found} of {len(rows)} found: {by[0]} by {ROLLOUTS} random rollouts (seed 1), {by[1]} by the small worlds, {by[2]} by the unit test.',
        '',
        '| mutation | what it breaks | random | small | unit |',
        '|---|---|---|---|---|',
    ]
    for name, what, seen in rows:
        lines.append(f'| {name} | {what} | ' + ' | '.join('found' if s else '–' for s in seen) + ' |')
    return '\n'.join(lines) + '\n', found


def main():
    args = [a for a in sys.argv[1:] if a != '--print']
    text = SOURCE.read_text()
    chosen = [m for m in MUTANTS if not args or m[0] in args]
    rows = []
    with tempfile.TemporaryDirectory(prefix='turnout-mutants-') as temp:
        folder = pathlib.Path(temp)
        core = folder / 'strategy.c'
        core.write_text(text)
        build(folder, core)
        known = failed_units(folder)
        for mutant in chosen:
            seen = try_one(folder, text, mutant, known)
            rows.append((mutant[0], mutant[1], seen))
            print(f'{mutant[0]:26}', *('found' if s else '-    ' for s in seen), file=sys.stderr, flush=True)
    page, found = table(rows)
    if '--print' in sys.argv or args:
        print(page, end='')
    else:
        (pathlib.Path(__file__).parent / 'MUTANTS.md').write_text(page)
    print(f'{found} passed, {len(rows) - found} failed', file=sys.stderr)
    sys.exit(found != len(rows))


main()
