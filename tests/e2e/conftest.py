"""Fixtures of the end-to-end tests: one session folder, one Case a test, transcripts of a failed test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import support  # noqa: E402
from docker_support import box, engine  # noqa: E402,F401


@pytest.fixture(scope="session")
def session():
    for program in (support.TURNOUT, support.TESTSERVER, support.LOAD):
        assert os.access(program, os.X_OK), f"{program} is missing: make all build-test support"
    session = support.Session()
    yield session
    session.close()


@pytest.fixture
def case(session, request):
    case = session.case()
    request.node.e2e_case = case
    yield case
    case.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    case = getattr(item, "e2e_case", None)
    if report.failed and case is not None:
        for number, run in enumerate(case.runs[-4:]):
            lines = [line for line in run.err.splitlines() if '"kind":"world"' not in line]
            text = f"$ {' '.join(run.argv)}\n{run.out[-3000:]}\n" + "\n".join(line[:300] for line in lines[-60:]) + f"\n-> {run.rc}"
            report.sections.append((f"turnout run {number}", text))
