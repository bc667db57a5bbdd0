"""Guards of the emulator: against web pages."""

from __future__ import annotations

from mutation.breakage import Breakage

_TESTS = "tests/emulator/http/test_callers.py"

CALLERS = (
    Breakage(
        guard="the emulator answers only to names of this machine",
        file="emulator/http/callers.py",
        old="if place is None or not (place.host in self._hosts or _is_loopback(place.host)):",
        new="if place is None:",
        tests=(f"{_TESTS}::test_a_web_page_changes_nothing", f"{_TESTS}::test_further_names"),
    ),
    Breakage(
        guard="the emulator refuses another site's origin",
        file="emulator/http/callers.py",
        old="            if not _is_at(origin, place):",
        new="            if not origin:",
        tests=(f"{_TESTS}::test_a_web_page_changes_nothing",),
    ),
    Breakage(
        guard="the emulator refuses what a browser sends for another site without an origin",
        file="emulator/http/callers.py",
        old="site.strip().lower() not in _OWN for site",
        new="not site for site",
        tests=(f"{_TESTS}::test_a_web_page_changes_nothing",),
    ),
    Breakage(
        guard="the emulator's own routes need JSON",
        file="emulator/http/callers.py",
        old='    if kinds != ["application/json"]:',
        new="    if kinds is None:",
        tests=(f"{_TESTS}::test_own_routes_need_json",),
    ),
)
