"""From a query to the passages that may answer it."""

from services.support.domain import Asker, Passage, Query
from services.support.knowledge import Knowledge

DEPTH = 40  # chunks searched; recall keeps growing past what is shown
PER_DOCUMENT = 2  # chunks of one document among the passages: one long page must not fill them all


def retrieve(knowledge: Knowledge, query: Query, asker: Asker, *, k: int = 5) -> list[Passage]:
    """Return up to k passages that `asker` may read, nearest first; equal scores go by chunk id.

    Access is decided inside the search: what one may not see takes no place of what one may.
    """
    if not knowledge.chunks:
        return []
    (hits,) = knowledge.index.search(query.vector[None, :], DEPTH, allow=knowledge.allowed(asker))
    found: list[Passage] = []
    taken: dict[str, int] = {}
    for hit in hits:
        document_id, piece = knowledge.chunks[hit.id]
        if taken.get(document_id, 0) < PER_DOCUMENT:
            taken[document_id] = taken.get(document_id, 0) + 1
            document = knowledge.documents[document_id]
            found.append(Passage(document, hit.id, piece.start, piece.end, hit.score))
    return found[:k]
