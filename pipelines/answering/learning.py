"""What serving knows of intents after a training: agreed replies, and which questions are none of them."""

import numpy as np

from pipelines.answering.limits import cut, foreign_questions
from pipelines.answering.tickets import Tickets, replies
from services.support.domain import FloatArray
from services.support.intents import HEAD, IntentCard, Intents, levels, middles, nearness, vectors
from shared.finetuning.out_of_scope import MIN_VALID, Encoded, fit
from shared.models.text_model import Outputs, TextModel

KEPT = 0.94  # share of validation questions that are recognised


def learnt(model: TextModel, rows: Tickets) -> tuple[Intents, FloatArray]:
    """Return the intents of the model's head, and the vectors (n, dim) of the validation questions.

    The out-of-scope rule is fitted on the training questions, the shipped foreign ones and the validation
    questions, which set the threshold. Under 20 of these it is a cosine to the middle of the likeliest
    intent, between the validation questions' and the foreign ones'.
    """
    spec = model.heads[HEAD]
    train, own, foreign = (
        model.run(texts, query=True)
        for texts in (_questions(rows.train), _questions(rows.valid), list(foreign_questions()))
    )
    known = middles(vectors(train), [row["intent"] for row in rows.train], spec.labels)
    card = IntentCard(labels=spec.labels, replies=replies(rows))
    if len(rows.valid) < MIN_VALID:
        near, far = ((vectors(one) @ known.T).max(1) for one in (own, foreign))
        return Intents(card.model_copy(update={"threshold": cut(near, far)}), known), vectors(own)
    at = [[spec.labels.index(row["intent"]) for row in side] for side in (rows.train, rows.valid)]
    rule, places = fit(
        spec.model_copy(update={"temperature": 1.0}),  # the levels are of calibrated probabilities
        vectors(train),
        at[0],
        _encoded(own),
        at[1],
        foreign=_encoded(foreign),
    )
    # The rule's own threshold counts right answers; a question whose intent is guessed wrongly belongs here
    # all the same, and a page may answer it.
    limit = float(np.quantile(nearness(rule, places, own), 1 - KEPT))
    card = card.model_copy(update={"threshold": limit, "rule": rule})
    return Intents(card, known, places), vectors(own)


def _questions(rows: list[dict[str, str]]) -> list[str]:
    return [row["question"] for row in rows]


def _encoded(outputs: Outputs) -> Encoded:
    return Encoded(vectors(outputs), levels(outputs))
