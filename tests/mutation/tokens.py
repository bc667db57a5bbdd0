"""Guards of estimates: what is unknown or unmeasured is said, and bands are no narrower than the data allow."""

from __future__ import annotations

from mutation.breakage import Breakage

_LINES = "tests/tokens/test_requests.py"
_BANDS = "tests/tokens/test_estimate.py"
_LEARNED = "tests/tokens/test_learning.py"

TOKENS = (
    Breakage(
        guard="media of unknown tokens are unknown, not nothing",
        file="tokens/requests.py",
        old="            self.unknown[name] += 1\n",
        new="            pass\n",
        tests=(f"{_BANDS}::test_what_is_unknown_is_counted_and_not_zero_silently",),
    ),
    Breakage(
        guard="a tool that the service runs is unknown",
        file="tokens/requests.py",
        old="                elif value is not None:\n                    self.unknown",
        new="                elif False:\n                    self.unknown",
        tests=(f"{_LINES}::test_tools_that_the_service_runs_are_unknown",),
    ),
    Breakage(
        guard="cached content is unknown",
        file="tokens/requests.py",
        old="    cached_camel: None = msgspec",
        new="    cached_camel: object = msgspec",
        tests=(f"{_LINES}::test_cached_content_is_unknown",),
    ),
    Breakage(
        guard="what was read of a line before something else than text is not counted twice",
        file="tokens/requests.py",
        old="            del self.texts[before:]\n",
        new="",
        tests=(f"{_LINES}::test_text_before_a_picture_is_counted_once",),
    ),
    Breakage(
        guard="a line with tools that cannot be read is unknown",
        file="tokens/requests.py",
        old="        if tools not in self.declared and not _is_json(tools):\n",
        new="        if False:\n",
        tests=(f"{_LINES}::test_tools_that_cannot_be_read_make_their_line_unknown",),
    ),
    Breakage(
        guard="a length that is no number of seconds is not known",
        file="tokens/requests.py",
        old="    return seconds if 0 <= seconds <= _LONGEST else None\n",
        new="    return seconds\n",
        tests=(f"{_LINES}::test_the_part_of_a_video_that_is_sent",),
    ),
    Breakage(
        guard="a rate of frames that the service does not take changes nothing",
        file="tokens/requests.py",
        old="and 0 < value <= _MOST_FRAMES else",
        new="else",
        tests=(f"{_LINES}::test_frames_that_the_service_does_not_take_change_nothing",),
    ),
    Breakage(
        guard="a script without recorded counts is named",
        file="tokens/estimate.py",
        old="frozenset(used & set(SCRIPTS) - set(MEASURED))",
        new="frozenset()",
        tests=(f"{_BANDS}::test_scripts_without_recorded_counts_are_unmeasured",),
    ),
    Breakage(
        guard="the band of a model without recorded counts is wider",
        file="tokens/estimate.py",
        old="_OTHER_MODEL = 0.1\n",
        new="_OTHER_MODEL = 0.0\n",
        tests=(f"{_BANDS}::test_a_model_without_recorded_counts_is_unmeasured_and_has_a_wider_band",),
    ),
    Breakage(
        guard="the ends of a band are rounded outwards",
        file="tokens/estimate.py",
        old="        return -(-self.range.high // 1000)\n",
        new="        return self.range.high // 1000\n",
        tests=(f"{_BANDS}::test_the_ends_are_rounded_outwards",),
    ),
    Breakage(
        guard="few rows teach nothing",
        file="tokens/learning.py",
        old="    if observed.rows < LEAST or not",
        new="    if observed.rows < 2 or not",
        tests=(f"{_LEARNED}::test_too_little_teaches_nothing",),
    ),
    Breakage(
        guard="rows of which something is unknown teach nothing",
        file="tokens/learning.py",
        old=" or estimate.learned or estimate.unknown:\n",
        new=":\n",
        tests=(f"{_LEARNED}::test_only_the_general_estimate_of_one_known_row_teaches",),
    ),
    Breakage(
        guard="no learned band is narrower than two percent",
        file="tokens/learning.py",
        old="_NARROWEST = 0.02\n",
        new="_NARROWEST = 0.0\n",
        tests=(f"{_LEARNED}::test_the_band_narrows_with_more_rows_and_never_below_two_percent",),
    ),
)
