"""Whether the texts of a file are still like those that a model was measured on."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.tuning.artifact import Model
from pipelines.tuning.predicting import texts_of
from shared.errors import BadInput
from shared.models.reference import FEWEST, Finding, Profile, compare, profile
from shared.models.text_model import TextModel


@dataclass(frozen=True)
class Drift:
    """The rows on both sides that were compared, and what was found of them."""

    reference: int
    current: int
    figures: list[Finding]

    @property
    def moved(self) -> bool:
        """Whether any figure is beyond chance and large enough to matter."""
        return any(one.moved for one in self.figures)


def drifted(model: Model, file: Path, *, home: Path, reference: Path | None = None) -> Drift:
    """Compare the texts of `file` with the validation rows of the training, or with those of `reference`.

    Raises BadInput for a model of two texts or fewer than FEWEST texts on a side, NotFound for a model that
    kept no reference where none is given, and what reading the files does.
    """
    if (model.path / "generator.json").is_file():
        raise BadInput(f"{model.name} writes replies; drift is told of models that label, grade or compare")
    served = TextModel.load(model.path, engine="onnx")  # which said what was kept, whatever serves
    if served.paired or served.compares:
        raise BadInput(f"{model.name} reads two texts at a time; drift is told of models of single texts")
    if reference is None:
        before = Profile.load(model.path)
    else:
        before = profile(served, texts_of(model.path, served, reference, home))
    now = profile(served, texts_of(model.path, served, file, home))
    for side, told in (("the reference", before), (str(file), now)):
        if len(told.lengths) < FEWEST:
            raise BadInput(f"{side} has {len(told.lengths)} texts; a comparison needs {FEWEST} on each side")
    return Drift(len(before.lengths), len(now.lengths), compare(before, now))
