"""What a bundle of this application holds, and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.recommender.catalogue import Catalogue
from services.recommender.collaborative import ItemMatrix
from services.recommender.events import Like
from services.recommender.popularity import WINDOW
from services.recommender.rank import Weights
from services.recommender.store import ledger
from services.recommender.whitening import WhitenedEncoder, Whitening
from shared.artifacts.store import Artifact
from shared.errors import Damaged
from shared.index import flat
from shared.models.encoder import Encoder
from shared.models.engines import Runtime
from shared.models.shared_model import SharedModel
from shared.models.text_model import TextModel
from shared.settings import Runtime as RuntimeSettings
from shared.storage.engine import Database

MODEL, INDEX, RANKER = "model", "index", "ranker"  # the roles of a bundle's parts
WHITENING, MATRIX, RANKING = "whitening", "matrix", "ranking.json"  # files inside the parts

LoadModel: TypeAlias = Callable[[Path], Encoder]


class Ranking(BaseModel):
    """The ranker's parameters; `matrix` are the settings that its item matrix was learned with.

    With `repeats` what a user chose before may come again. `like` is a rule such as value>=4.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Weights = Weights()
    repeats: bool = False
    like: str | None = None
    window_s: float = Field(WINDOW.total_seconds(), gt=0)
    matrix: dict[str, Any] = {}

    @property
    def rule(self) -> Like | None:
        """The rule that `like` writes."""
        return Like.parse(self.like) if self.like else None

    @property
    def window(self) -> timedelta:
        """The window of what is popular."""
        return timedelta(seconds=self.window_s)


@dataclass(frozen=True)
class Serving:
    """A loaded bundle: `model` and `index` are what answers name; items with a number above `learned` came
    after the encoder's training."""

    model: str
    index: str
    encoder: Encoder
    catalogue: Catalogue
    ranking: Ranking
    learned: int


def load_model(path: Path, threads: int | None = None, engine: Runtime = "auto") -> Encoder:
    """Return the whitened encoder of a model artifact, after its self-test; raises Damaged."""
    return WhitenedEncoder(
        TextModel.load(path, threads=threads, engine=engine), Whitening.load(path / WHITENING)
    )


def load_shared(path: Path, runtime: RuntimeSettings) -> Encoder:
    """Return the whitened encoder of a model artifact for the threads of a service; raises Damaged."""
    model = TextModel.load(path, threads=runtime.threads, engine=runtime.engine)
    return WhitenedEncoder(SharedModel(model, runtime), Whitening.load(path / WHITENING))


def load_ranker(bundle: Artifact) -> tuple[Ranking, ItemMatrix]:
    """Return the ranker of a bundle; one without serves by text and popularity."""
    if RANKER not in bundle.manifest.parents:
        return Ranking(), ItemMatrix.empty()
    path = bundle.parent(RANKER).path
    try:
        ranking = Ranking.model_validate_json((path / RANKING).read_bytes())
    except (OSError, ValidationError) as error:
        raise Damaged(f"{path / RANKING} can't be read: {error}; run `trillium train recommender`") from error
    return ranking, ItemMatrix.load(path / MATRIX)


def load(bundle: Artifact, db: Database, load_encoder: LoadModel) -> Serving:
    """Return what serves `bundle`, with every item of the table in it. Raises Damaged, Conflict."""
    encoder = load_encoder(bundle.parent(MODEL).path)
    index, meta = flat.load(bundle.parent(INDEX).path, encoder.fingerprint)
    ranking, matrix = load_ranker(bundle)
    with db.read() as session:
        identity = ledger().identity(session)
    # Numbers of another table say nothing about this one: then every item is newer than the index.
    snapshot = meta.sequence if identity == bundle.parent(INDEX).manifest.extra.get("ledger") else 0
    known = bundle.parent(MODEL).manifest.extra
    # A model from before this was kept: what is newer than the index is what can be told.
    learned = int(known.get("sequence", 0)) if known.get("ledger") == identity else snapshot
    catalogue = Catalogue(index, snapshot, encoder, matrix)
    catalogue.catch_up(db)
    return Serving(str(bundle.ref), bundle.manifest.parents[INDEX], encoder, catalogue, ranking, learned)
