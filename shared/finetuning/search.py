"""Search a recipe's fields by validation scores (Optuna), in a journal that a killed search goes on from."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from shared.artifacts.files import locked
from shared.errors import BadInput, Conflict, UsageError
from shared.finetuning.loop import Diverged
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows, data_hash
from shared.finetuning.space import Place, applied, standing
from shared.finetuning.trial import Scored, Watch, scored
from shared.finetuning.tried import Found, Tried, finished, found, tried
from shared.telemetry import logger

_LOG = logger(__name__)
_RANDOM = 6  # trials before the sampler follows the scores: a search of recipes has tens, not hundreds
_SETTLED = 4  # trials that end before others are measured against their median
_DIGITS = 4  # of a sampled number


def search(
    recipe: Recipe,
    space: Sequence[Place],
    data: Mapping[str, Rows],
    *,
    trials: int,
    journal: Path,
    home: Path,
    seed: int = 0,
    minutes: float | None = None,
    progress: bool = True,
) -> Found:
    """Train `trials` recipes of the space and return what their validation rows say.

    The first is the recipe as it stands, where the space holds it; the next few are drawn at random, then a
    tree-structured Parzen estimator draws near what was good (Bergstra et al. 2011). A trial ends early when
    its score after an epoch is below the median of the others' at that epoch. One that diverges or can't be
    a recipe has failed and the search goes on; fields that were tried before are not trained again. The
    better is the higher score, of equal ones the lower loss, then the earlier.

    What is known is in `journal`, by recipe, space, rows and seed. A search that was killed goes on, a trial
    from its last checkpoint, and asks what it would have asked; one that had all its trials trains nothing.
    No trial begins after `minutes`. Raises BadInput without validation rows and when no trial was scored.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("a search runs in one process; start it without torchrun")
    if not any(rows.valid for rows in data.values()):
        raise BadInput("a search compares validation scores, and there are no validation rows; give some")
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def train(made: Recipe, watch: Watch) -> Scored:
        return scored(made, data, home, home / "work" / "search", watch, progress)

    # Held to the end: two searches in one journal would ask the same.
    with locked(journal.with_name(f".{journal.name}.lock")):
        study = _study(recipe, space, data, journal, seed)
        _drop_killed(study)
        while (count := len(finished(study))) < trials and time.monotonic() < until:
            study.sampler = _sampler(seed, count)
            if count == 0:
                _ask_as_it_is(study, recipe, space, data)
            trial = study.ask()
            fields = _drawn(trial, space)
            _run(study, trial, recipe, fields, train)
            _say(tried(count, finished(study)[-1]))
        return found(study, recipe)


def _study(
    recipe: Recipe, space: Sequence[Place], data: Mapping[str, Rows], journal: Path, seed: int
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = [recipe.hash(), data_hash(data), [(p.path, p.range.model_dump()) for p in space], seed]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    _mend(journal)
    lock: Any = _Held()
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal), lock)),
            study_name=key,
            load_if_exists=True,
            direction="maximize",
            # The start is the same for most trials, so only what comes after is compared.
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_SETTLED, n_warmup_steps=1),
        )
    except (ValueError, KeyError, AssertionError) as error:
        raise Conflict(f"{journal} is no journal of a search ({error}); move it away") from error


class _Held:
    """The journal's lock, which the whole search holds already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _mend(journal: Path) -> None:
    """Drop a last line that a kill cut short: what comes behind it could never be read."""
    if journal.is_file() and (content := journal.read_bytes()) and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _sampler(seed: int, count: int) -> optuna.samplers.BaseSampler:
    # New for every trial: one sampler's random numbers would begin anew in a search that goes on.
    return optuna.samplers.TPESampler(seed=seed * 1_000_003 + count, n_startup_trials=_RANDOM)


def _drop_killed(study: optuna.Study) -> None:
    for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(one.number, state=TrialState.FAIL)


def _ask_as_it_is(
    study: optuna.Study, recipe: Recipe, space: Sequence[Place], data: Mapping[str, Rows]
) -> None:
    """Put the recipe's own values first ("auto" epochs as a number), where the space holds all of them."""
    rows = sum(len(source.train) for source in data.values())
    own = {p.path: standing(p, recipe, rows) for p in space}
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not waiting and None not in own.values():
        study.enqueue_trial({p.path: p.encoded(own[p.path]) for p in space})


def _drawn(trial: Trial, space: Sequence[Place]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place in space:
        own = place.range
        if own.choices is not None:
            by_code: dict[Any, Any] = {place.encoded(choice): choice for choice in own.choices}
            found[place.path] = by_code[trial.suggest_categorical(place.path, list(by_code))]
            continue
        low, high, step = own.low or 0, own.high or 0, own.step
        if place.whole:
            found[place.path] = trial.suggest_int(
                place.path, int(low), int(high), step=int(step or 1), log=own.log
            )
            continue
        value = trial.suggest_float(place.path, float(low), float(high), step=step, log=own.log)
        found[place.path] = min(max(float(f"{value:.{_DIGITS}g}"), float(low)), float(high))
    return found


def _run(
    study: optuna.Study,
    trial: Trial,
    recipe: Recipe,
    fields: dict[str, Any],
    train: Callable[[Recipe, Watch], Scored],
) -> None:
    """Carry one trial out and tell the study how it ended."""
    twin = next((i for i, one in enumerate(finished(study)) if one.user_attrs["fields"] == fields), None)
    trial.set_user_attr("fields", fields)
    if twin is not None:
        _take_over(study, trial, twin)
        return

    def watch(epoch: int, score: float) -> None:
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    started = time.monotonic()
    state, value, why = TrialState.COMPLETE, None, ""
    try:
        told = train(applied(recipe, fields), watch)
        value = told.score
        trial.set_user_attr("loss", told.loss)
        trial.set_user_attr("epochs", told.epochs)
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except (BadInput, Diverged) as error:
        state, why = TrialState.FAIL, error.detail
    except torch.OutOfMemoryError as error:
        state, why = TrialState.FAIL, f"out of memory: {error}".splitlines()[0]
    trial.set_user_attr("why", why)
    trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
    study.tell(trial, value, state)


def _take_over(study: optuna.Study, trial: Trial, twin: int) -> None:
    """End a trial as the one before it with the same fields did: training is repeatable."""
    one = finished(study)[twin]
    for name in ("loss", "epochs", "why"):
        if name in one.user_attrs:
            trial.set_user_attr(name, one.user_attrs[name])
    trial.set_user_attr("same_as", twin)
    for step, value in one.intermediate_values.items():
        trial.report(value, step)
    study.tell(trial, one.value if one.state == TrialState.COMPLETE else None, one.state)


def _say(one: Tried) -> None:
    _LOG.info(
        "tried a recipe",
        trial=one.number,
        state=one.state,
        score=one.score,
        seconds=one.seconds,
        **({"why": one.why} if one.why else {}),
        fields=one.fields,
    )
