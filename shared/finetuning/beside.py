"""What is learnt from beside the labelled rows: teachers, an earlier model, copies, unlabelled rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.models.heads import PAIRED

TAUGHT = ("classify", "multilabel", "regress", "score", "embed")  # kinds that a teacher can teach
COPIED = ("classify", "multilabel", "regress")  # kinds whose targets belong to no place in the text
CopyKind = Literal["words", "template", "mined", "translate"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Distil(_Part):
    """Teachers whose mean answer is learnt beside the labels (Hinton et al. 2015, Distilling the Knowledge).

    `teachers` are model folders or artifacts, whose heads are matched by name and kind; or `seeds` models of
    this recipe are trained first, with the seeds that follow `train.seed`, and teach the one that is kept.
    Each head's loss gains `weight` times its distance from the teachers: Kullback-Leibler divergence at
    `temperature` for classify (times its square, as theirs), binary cross-entropy for multilabel and score,
    squared error for regress, 1 - cosine for an embed head with data of its own. Heads of tokens learn from
    their rows alone. `data` names further rows, without labels, that the teachers answer.

    `minutes` of the training are shared between teachers and student. `teachers_sha256` is settled.
    """

    teachers: list[str] = []
    seeds: int = Field(0, ge=0)
    weight: float = Field(1.0, gt=0)
    temperature: float = Field(2.0, gt=0)
    data: str | None = None
    teachers_sha256: list[str] = []

    @model_validator(mode="after")
    def _one_way(self) -> "Distil":
        if bool(self.teachers) == bool(self.seeds):
            raise ValueError("distil takes either teachers (model folders or artifacts) or seeds (a number)")
        return self


class Continual(_Part):
    """Training goes on from the weights of an earlier model, `previous`, a model folder or an artifact.

    Heads of the same name and kind are taken over. Labels are matched by name: those that are new get rows
    of their own behind the known ones, which all stay. The base of the recipe is then that of `previous`.

    What is known is kept in three ways, which may be joined. `replay` trains on this share of the earlier
    rows `data` again, drawn as evenly over the labels as they allow. `ewc` adds, with this weight, half the
    squared distance from the earlier weights, each weight counting by its Fisher information on at most
    `fisher_rows` of those rows (Kirkpatrick et al. 2017, elastic weight consolidation); the information is
    scaled to a mean of 1 a weight, so that the number means the same for every model. `distil` adds, with
    this weight, the distance from what `previous` says of every row, on the labels it knows, at
    `temperature` (Li and Hoiem 2016, Learning without Forgetting).

    Validation rows of `data` are validated too, so that an epoch that forgets is not the best.
    `previous_sha256` is settled.
    """

    previous: str
    data: str | None = None
    replay: float = Field(0.0, ge=0, le=1)
    ewc: float = Field(0.0, ge=0)
    fisher_rows: int = Field(256, ge=1)
    distil: float = Field(0.0, ge=0)
    temperature: float = Field(2.0, gt=0)
    previous_sha256: str | None = None

    @model_validator(mode="after")
    def _rows(self) -> "Continual":
        for name in ("replay", "ewc"):
            if getattr(self, name) and self.data is None:
                raise ValueError(f"continual.{name} needs earlier rows: name them in continual.data")
        return self


class Augment(_Part):
    """Changed copies of the training rows, `copies` of each kind a row; validation rows get none.

    `words` swaps, drops and misspells a share `probability` of the words, one of the three a copy (EDA, Wei
    and Zou 2019). `template` fills numbers and names with those of other rows of the same labels. `mined`
    puts words in the place of others where two near rows of the same labels differ in them. `translate`
    writes the text in another language and back, by the two local sequence-to-sequence folders `there`
    and `back`.

    A copy must keep its meaning: its vector of the frozen base has a cosine of at least `likeness` with the
    row's, and a logistic regression on such vectors that never saw the row still gives its labels. What
    fails is dropped and counted. Rows of token heads and of pairs are left as they are.
    """

    kinds: list[CopyKind] = Field(["words"], min_length=1)
    copies: int = Field(1, ge=1)
    probability: float = Field(0.1, gt=0, lt=1)
    likeness: float = Field(0.7, ge=-1, le=1)
    there: str | None = None
    back: str | None = None

    @model_validator(mode="after")
    def _folders(self) -> "Augment":
        if ("translate" in self.kinds) != (self.there is not None and self.back is not None):
            raise ValueError(
                'augment.kinds "translate" and the folders augment.there and augment.back belong together'
            )
        return self


class Unlabelled(_Part):
    """Rows `data` without labels, for classify heads.

    `pseudo`: a first model labels them, `by` "frozen" (logistic regression on the frozen base) or "first"
    (this recipe without these rows, which takes as long again). A label is taken where its calibrated
    probability reaches a threshold: the lowest at which the answers on validation rows are right in the
    share `accuracy`. At most `most` rows a label, the surest first, and with `balanced` no label more than
    twice the median of the labels. They are learnt with `weight`.

    `consistency`: the answer to a text and to a copy with changed words should be one (Xie et al. 2020,
    Unsupervised Data Augmentation): cross-entropy towards the sharpened answer (temperature `sharpen`) to
    the text as it is, with `weight`, only where that answer's probability is above `confidence`.
    """

    data: str
    kinds: list[Literal["pseudo", "consistency"]] = Field(["pseudo"], min_length=1)
    by: Literal["frozen", "first"] = "frozen"
    weight: float = Field(1.0, gt=0)
    accuracy: float = Field(0.95, gt=0, le=1)
    most: int | None = Field(None, ge=1)
    balanced: bool = True
    confidence: float = Field(0.8, ge=0, lt=1)
    sharpen: float = Field(0.4, gt=0)
    probability: float = Field(0.1, gt=0, lt=1)


def refuse_beside(
    parts: Mapping[str, Any], kinds: Sequence[str], *, method: str, fsdp: bool, pairs: int, base_auto: bool
) -> None:
    """Raise ValueError for parts of a recipe, by name, that its heads' kinds or its method can't use."""
    used = [name for name, part in parts.items() if part is not None]
    for name in used:
        if method == "frozen" and name != "augment":
            raise ValueError(
                f"{name} needs training step by step, and method frozen fits heads once; use full or lora"
            )
        if fsdp and name != "augment":
            raise ValueError(f"{name} reads whole models, which train.fsdp spreads; drop one")
        if pairs and name != "augment":
            raise ValueError(f"train.pairs fits its heads once at the end; drop {name} or train.pairs")
    wanted = {"distil": TAUGHT, "augment": COPIED, "unlabelled": ("classify",)}
    for name in set(used) & set(wanted):
        if not set(kinds) & set(wanted[name]):
            raise ValueError(f"{name} is for heads of kind {', '.join(wanted[name])}, and there is none")
    loose = [n for n in ("distil", "unlabelled") if parts.get(n) is not None and parts[n].data is not None]
    if loose and set(kinds) & set(PAIRED):
        raise ValueError(f"{loose[0]}.data are single texts, which heads of two texts don't read; drop it")
    continual = parts.get("continual")
    if continual is not None and base_auto:
        raise ValueError('continual begins with the weights of previous; drop base = "auto"')
    if continual is not None and continual.ewc and method != "full":
        raise ValueError(f"continual.ewc keeps the weights of the body, which {method} does not train")
