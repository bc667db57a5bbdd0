"""What a served emulator starts with: scenarios by name, a TOML file of faults and quotas, a tier.

The file::

    scenarios = ["R1", "L6"]

    [[fault]]
    operation = "batches.get"
    status = 503
    times = 2

    [[fault]]
    scenario = "G13"
    key = "row-3"

    [quotas]
    tier = 1
    jobs = 2
    when_full = "wait"
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.emulator.faults import scenarios
from gemini_batch.emulator.state.quotas import Quotas
from gemini_batch.errors import Next, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_batch.emulator.faults.scenario import Scenario
    from gemini_batch.emulator.service.core import Emulator

_SEE = Next("emulator", "--list-scenarios", why="lists them; docs/faults.md describes them")
#: The most jobs alive at a time, in every tier.
_JOBS = 100


class _File(msgspec.Struct, forbid_unknown_fields=True):
    scenarios: list[str] = []
    fault: list[dict[str, Any]] = []
    quotas: dict[str, Any] = {}


class Setup(NamedTuple):
    """Scenarios to arm, by name (empty for a single fault), and quotas."""

    armed: tuple[tuple[str, Scenario], ...] = ()
    quotas: Quotas = Quotas()

    def apply(self, world: Emulator) -> None:
        """Arm the scenarios and set the quotas."""
        world.limits.begin(self.quotas)
        for name, scenario in self.armed:
            world.faults.arm(*scenario.faults, scenario=name)


def setup(names: Iterable[str] = (), *, file: Path | None = None, tier: int | None = None) -> Setup:
    """Read everything; the file's quotas take precedence. Raises :class:`UsageError`."""
    quotas: dict[str, Any] = {} if tier is None else {"tier": tier, "jobs": _JOBS}
    last: dict[str, Any] = {}
    armed: list[tuple[str, Scenario]] = []
    try:
        armed += [(name, scenarios.made(name)) for name in names]
    except ValueError as error:
        what = str(error)
        raise UsageError(f"{what[:1].upper()}{what[1:]}.", next=_SEE) from None
    if file is not None:
        try:
            read = msgspec.convert(tomllib.loads(file.read_text("utf-8")), _File)
            armed += [(name, scenarios.made(name)) for name in read.scenarios]
            for place, one in enumerate(read.fault, 1):
                armed.append((str(one.get("scenario", "")), _fault(one, place)))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The faults file cannot be read: {error}", file=file) from None
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError, TypeError) as error:
            raise UsageError(f"The faults file is not valid: {error}.", file=file, next=_SEE) from None
        last = read.quotas
    for _, scenario in armed:
        quotas |= scenario.quotas
    quotas |= last
    try:
        return Setup(tuple(armed), msgspec.convert(quotas, Quotas))
    except msgspec.ValidationError as error:
        raise UsageError(f"The quotas are not valid: {error}.", file=file, next=_SEE) from None


def _fault(fields: dict[str, Any], place: int) -> Scenario:
    try:
        return scenarios.made(**fields)
    except (ValueError, TypeError) as error:
        raise ValueError(f"[[fault]] number {place}: {error}") from None
