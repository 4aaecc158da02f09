"""Which words moved what a head says of one place in a text: a tag, the label of a span, an answer.

Occlusion as in `explain`: each word is masked in turn. The place moves along with the text around it, and its
own words are masked too: what is lost then says how far the place speaks for itself.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import BadInput, NotFound
from shared.models.explain import (
    Array,
    Explanation,
    covered,
    explained_head,
    mask_token,
    readable,
    runs_of,
    weighed,
)
from shared.models.heads import OUTSIDE, FloatArray, HeadSpec, softmax
from shared.models.reading import answers, span_probabilities, windows_of, word_tags
from shared.models.spans import Offsets, entities, first_tokens, tokens_of
from shared.models.text_model import TextModel
from shared.text.words import Word, words

KINDS = ("tag", "entity", "span")
_LEAST = 1e-9

Place = tuple[int, int]  # characters start to end


class Placed(NamedTuple):
    """An explanation and the place (characters `start` to `end` of the text) that it is about."""

    told: Explanation
    start: int
    end: int


def placed_head(model: TextModel, name: str | None) -> HeadSpec | None:
    """Return the head of that name when it speaks of places; without a name such a head only where no other
    can be explained. Raises NotFound for an unknown name."""
    if name is not None:
        if name not in model.heads:
            raise NotFound(f"this model has no head {name!r}; it has {', '.join(model.heads)}")
        return model.heads[name] if model.heads[name].kind in KINDS else None
    own = [head for head in model.heads.values() if head.kind in KINDS]
    try:
        explained = explained_head(model, None)
    except BadInput:
        return own[0] if own else None
    # A vector comes along with most models; what was learnt is the head of places.
    return own[0] if own and explained.kind == "embed" else None


def occlusion_at(
    model: TextModel,
    text: str,
    head: str | None = None,
    *,
    place: Place | None = None,
    label: str | None = None,
    other: str | None = None,
) -> Placed:
    """Return how far each word of `text` moves what the head says of `place`.

    A weight is what is lost without the word, in log-odds: for `tag` of the kind of entity at the place (or
    that it is none), a mean over its words; for `entity` of the span's label; for `span` of the answer that
    stands there, `text` being the passage and `other` the question. Without a place: the first entity that
    the tagger finds, else its first word; the best answer. An entity head needs one. `label` asks for another
    kind of entity or label. Raises BadInput for a place outside the text or behind the model's length, for a
    missing one and for a question that is missing or one too many; NotFound for an unknown head or label.
    """
    spec = placed_head(model, head)
    if spec is None:
        raise BadInput(f"head {head!r} speaks of the whole text; it has no place to explain")
    if (spec.kind == "span") != (other is not None):
        raise BadInput(
            f"a {spec.kind} head {'needs a question' if other is None else 'reads no second text'}"
        )
    if place is not None and not 0 <= place[0] < place[1] <= len(text):
        raise BadInput(f"the place {place[0]}:{place[1]} is not in the text of {len(text)} characters")
    found, measure = words(text), _MEASURES[spec.kind]
    runs = runs_of(model, text, found)
    text = readable(model, text)
    at, said, values_of = measure(model, spec, text, place, label, other)
    cover, _ = mask_token(model)
    masked = [_masked(text, run, cover, at) for run in runs]
    values = values_of([(text, at), *masked])
    return Placed(Explanation(said, weighed(found, runs, values[0] - values[1:]), "occlusion"), *at)


Values = Callable[[Sequence[tuple[str, Place]]], Array]
Measured = tuple[Place, str, Values]


def _masked(text: str, run: Sequence[Word], mask: str, place: Place) -> tuple[str, Place]:
    """Return the text with the run masked, and where the place stands in it."""
    piece = covered(text, run, mask)
    shift = len(piece) - (run[-1].end - run[0].start)

    def moved(at: int, last: bool) -> int:
        if at <= run[0].start:
            return at
        if at >= run[-1].end:
            return at + shift
        cut = next(i for i, word in enumerate(run) if at <= word.end)  # the word that the place cuts or meets
        inside = run[cut]
        before = len(covered(text, run[:cut], mask)) + inside.start - run[cut - 1].end if cut else 0
        start = run[0].start + before
        if at <= inside.start:
            return start - (inside.start - at)
        return start + len(mask) if last or at == inside.end else start

    return text[: run[0].start] + piece + text[run[-1].end :], (moved(place[0], False), moved(place[1], True))


def _odds(chance: float) -> float:
    kept = min(max(chance, _LEAST), 1 - _LEAST)
    return float(np.log(kept / (1 - kept)))


def _tag(
    model: TextModel, spec: HeadSpec, text: str, place: Place | None, label: str | None, _: str | None
) -> Measured:
    ((rows, offsets),) = _read(model, spec, [text])
    spots = [(word.start, word.end) for word in words(text)]
    tags = word_tags(spec, rows, offsets, spots)
    if not spots:
        raise BadInput("the text has no word, so there is no tag to explain")
    named = entities(spots, tags)
    at = place or ((named[0].start, named[0].end) if named else spots[0])
    own = [tag for spot, tag in zip(spots, tags, strict=True) if spot[0] < at[1] and spot[1] > at[0]]
    _require(tokens_of(offsets, *at), at)
    kind = label or next((tag[2:] for tag in own if tag != OUTSIDE), OUTSIDE)
    marks = [i for i, tag in enumerate(spec.labels) if tag == kind or tag[2:] == kind]
    if not marks:
        kinds = dict.fromkeys(tag[2:] or tag for tag in spec.labels)
        raise NotFound(f"head {spec.name!r} has no kind {kind!r}; it has {', '.join(kinds)}")

    def values(texts: Sequence[tuple[str, Place]]) -> Array:
        read = _read(model, spec, [one for one, _ in texts])
        return np.asarray(
            [_tagged(spec, *own, *one, marks) for own, one in zip(read, texts, strict=True)], np.float64
        )

    return at, kind, values


def _tagged(
    spec: HeadSpec, rows: FloatArray, offsets: Offsets, text: str, at: Place, marks: Sequence[int]
) -> float:
    spots = [(word.start, word.end) for word in words(text) if word.start < at[1] and word.end > at[0]]
    first = [token for token in first_tokens(offsets, spots or [at]) if token is not None]
    if not first:  # the place was taken out, the model having no mask
        return 0.0
    shares = softmax(rows[first].astype(np.float64) / spec.temperature)[:, marks].sum(1)
    return float(np.mean([_odds(float(share)) for share in shares]))


def _entity(
    model: TextModel, spec: HeadSpec, text: str, place: Place | None, label: str | None, _: str | None
) -> Measured:
    if place is None:
        raise BadInput("an entity head answers for a given span; say which with --at START:END or its words")
    (read,) = _read(model, spec, [text])
    _require(tokens_of(read[1], *place), place)
    shares = span_probabilities(model, spec.name, text, [place], read)[0]
    if label is not None and label not in spec.labels:
        raise NotFound(f"head {spec.name!r} has no label {label!r}; it has {', '.join(spec.labels)}")
    said = label or spec.labels[int(shares.argmax())]
    at = spec.labels.index(said)

    def values(texts: Sequence[tuple[str, Place]]) -> Array:
        found = []
        for own, (one, spot) in zip(_read(model, spec, [t for t, _ in texts]), texts, strict=True):
            there = tokens_of(own[1], *spot)
            found.append(
                _odds(float(span_probabilities(model, spec.name, one, [spot], own)[0][at])) if there else 0.0
            )
        return np.asarray(found, np.float64)

    return place, said, values


def _span(
    model: TextModel, spec: HeadSpec, text: str, place: Place | None, label: str | None, other: str | None
) -> Measured:
    if label is not None:
        raise BadInput("a span head has no labels; say with --at which answer to explain")
    question = str(other)
    if place is None:
        (best,) = answers(model, [question], [text], no_answer=False)
        if best.end == 0:
            raise BadInput("the passage holds no word, so there is no answer to explain")
        place = (best.start, best.end)

    def values(texts: Sequence[tuple[str, Place]]) -> Array:
        passages = windows_of(model, [question] * len(texts), [one for one, _ in texts])
        found = [
            max(_answered(*window, spot) for window in windows)
            for windows, (_, spot) in zip(passages, texts, strict=True)
        ]
        return np.asarray([_odds(chance) for chance in found], np.float64)

    return place, text[place[0] : place[1]], values


def _answered(rows: FloatArray, offsets: Offsets, at: Place) -> float:
    """Return the chance (0 to 1) that a window gives exactly this answer; 0 where it doesn't hold it."""
    there = tokens_of(offsets, *at)
    if not there:
        return 0.0
    inside = [0, *(i for i, (left, right) in enumerate(offsets) if right > left)]
    start, end = (softmax(rows[inside, side].astype(np.float64)) for side in (0, 1))
    return float(start[inside.index(there[0])] * end[inside.index(there[-1])])


def _read(model: TextModel, spec: HeadSpec, texts: Sequence[str]) -> list[tuple[FloatArray, Offsets]]:
    encodings = model.encode(texts)
    rows = model.raw(encodings)[spec.name]
    return [(own, encoding.offsets) for own, encoding in zip(rows, encodings, strict=True)]


def _require(tokens: Sequence[int], at: Place) -> None:
    if not tokens:
        raise BadInput(f"the place {at[0]}:{at[1]} holds no word or stands behind the model's length")


_MEASURES: dict[str, Callable[..., Measured]] = {"tag": _tag, "entity": _entity, "span": _span}
