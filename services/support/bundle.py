"""What a bundle of this application holds, and how it is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from pydantic import ValidationError

from services.support.answer import SentenceVectors
from services.support.decide import Limits
from services.support.intents import Intents
from services.support.knowledge import Knowledge, Snapshot
from shared.artifacts.store import Artifact
from shared.errors import Damaged
from shared.index import flat
from shared.index.flat import FlatIndex
from shared.models.card import SlotName
from shared.models.encoder import Encoder
from shared.models.engines import Runtime
from shared.models.shared_model import SharedModel
from shared.models.text_model import Outputs, TextModel
from shared.settings import Runtime as RuntimeSettings
from shared.storage.engine import Database

MODEL, INDEX = "model", "index"  # the roles of a bundle's parts
LIMITS = "answer.json"


class Model(Encoder, Protocol):
    """An encoder whose pass fills other heads too."""

    def run(self, texts: list[str], *, query: bool = False) -> Outputs:
        """Answer all heads in one pass; row i belongs to text i."""


LoadModel: TypeAlias = Callable[[Path], Model]


@dataclass(frozen=True)
class Serving:
    """A loaded bundle; `model` and `index` are what answers name."""

    model: str
    index: str | None
    encoder: Model
    intents: Intents
    knowledge: Knowledge
    limits: Limits
    sentences: SentenceVectors


def load_model(
    path: Path, threads: int | None = None, engine: Runtime = "auto", slot: SlotName = "interactive"
) -> Model:
    """Return the model of an artifact after its self-test; raises Damaged."""
    return TextModel.load(path, slot=slot, threads=threads, engine=engine)


def load_shared(path: Path, runtime: RuntimeSettings) -> Model:
    """Return the model of an artifact for the threads of a service; raises Damaged."""
    return SharedModel(TextModel.load(path, threads=runtime.threads, engine=runtime.engine), runtime)


def read_limits(bundle: Artifact) -> Limits:
    """Return the limits that the bundle was published with; raises Damaged."""
    try:
        return Limits.model_validate_json((bundle.path / LIMITS).read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise Damaged(
            f"{bundle.path / LIMITS} can't be read: {error}; run `trillium index support`"
        ) from error


def load(bundle: Artifact, db: Database, load_encoder: LoadModel) -> Serving:
    """Return what serves `bundle`, with every document of the table in it. Raises Damaged, Conflict."""
    folder = bundle.parent(MODEL).path
    encoder = load_encoder(folder)
    index, snapshot = FlatIndex(encoder.dim), Snapshot(0, "")
    if INDEX in bundle.manifest.parents:
        part = bundle.parent(INDEX)
        index, meta = flat.load(part.path, encoder.fingerprint)
        snapshot = Snapshot(meta.sequence, str(part.manifest.extra.get("ledger", "")))
    knowledge = Knowledge(index, snapshot, encoder)
    knowledge.catch_up(db)
    return Serving(
        str(bundle.ref),
        bundle.manifest.parents.get(INDEX),
        encoder,
        Intents.load(folder),
        knowledge,
        read_limits(bundle),
        SentenceVectors(encoder.embed),
    )
