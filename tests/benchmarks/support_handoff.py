"""How often support hands over what its documents can't answer, and what that costs of what they can.

    python tests/benchmarks/support_handoff.py
    python tests/benchmarks/support_handoff.py --recipe FILE    # another than ships, such as other engines

The example help centre, with tickets of all 20 intents and with those of 13: then the other 7 are questions
that documents answer and no ticket knows. Every held-out question is asked, and the foreign ones of
out_of_scope.csv, which set nothing. Beside it the plain way on the same model: a question is handed over
where no passage and no intent's middle is nearer than what tells validation questions best from shipped
foreign ones.
"""

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.answering import publishing
from pipelines.answering.limits import Scores, cut, foreign_questions
from pipelines.answering.tickets import read_tickets
from pipelines.demonstrating.figures import rows_of
from pipelines.demonstrating.place import SAMPLES
from pipelines.flow import workplace
from pipelines.support import default_recipe
from services.support.app import build
from services.support.contract import AskRequest
from services.support.domain import Asker
from services.support.intents import middles
from shared.artifacts.store import ArtifactStore
from shared.finetuning.recipe import Recipe
from shared.index import flat
from shared.index.flat import FlatIndex
from shared.models.text_model import TextModel
from shared.settings import load_settings

SUPPORT = SAMPLES / "support"
EVERY = 3  # of the intents, one of so many is taken out of the tickets


def tickets_without(intents: Sequence[str], path: Path) -> Path:
    rows = [row for row in rows_of(SUPPORT / "tickets.csv") if row["intent"] not in intents]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def measure(missing: Sequence[str], home: Path, recipe: Path) -> None:
    """Train and index in `home`, then ask every question and print the shares."""
    place = workplace(load_settings({"home": str(home)}), "support")
    tickets = tickets_without(missing, home / "tickets.csv")
    publishing.train(place, tickets, Recipe.read(recipe), promote=True)
    publishing.index(place, SUPPORT / "articles", [], base=None, promote=True)
    held = rows_of(SUPPORT / "held_out.csv")
    parts = {
        "known intent": [row["question"] for row in held if row["intent"] not in missing],
        "documents alone": [row["question"] for row in held if row["intent"] in missing],
        "foreign": [row["question"] for row in rows_of(SUPPORT / "out_of_scope.csv")],
    }
    app = build(place.settings, ArtifactStore(home / "artifacts"))
    asker = Asker("ann", frozenset())
    ours = {
        part: [app.ask(AskRequest(question=text), asker).status == "handoff" for text in texts]
        for part, texts in parts.items()
    }
    live = place.live()
    assert live is not None
    model = TextModel.load(live.parent("model").path)
    index, _ = flat.load(live.parent("index").path, model.fingerprint)
    others = plain(model, index, tickets, home, parts)
    for part, texts in parts.items():
        if texts:
            shares = [f"{np.mean(of[part]):.3f}" for of in (ours, others)]
            print(f"{20 - len(missing):>2} intents  {part:<18} {len(texts):>4} {shares[0]:>8} {shares[1]:>8}")


def plain(
    model: TextModel, index: FlatIndex, tickets: Path, home: Path, parts: dict[str, list[str]]
) -> dict[str, list[bool]]:
    rows = read_tickets(tickets, home, seed=0)
    labels = model.heads["intent"].labels
    learnt = model.embed([row["question"] for row in rows.train], query=True)
    known = middles(learnt, [row["intent"] for row in rows.train], labels)

    def near(texts: Sequence[str]) -> tuple[Scores, Scores]:
        vectors = model.embed(texts, query=True)
        pages = np.asarray([hits[0].score for hits in index.search(vectors, 1)], np.float32)
        return pages, (vectors @ known.T).max(1)

    own, foreign = near([row["question"] for row in rows.valid]), near(foreign_questions())
    page, intent = (cut(mine, theirs) for mine, theirs in zip(own, foreign, strict=True))
    found = {part: near(texts) for part, texts in parts.items() if texts}
    return {part: ((pages < page) & (intents < intent)).tolist() for part, (pages, intents) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="What support hands over, and what that costs.")
    parser.add_argument("--recipe", type=Path, default=default_recipe())
    recipe = parser.parse_args().recipe
    intents = sorted({row["intent"] for row in rows_of(SUPPORT / "tickets.csv")})
    print(f"{'tickets of':<11} {'questions':<18} {'':>4} {'ours':>8} {'plain':>8}   share handed over")
    for missing in ([], intents[::EVERY]):
        with tempfile.TemporaryDirectory() as home:
            measure(missing, Path(home), recipe)


if __name__ == "__main__":
    main()
