"""The encoders that a training compares, each whitened on the catalogue."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.flow import Workplace, step
from services.recommender.bundle import WHITENING
from services.recommender.catalogue import encode_rows
from services.recommender.domain import FloatArray
from services.recommender.store import ItemRow
from services.recommender.whitening import WhitenedEncoder, Whitening
from shared.artifacts.store import Ref
from shared.finetuning import cards
from shared.finetuning.recipe import Recipe
from shared.models.reference import Profile, sample
from shared.models.text_model import TextModel
from shared.storage.engine import Database

FEWEST = 64  # pairs; with fewer there is nothing to learn and the frozen base serves


@dataclass(frozen=True)
class Candidate:
    """An encoder with what it makes of the catalogue: `vectors` (rows, dim), whitened; `usual` is what it
    says, not whitened, of a sample of it, to compare later items with."""

    name: str
    folder: Path
    encoder: WhitenedEncoder
    whitening: Whitening
    vectors: FloatArray
    usual: Profile


def whitened(name: str, folder: Path, db: Database, rows: Sequence[ItemRow]) -> Candidate:
    """Return the encoder in `folder`, whitened on the texts of `rows`; raw vectors are cached in `db`."""
    model = TextModel.load(folder, slot="bulk")
    raw = encode_rows(db, model, rows)
    whitening = Whitening.fit(raw)
    (head,) = [head for head in model.heads.values() if head.kind == "embed"]
    some = sample(range(len(rows)))
    usual = Profile.of([head], [rows[i].text for i in some], {head.name: raw[some]})
    return Candidate(name, folder, WhitenedEncoder(model, whitening), whitening, whitening.apply(raw), usual)


def frozen(place: Workplace, base: str) -> Path:
    """Return the folder of the frozen `base`, exported once."""
    from shared.finetuning.bases import resolve
    from shared.finetuning.train import export_frozen

    weights = resolve(base, home=place.settings.home, fetch=True).sha256

    def make(folder: Path) -> None:
        export_frozen(base, folder, home=place.settings.home)

    return step(place.work, "frozen", {"base": base, "weights": weights}, make).folder


def tuned(
    place: Workplace,
    recipe: Recipe,
    train: Sequence[dict[str, Any]],
    valid: Sequence[dict[str, Any]],
    key: str,
    *,
    progress: bool,
) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder of the encoder tuned on these pairs and its report; None for too few pairs.

    A killed run goes on where it was; a finished one with the same recipe and `key` is not repeated.
    """
    from shared.finetuning.bases import resolve
    from shared.finetuning.rows import Rows
    from shared.finetuning.train import finetune

    if len(train) < FEWEST:
        return None
    weights = resolve(recipe.base, home=place.settings.home, fetch=True).sha256

    def make(folder: Path) -> dict[str, Any]:
        rows = Rows(list(train), list(valid))
        work = place.work / "tuned-checkpoints"
        report = finetune(
            recipe, {"pairs": rows}, folder, home=place.settings.home, work=work, progress=progress
        )
        return {"seconds": report.seconds, "metrics": report.metrics, "recipe_hash": report.recipe_hash}

    done = step(place.work, "tuned", {"recipe": recipe.hash(), "weights": weights, "data": key}, make)
    return done.folder, dict(done.result)


def store_model(place: Workplace, chosen: Candidate, **about: Any) -> Ref:
    """Store `chosen` as the next model artifact: its folder, its whitening, what the catalogue was like."""
    recipe_hash, data_hash = about.pop("recipe_hash", None), about.pop("data_hash", None)
    with place.store.create(place.model_name, "model", recipe_hash=recipe_hash, data_hash=data_hash) as draft:
        shutil.copytree(chosen.folder, draft.path, dirs_exist_ok=True)
        chosen.whitening.save(draft.path / WHITENING)
        chosen.usual.save(draft.path)
        cards.write(draft.path, place.model_name)
        draft.metrics, draft.extra = dict(about.pop("metrics", {})), {"encoder": chosen.name, **about}
    return draft.artifact.ref
