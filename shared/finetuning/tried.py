"""What a search has to tell: its trials, the best, their spread, and which fields mattered."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from shared.errors import BadInput
from shared.finetuning.recipe import Recipe
from shared.finetuning.space import applied

_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Tried:
    """One trial: its fields by path, its best validation score (0 to 1) with the loss there, epochs and
    seconds. `why` says what ended a failed one; `same_as` is the trial whose result it took over."""

    number: int
    state: str
    fields: dict[str, Any]
    score: float | None = None
    loss: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    why: str = ""
    same_as: int | None = None


@dataclass(frozen=True)
class Found:
    """What a search gave: the best trial and its recipe, the spread of the whole trials' scores (`low, q1,
    median, q3, high`), the importance of the fields (shares of 1, largest first) and all trials in order."""

    best: Tried
    recipe: Recipe
    spread: dict[str, float]
    importance: dict[str, float]
    trials: list[Tried] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return the report as JSON has it, without the recipe."""
        return {
            "best": asdict(self.best),
            "spread": self.spread,
            "importance": self.importance,
            "trials": [asdict(one) for one in self.trials],
        }


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end, in order; those that a kill ended have no `why`."""
    every = study.get_trials(deepcopy=False, states=tuple(_STATES))
    return [one for one in every if one.state != TrialState.FAIL or "why" in one.user_attrs]


def tried(number: int, one: FrozenTrial) -> Tried:
    """Return what the study knows of a finished trial."""
    told = one.user_attrs
    curve = one.intermediate_values
    score = one.value if one.state == TrialState.COMPLETE else max(curve.values(), default=None)
    return Tried(
        number,
        _STATES[one.state],
        told["fields"],
        score,
        told.get("loss"),
        int(told.get("epochs", max(curve, default=0))),
        told.get("seconds", 0.0),
        told.get("why", ""),
        told.get("same_as"),
    )


def found(study: optuna.Study, recipe: Recipe) -> Found:
    """Return the report of a study; raises BadInput when no trial came to a score."""
    every = [tried(number, one) for number, one in enumerate(finished(study))]
    whole = [one for one in every if one.state == "complete" and one.score is not None]
    if not whole:
        said = next((one.why for one in reversed(every) if one.why), "the time was over before one ended")
        raise BadInput(f"none of {len(every)} trials came to a score; the last of them: {said}")
    best = max(whole, key=lambda one: (one.score or 0.0, -(one.loss or 0.0), -one.number))
    scores = sorted(float(one.score or 0.0) for one in whole)
    quartiles = statistics.quantiles(scores, n=4, method="inclusive") if len(scores) > 1 else scores * 3
    names = ("low", "q1", "median", "q3", "high")
    spread = dict(zip(names, [scores[0], *quartiles, scores[-1]], strict=True))
    return Found(best, applied(recipe, best.fields), spread, _importance(study, whole), every)


def _importance(study: optuna.Study, whole: Sequence[Tried]) -> dict[str, float]:
    """Return each field's share in what tells the best trials from the others (Watanabe et al. 2023,
    PED-ANOVA), empty where no two trials differ."""
    if len({one.score for one in whole}) < 2:
        return {}
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )
    return {name: round(share, 4) for name, share in shares.items()}
