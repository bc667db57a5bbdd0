"""Guards of webhooks: nothing is believed before its signature was checked, and nothing is sent to other machines."""

from __future__ import annotations

from mutation.breakage import Breakage

_SIGNATURES = "tests/webhooks/test_signatures.py"
_RECEIVER = "tests/webhooks/test_receiver.py"
_COMMANDS = "tests/webhooks/test_commands.py"
_EMULATOR = "tests/emulator/service/test_webhooks.py"

WEBHOOKS = (
    Breakage(
        guard="a webhook that is too old is refused",
        file="webhooks/signatures.py",
        old="    if abs(now - int(timestamp)) > TOLERANCE:",
        new="    if int(timestamp) - now > TOLERANCE:",
        tests=(f"{_SIGNATURES}::test_the_time",),
    ),
    Breakage(
        guard="a webhook's signature with a secret is compared",
        file="webhooks/signatures.py",
        old="if any([hmac.compare_digest(one, mine) for mine in made]):",
        new="if any([len(one) == len(mine) for mine in made]):",
        tests=(f"{_SIGNATURES}::test_who_signed", f"{_SIGNATURES}::test_whatever_is_signed_cannot_be_changed"),
    ),
    Breakage(
        guard="a webhook's signature with a key is checked",
        file="webhooks/signatures.py",
        old="                    key.key.verify(signature, message.signed)",
        new="                    key.key.public_bytes_raw()",
        tests=(f"{_SIGNATURES}::test_who_signed", f"{_SIGNATURES}::test_whatever_is_signed_cannot_be_changed"),
    ),
    Breakage(
        guard="a webhook's token that is over is refused",
        file="webhooks/signatures.py",
        old="if end < now or ",
        new="if ",
        tests=(f"{_SIGNATURES}::test_who_signed",),
    ),
    Breakage(
        guard="a webhook's header that comes twice is refused",
        file="webhooks/signatures.py",
        old="if any(len(values) > 1 for values in found.values()):",
        new="if any(len(values) > 2 for values in found.values()):",
        tests=(f"{_SIGNATURES}::test_a_header_twice",),
    ),
    Breakage(
        guard="a webhook is handed on once",
        file="webhooks/receiver.py",
        old="            if delivery.id in self._seen:",
        new="            if delivery.id in ():",
        tests=(
            f"{_SIGNATURES}::test_a_delivery_counts_once",
            f"{_RECEIVER}::test_a_delivery_is_answered_and_handed_on_once",
        ),
    ),
    Breakage(
        guard="a webhook's body is bounded",
        file="webhooks/receiver.py",
        old="                if size > _MOST_BYTES:",
        new="                if size < 0:",
        tests=(f"{_RECEIVER}::test_everything_else_is_refused",),
    ),
    Breakage(
        guard="forged webhooks do not make us fetch keys without end",
        file="webhooks/keys.py",
        old="self._clock() - self._asked < _REST:",
        new="self._clock() - self._asked < 0:",
        tests=(f"{_RECEIVER}::test_keys_are_fetched_when_they_are_needed_and_kept_for_an_hour",),
    ),
    Breakage(
        guard="many webhooks cause no more than one poll in a second",
        file="engine/poller.py",
        old="self._polled_at + HASTE)",
        new="self._clock())",
        tests=("tests/engine/test_announcements.py::test_many_deliveries_cause_no_more_than_a_poll_in_a_second",),
    ),
    Breakage(
        guard="without the library for webhooks nothing is sent",
        file="commands/listen.py",
        old="    check_library()\n    secrets = ",
        new="    secrets = ",
        tests=(f"{_COMMANDS}::test_what_is_missing_ends_with_2_before_anything_is_sent",),
    ),
    Breakage(
        guard="the emulator delivers webhooks to this machine only",
        file="emulator/engine/deliveries.py",
        old='        if not may_receive(row["uri"], self.hosts):',
        new='        if not may_receive(row["uri"], {row["uri"].split("/")[2].split(":")[0]}):',
        tests=(f"{_EMULATOR}::test_nothing_is_sent_to_another_machine",),
    ),
    Breakage(
        guard="an address with a login receives no webhooks from the emulator",
        file="emulator/engine/deliveries.py",
        old=" or url.userinfo:",
        new=":",
        tests=(f"{_EMULATOR}::test_where_deliveries_may_go",),
    ),
    Breakage(
        guard="the emulator shows a webhook's secret once",
        file="emulator/messages/signing.py",
        old='    return f"{PREFIX}...{secret[-4:]}"',
        new="    return secret",
        tests=(f"{_EMULATOR}::test_no_secret_is_shown_again",),
    ),
)
