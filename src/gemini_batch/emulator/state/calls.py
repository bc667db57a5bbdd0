"""The account of calls outside batches: who paid for how many answers of which tier, and for which requests twice.

A call that has an answer is paid once, when the answer is made, whether or not it arrives. Of a request only a salted
hash is kept, to tell whether it was paid before.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gemini_batch import catalog, jsonl
from gemini_batch.emulator.state.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.emulator.state.store import Store

#: The tiers by which a call can be served.
Tier = Literal["standard", "flex", "priority"]
#: Prompts with more tokens may have a price of their own.
_LONG = 200_000
#: Amounts are stored as whole millionths of a millionth of a dollar, in which every price of a token is exact.
_PICO = 10**12


def asked_tier(request: Mapping[str, Any]) -> Tier:
    """The tier that a request in canonical form asks for; without one, it is standard."""
    match request.get("serviceTier"):
        case "flex":
            return "flex"
        case "priority":
            return "priority"
        case _:
            return "standard"


class Answered(NamedTuple):
    """One call: the model that was asked and the one that answered, the tier that served it, and its usage.

    ``usage`` is None if there was no answer.
    """

    owner: str
    name: str
    model: str
    tier: Tier
    usage: Mapping[str, Any] | None


def note(store: Store, call: Answered, request: Mapping[str, Any], *, now: int) -> None:
    """Count one call, and its request if it was paid for. ``now`` in nanoseconds."""
    usage = call.usage or {}
    prompt = usage.get("promptTokenCount", 0)
    cached = usage.get("cachedContentTokenCount", 0)
    output = usage.get("totalTokenCount", prompt) - prompt
    paid = call.usage is not None
    amount = _amount(call.model, call.tier, _day(now), (prompt, cached, output)) if paid else 0
    values = {
        "owner": call.owner,
        "model": call.name,
        "tier": call.tier,
        "paid": paid,
        "failed": not paid,
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "output_tokens": output,
        "amount": amount or 0,
        "unpriced": amount is None,
    }
    with store.transaction() as db:
        db.execute(
            """INSERT INTO calls VALUES (:owner, :model, :tier, :paid, :failed, :prompt_tokens, :cached_tokens,
            :output_tokens, :amount, :unpriced)
            ON CONFLICT (owner, model, tier) DO UPDATE SET paid = paid + :paid, failed = failed + :failed,
            prompt_tokens = prompt_tokens + :prompt_tokens, cached_tokens = cached_tokens + :cached_tokens,
            output_tokens = output_tokens + :output_tokens, amount = amount + :amount,
            unpriced = unpriced + :unpriced""",
            values,
        )
        if paid:
            db.execute(
                "INSERT INTO paid_requests VALUES (?, 1) ON CONFLICT (digest) DO UPDATE SET paid = paid + 1",
                (_digest(store, call, request),),
            )


def by_tier(store: Store) -> list[dict[str, Any]]:
    """All calls, by project, model and tier. ``usd`` is None if one of them has no known price."""
    return [
        {
            "project": row["owner"],
            "model": row["model"],
            "tier": row["tier"],
            "rows": row["paid"] + row["failed"],
            "paid": row["paid"],
            "failed": row["failed"],
            "promptTokens": row["prompt_tokens"],
            "cachedTokens": row["cached_tokens"],
            "outputTokens": row["output_tokens"],
            "usd": None if row["unpriced"] else row["amount"] / _PICO,
        }
        for row in store.rows("SELECT * FROM calls ORDER BY owner, model, tier")
    ]


def repeated(store: Store) -> dict[str, int]:
    """How many ``requests`` were paid for in calls, how often in all (``paid``), and how often more than once each.

    ``doubles`` is the number of payments after the first; ``most`` is that of the request that was paid most often.
    """
    row = store.row("SELECT count(*), total(paid), coalesce(max(paid), 0) FROM paid_requests")
    requests, paid, most = (0, 0, 0) if row is None else map(int, row)
    return {"requests": requests, "paid": paid, "doubles": paid - requests, "most": most}


def _digest(store: Store, call: Answered, request: Mapping[str, Any]) -> bytes:
    """What tells requests apart: the project, the model and the body, whatever the tier."""
    body = {name: value for name, value in request.items() if name != "serviceTier"}
    return hashlib.blake2b(jsonl.encode([call.owner, call.name, body]), key=store.salt, digest_size=16).digest()


def _amount(model: str, tier: Tier, day: dt.date, used: tuple[int, int, int]) -> int | None:
    """What prompt, cached and output tokens cost; None if that is not known."""
    prompt, cached, output = used
    rates = _rates(model, tier, day, prompt > _LONG)
    if rates is None:
        return None
    total = Decimal(0)
    for count, rate in zip((prompt - cached, cached, output), rates, strict=True):
        if count and rate is None:
            return None
        total += count * (rate or 0)
    return round(total * _PICO / 1_000_000)


@lru_cache(maxsize=256)
def _rates(model: str, tier: Tier, day: dt.date, long: bool) -> tuple[Decimal | None, ...] | None:
    known = catalog.load().find(model)
    price = known.price_on(day) if known else None
    if price is None or tier == "priority":  # the price list has no single rate for it
        return None
    rates = price.flex if tier == "flex" else price.interactive
    if rates is None:
        return None
    held = rates.at(long=long)
    return held.input, held.cached, held.output


def _day(now: int) -> dt.date:
    return dt.datetime.fromtimestamp(now // SECOND, dt.UTC).date()
