"""For all tests: examples may take their time, as the machines they run on are busy with others' work.

What was compared with others' images is told at the end, and what could not be compared. It stands here,
as the process that reports doesn't read the conftests of directories when others run the tests.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tools.conformance import LEFT_OUT, find_cases

pytest_plugins = ["people"]

settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("busy")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many images were identical; where BuildKit's results aren't, that they were left out."""
    told = [
        line
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, lines in report.user_properties
        if name == "conformance"
        for line in lines
    ]
    if told:
        terminalreporter.section("conformance")
    for line in told:
        terminalreporter.write_line(line)
    config = terminalreporter.config
    if find_cases() is None and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        terminalreporter.write_line(LEFT_OUT)
