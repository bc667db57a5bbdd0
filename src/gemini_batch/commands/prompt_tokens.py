"""The tokens of a run's waiting prompts: estimated, and corrected by what the service counted in others like them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from gemini_batch.errors import Error, StateError
from gemini_batch.jsonl import read_at
from gemini_batch.money.estimates import FEWEST, Lengths, scaled
from gemini_batch.tokens.estimate import estimate_line, estimate_lines
from gemini_batch.tokens.learning import LEAST, Observed, key_of, learn, observe
from gemini_batch.tokens.media import Range as Band

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.rows.row_records import Waiting
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.tokens.estimate import Estimate

#: How many earlier runs are looked at, and how many prompts of each.
_RUNS, _PROMPTS = 5, 200
#: So many prompts are read; of more, so many random ones stand for all.
_READ = 20_000


def prompt_tokens(
    session: Session, run: Run, folder: RunFolder, rows: Rows, *, model: str, waiting: Waiting
) -> Estimate:
    """The tokens of the prompts that wait, for ``model``. Raises OSError where they cannot be read.

    ``waiting``: how many they are, and the sum of what each of them was estimated at when it was entered.
    """
    chosen = sorted(rows.some_waiting(_READ))
    with folder.open_requests() as file:
        found = estimate_lines((read_at(file, offset, length) for offset, length, _ in chosen), model)
    read = sum(tokens for *_, tokens in chosen)
    if read < waiting.tokens:
        share = waiting.requests / len(chosen)
        unknown = {name: round(count * share) for name, count in found.unknown.items()}
        found = replace(found, rows=waiting.requests, range=found.range.times(waiting.tokens / read), unknown=unknown)
    if model != run.model:
        return found  # what another model counted teaches nothing
    if found.unknown:  # only whole prompts of the same kind tell what these parts add
        return _by_length(found, _counted(session, run, rows))
    own = seen = _observed(folder, rows, found, model)
    for same_shape in (True, False):
        if seen.rows >= LEAST:
            break
        seen = own
        for other in earlier(session, run, same_shape=same_shape):
            # A run that is damaged, or whose requests cannot be read, teaches nothing.
            with suppress(Error, OSError), other.rows() as theirs:
                seen = seen.plus(_observed(other, theirs, found, model))
    return learn(found, seen)


def _counted(session: Session, run: Run, rows: Rows) -> Lengths:
    """The prompts that the service counted: of this run, or else of the newest ones of the same kind."""
    found = Lengths.of(tokens for *_, tokens in rows.prompts_counted(_PROMPTS))
    if found.number >= FEWEST:
        return found
    for other in earlier(session, run, same_shape=True):
        with suppress(StateError, OSError), other.rows() as theirs:
            found += Lengths.of(tokens for *_, tokens in theirs.prompts_counted(_PROMPTS))
    return found


def _by_length(estimate: Estimate, counted: Lengths) -> Estimate:
    """An estimate of prompts with unknown parts, from the whole length of others; unchanged if these are too few."""
    if counted.number < FEWEST:
        return estimate
    low, expected, high = scaled(estimate.rows, counted)
    return replace(
        estimate,
        range=Band(low, expected, high).times(1000),
        unknown={},
        unmeasured=frozenset(),
        learned=counted.number,
    )


def earlier(session: Session, run: Run, *, same_shape: bool) -> Iterator[RunFolder]:
    """The folders of the newest other runs of the same model: of the same shape, or of any."""
    ledger = session.ledger()
    if same_shape:
        others = [] if run.shape is None else ledger.runs_of_shape(run.shape, run.model, run.backend)
    else:
        others = [one for one in ledger.runs() if one.model == run.model and one.backend == run.backend]
    for other in [one for one in others if one.id != run.id][:_RUNS]:
        folder = session.state_folder.run(other.id)
        if folder.row_database.exists():
            yield folder


def _observed(folder: RunFolder, rows: Rows, alike: Estimate, model: str) -> Observed:
    """What the service counted in prompts of a run whose text is mostly in the same script."""
    seen = Observed()
    # A shard that is finished no longer says where its requests are.
    counted_here = sorted(one for one in rows.prompts_counted(_PROMPTS) if one[1])
    if not counted_here or not folder.has_input(None):
        return seen
    with folder.open_requests() as file:
        for offset, length, counted in counted_here:
            one = estimate_line(read_at(file, offset, length), model)
            if not one.unknown and key_of(one, model) == key_of(alike, model):
                seen = seen.plus(observe(one, counted))
    return seen
