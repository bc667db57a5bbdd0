"""The emulator's own routes: clock, accounting, faults, quotas, webhooks. They need no key; no fault affects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.emulator.faults import scenarios
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.messages.protojson import BadBody, read_body
from gemini_batch.emulator.state.accounting import accounting
from gemini_batch.emulator.state.clock import rfc3339

if TYPE_CHECKING:
    from gemini_batch.emulator.service.core import Emulator


class Admin:
    """The routes for tests of one emulator."""

    def __init__(self, world: Emulator) -> None:
        self._world = world

    def accounting(self, call: Call) -> Reply:
        """What was used; with ``?keys=true``, also how often each request key was paid for."""
        keys = call.text("keys").lower() in ("1", "true", "yes")
        return Reply.json(accounting(self._world.store, keys=keys))

    def clock(self, call: Call) -> Reply:
        """Show the clock, or move it: ``{"advance": seconds}``."""
        clock = self._world.clock
        try:
            asked = read_body(call.body)
            seconds = float(asked.get("advance", 0))
            now = clock.advance(seconds) if seconds else clock.now()
        except (BadBody, ValueError, TypeError, AttributeError) as error:
            raise errors.invalid(f'The clock accepts {{"advance": seconds}}: {error}') from None
        return Reply.json({"now": rfc3339(now)})

    def faults(self, call: Call) -> Reply:
        """All armed faults, with their counters."""
        del call
        return Reply.json({"faults": self._world.faults.shown()})

    def arm(self, call: Call) -> Reply:
        """Arm one fault, given its fields, or a scenario: ``{"scenario": "C8a"}``, with fields to change."""
        try:
            asked = msgspec.json.decode(call.body or b"{}", type=dict[str, Any])
            return Reply.json({"ids": arm(self._world, **asked)})
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise errors.invalid(f"This cannot be armed: {error}") from None

    def webhooks(self, call: Call) -> Reply:
        """All deliveries of webhooks, in order, with every attempt."""
        del call
        return Reply.json({"deliveries": self._world.kept_webhooks.shown()})

    def quotas(self, call: Call) -> Reply:
        """The quotas, and how much of them the project of the caller's key holds, if there is a key."""
        limits = self._world.limits
        shown: dict[str, Any] = {"quotas": msgspec.to_builtins(limits.quotas)}
        if call.owner:
            held = {"jobs": limits.alive(call.owner), "tokens": limits.held(call.owner)}
            shown["held"] = {**held, "calls": limits.called(call.owner)}
        return Reply.json(shown)

    def limit(self, call: Call) -> Reply:
        """Change some quotas: the fields of :class:`~gemini_batch.emulator.state.quotas.Quotas`."""
        try:
            self._world.limits.change(**msgspec.json.decode(call.body or b"{}", type=dict[str, Any]))
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise errors.invalid(f"These quotas cannot be set: {error}") from None
        return self.quotas(call)

    def add_bucket(self, call: Call) -> Reply:
        """Create a bucket of Cloud Storage that belongs to every project: ``{"name": "inputs"}``."""
        try:
            asked = msgspec.json.decode(call.body or b"{}", type=dict[str, Any])
            self._world.cloud.objects.add_bucket(**asked)
        except (msgspec.MsgspecError, TypeError) as error:
            raise errors.invalid(f'A bucket is created by {{"name": "…"}}: {error}') from None
        return Reply()

    def clear(self, call: Call) -> Reply:
        """Disarm one fault (``/emulator/faults/ID``), or all faults; with all, the quotas of the start are restored."""
        name = call.names.get("fault")
        if name is None:
            clear(self._world)
        elif not self._world.faults.clear(int(name) if name.isdecimal() else 0):
            raise errors.not_found()
        return Reply()


def arm(world: Emulator, *, scenario: str = "", **fields: Any) -> list[int]:
    """Arm a fault, or a scenario with some fields changed; returns the ids. Raises ``ValueError``."""
    made = scenarios.made(scenario, **fields)
    if made.quotas:
        world.limits.change(**made.quotas)
    return world.faults.arm(*made.faults, scenario=scenario)


def clear(world: Emulator) -> None:
    """Disarm all faults, and restore the quotas of the start."""
    world.faults.clear()
    world.limits.reset()
