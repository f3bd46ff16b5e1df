"""Markers of all pytest suites."""


def pytest_configure(config):
    for line in (
        "sweep: every point of something, minutes (make crash)",
        "soak: long runs (make soak)",
        "crash: kill -9 and resume",
        "tsan: also runs under ThreadSanitizer",
        "release: needs the released binary",
    ):
        config.addinivalue_line("markers", line)
