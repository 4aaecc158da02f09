"""The search space of a recipe: which fields are tried, and from which values."""

import difflib
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from shared.errors import BadInput
from shared.finetuning.recipe import Recipe, auto_epochs

SEARCH = "search"  # the table of a recipe file
LEAVE = "default"  # among choices: the field is left out, and so at its default
_ROOTS = ("base", "method", "train", "heads")
_FIXED = ("train.seed", "train.track", "train.fsdp")


class Range(BaseModel):
    """From `low` to `high`, both within: evenly, by the logarithm with `log`, or only every `step`; or one
    of `choices`, which may be tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Range":
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("choices stand alone, without low, high, log and step")
            if len({json.dumps(one, sort_keys=True) for one in self.choices}) < max(1, len(self.choices)):
                raise ValueError("choices must be one or more, each once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range has low and high, or choices")
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0 and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step {self.step} must be above 0 and at most high - low")
        return self


@dataclass(frozen=True)
class Place:
    """One field of the space: its path in the recipe, its values, and whether they are whole numbers."""

    path: str
    range: Range
    whole: bool = False

    def encoded(self, choice: Any) -> str | int | float | bool:
        """Return a choice as a value that a journal holds: tables and lists as JSON."""
        return choice if isinstance(choice, str | int | float | bool) else json.dumps(choice, sort_keys=True)

    def holds(self, value: Any) -> bool:
        """Return whether the range has this number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = float(self.range.low or 0), float(self.range.high or 0)
        step = self.range.step or (1 if self.whole else 0)
        return low <= value <= high and (not step or abs((value - low) / step % 1) < 1e-9)


def parse_space(given: Mapping[str, Any], recipe: Recipe) -> list[Place]:
    """Return the fields of a `[search]` table, in its order.

    A key is the path of a field (`"train.rate"`, or nested tables), a value what `Range` tells; `train.*`,
    `heads.NAME.*`, `method`, `method.*` and `base` can be searched. A field of numbers takes whole ones where
    it wants them. Each end of a range and each choice is tried in the recipe, its other fields as they are.
    Raises BadInput for a field that isn't there, can't be searched or is named twice, and for values that
    it doesn't take.
    """
    found: list[Place] = []
    for path, told in _leaves(given):
        kind = _annotation(path, recipe)
        try:
            own = Range.model_validate(told)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(step) for step in first["loc"])
            raise BadInput(f'search."{path}": {at + ": " if at else ""}{first["msg"]}') from error
        place = Place(path, own, whole=float not in kind and int in kind)
        _checked(place, kind, recipe)
        for other in found:
            if f"{path}.".startswith(f"{other.path}.") or f"{other.path}.".startswith(f"{path}."):
                raise BadInput(f'search: "{path}" and "{other.path}" are one field; name it once')
        found.append(place)
    if not found:
        raise BadInput('search: the table is empty; name fields like "train.rate" = { low = …, high = … }')
    return found


def default_space(recipe: Recipe) -> list[Place]:
    """Return what is searched where a recipe doesn't say: the strength of the fit for method frozen, else
    rates (ten times higher where few weights are trained), passes, batch and what holds labels back."""
    if recipe.method.kind == "frozen":
        return parse_space({"method.c": {"low": 0.1, "high": 300.0, "log": True}}, recipe)
    lean = 1.0 if recipe.method.kind == "full" else 10.0
    told: dict[str, Any] = {
        "train.rate": {"low": 1e-5 * lean, "high": 2e-4 * lean, "log": True},
        "train.head_rate": {"low": 3e-4, "high": 1e-2, "log": True},
        "train.epochs": {"low": 2, "high": 10},
        "train.batch": {"choices": [16, 32, 64]},
    }
    if {"classify", "tag", "entity"} & {head.kind for head in recipe.heads.values()}:
        told["train.label_smoothing"] = {"choices": [0.0, 0.05, 0.1]}
    return parse_space(told, recipe)


def applied(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the fields at these paths replaced; raises BadInput where it can't be one."""
    tree = recipe.model_dump()
    for path, value in values.items():
        *above, last = path.split(".")
        part = tree
        for step in above:
            if not isinstance(part.get(step), dict):
                part[step] = {}
            part = part[step]
        if value == LEAVE:
            part.pop(last, None)
        else:
            part[last] = value
    return Recipe.parse(tree)


def standing(place: Place, recipe: Recipe, rows: int) -> Any:
    """Return the value of the space that leaves the recipe as it is, the number of "auto" epochs for `rows`
    training rows; None where the space has none."""
    if place.range.choices is not None:
        same = (one for one in place.range.choices if applied(recipe, {place.path: one}) == recipe)
        return next(same, None)
    part: Any = recipe.model_dump()
    for step in place.path.split("."):
        part = part.get(step) if isinstance(part, dict) else None
    if place.path == "train.epochs" and part == "auto":
        part = auto_epochs(rows)
    return part if place.holds(part) else None


def _leaves(given: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, told in given.items():
        path = f"{above}{name}"
        if isinstance(told, Mapping) and told and not set(told) & set(Range.model_fields):
            yield from _leaves(told, f"{path}.")
        else:
            yield path, told


def _checked(place: Place, kind: set[Any], recipe: Recipe) -> None:
    own = place.range
    if own.choices is None and not kind & {int, float}:
        raise BadInput(f'search."{place.path}" is no number; give choices = [...]')
    ends = own.choices if own.choices is not None else [own.low, own.high]
    if place.whole and own.choices is None:
        every = [end for end in (own.low, own.high, own.step) if end is not None]
        if any(float(end) != int(end) for end in every):
            raise BadInput(f'search."{place.path}" takes whole numbers; {every} are not all whole')
    for end in ends:
        try:
            applied(recipe, {place.path: end})
        except BadInput as error:
            raise BadInput(f'search."{place.path}" can\'t be {end!r}: {error.detail}') from error


def _annotation(path: str, recipe: Recipe) -> set[Any]:
    """Return the types that a field may have; raises BadInput for a path that leads nowhere."""
    steps = path.split(".")
    if steps[0] not in _ROOTS or path in ("train", "heads", *_FIXED):
        raise BadInput(
            f'search: "{path}" can\'t be searched; allowed are base, method, method.*, train.* '
            f"(without {', '.join(name.split('.')[1] for name in _FIXED)}) and heads.NAME.*"
        )
    kinds: set[Any] = {Recipe}
    for at, step in enumerate(steps):
        names: dict[str, Any] = {}
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names |= {name: field.annotation for name, field in kind.model_fields.items()}
        if kinds == {dict}:
            names = {name: type(head) for name, head in recipe.heads.items()}
        if step not in names:
            raise BadInput(f'search: "{path}" names no field of a recipe; {_near(steps[:at], step, names)}')
        kinds = {get_origin(kind) or kind for kind in _parts(names[step])}
    if len(steps) == 2 and steps[0] == "heads":
        raise BadInput(f'search: "{path}" is a whole head; name one of its fields, as {path}.weight')
    return kinds


def _near(above: list[str], step: str, names: Mapping[str, Any]) -> str:
    if not names:
        return f"{'.'.join(above)} has no fields"
    near = difflib.get_close_matches(step, names, n=1)
    where = f"{'.'.join(above)} has " if above else ""
    return f"did you mean {near[0]}?" if near else f"{where}{', '.join(names)}"


def _parts(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for one in get_args(annotation) for part in _parts(one)]
    return [annotation]
