"""A recipe is data: TOML read into a frozen model. It says all that a training run depends on."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import BadInput, NotFound
from shared.models.heads import HeadKind

MethodKind = Literal["full", "frozen"]
DEFAULT_BASE = "all-MiniLM-L6-v2"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Rows of text. `files` may stay empty where the caller hands rows over; `text` names the column."""

    files: list[str] = []
    text: str = "text"


class Head(_Part):
    """One output and what it learns from.

    classify: `label` is the column of the label; multilabel: of a list of labels. embed: rows are
    pairs in the columns `anchor`, `positive` and, where there are hard negatives, `negative`;
    without `data` it is the pooled vector as the other heads leave it. `labels` fixes the labels and
    their order, else they come from the training rows, sorted. `weight` scales the head's loss.
    `keep` (embed) adds a pull towards the base's own vectors, so that a model tuned for labels goes
    on to retrieve well. `scale` is the contrastive temperature.
    """

    kind: HeadKind
    data: str | None = None
    label: str = "label"
    labels: list[str] = []
    weight: float = Field(1.0, gt=0)
    keep: float = Field(0.0, ge=0)
    anchor: str = "anchor"
    positive: str = "positive"
    negative: str = "negative"
    scale: float = Field(0.05, gt=0)


class Method(_Part):
    """`full` trains every weight; `frozen` leaves the backbone and fits the heads on its vectors.

    `c` is the inverse strength of the frozen fit's L2 penalty, as in logistic regression.
    """

    kind: MethodKind = "full"
    c: float = Field(30.0, gt=0)


class Train(_Part):
    """How long and how hard. "auto" values are settled by `Recipe.resolved` before the hash is taken.

    `rate` is the body's, `head_rate` the heads'. `start` "frozen" begins with heads fitted on the
    frozen base, so that training starts from the plain method's answer. `accumulate` micro-batches
    of `batch` rows make a step. `contrast` adds a supervised contrastive loss to classify heads, with
    this weight. `warmup` is the share of steps with a rising rate. `clip` is the largest gradient norm,
    0 for any. Training stops after `patience` epochs without a better validation score, and the best
    is kept, be it the start.
    """

    epochs: int | Literal["auto"] = Field("auto")
    rate: float = Field(5e-5, gt=0)
    head_rate: float = Field(1e-3, gt=0)
    batch: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(0, ge=0)
    max_tokens: int | None = Field(None, ge=8)
    patience: int | None = Field(3, ge=1)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    contrast: float = Field(0.0, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    schedule: Literal["linear", "cosine"] = "linear"
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, ge=0)
    start: Literal["frozen", "random"] = "frozen"

    @model_validator(mode="after")
    def _positive(self) -> "Train":
        if self.epochs != "auto" and self.epochs < 1:
            raise ValueError('epochs must be 1 or more, or "auto"')
        return self


class Recipe(_Part):
    """A whole recipe. `labels` maps label names as they come to those wanted: old = "new" for every
    head, or a table for one head."""

    base: str = DEFAULT_BASE
    base_sha256: str | None = None
    data: dict[str, Source] = {}
    heads: dict[str, Head] = Field(min_length=1)
    method: Method = Method()
    train: Train = Train()
    labels: dict[str, str | dict[str, str]] = {}

    @model_validator(mode="after")
    def _fits(self) -> "Recipe":
        for name, head in self.heads.items():
            if not name.isidentifier() or name == "tokens":
                raise ValueError(f"heads.{name}: a head's name is letters, digits and _, and not 'tokens'")
            if head.kind != "embed" and head.data is None:
                raise ValueError(f"heads.{name}: a {head.kind} head needs data")
            if head.kind == "embed" and head.data and self.method.kind == "frozen":
                raise ValueError(
                    f"heads.{name}: method frozen trains no embed head; drop its data, or use full"
                )
        if sum(head.kind == "embed" for head in self.heads.values()) > 1:
            raise ValueError("heads: at most one embed head")
        return self

    @classmethod
    def parse(cls, tree: dict[str, Any], *, where: str = "recipe") -> "Recipe":
        """Build from a parsed TOML or JSON tree; raises BadInput naming field, value and what is allowed."""
        kind = (
            tree.get("method", {}).get("kind", "full") if isinstance(tree.get("method", {}), dict) else None
        )
        if kind not in get_args(MethodKind):
            raise BadInput(f"{where}: method.kind {kind!r} is not one of {', '.join(get_args(MethodKind))}")
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise BadInput("; ".join(_say(where, part) for part in error.errors())) from error

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a TOML file; raises NotFound or BadInput."""
        try:
            return cls.parse(tomllib.loads(path.read_text("utf-8")), where=str(path))
        except FileNotFoundError as error:
            raise NotFound(f"there is no recipe {path}") from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadInput(f"{path} is no TOML recipe: {error}") from error

    def with_(self, **changes: Any) -> "Recipe":
        """Return a copy with fields replaced: `base="…"`, `seed=1` (the training seed)."""
        seed = changes.pop("seed", None)
        tree = {**self.model_dump(), **{name: value for name, value in changes.items() if value is not None}}
        if seed is not None:
            tree["train"] = {**tree["train"], "seed": seed}
        return Recipe.parse(tree)

    def resolved(self, *, rows: int, precision: str, base_sha256: str, max_tokens: int) -> "Recipe":
        """Settle what "auto" left open, for `rows` training rows; only then the hash names the run."""
        epochs = auto_epochs(rows) if self.train.epochs == "auto" else self.train.epochs
        settled = precision if self.train.precision == "auto" else self.train.precision
        wanted = self.train.max_tokens or max_tokens
        known = {"epochs": epochs, "precision": settled, "max_tokens": min(wanted, max_tokens)}
        train = self.train.model_copy(update=known)
        return self.model_copy(update={"train": train, "base_sha256": base_sha256})

    def hash(self) -> str:
        """Return the SHA-256 of the recipe; file names are left out, the data has a hash of its own."""
        tree = self.model_dump(mode="json", exclude={"data": {"__all__": {"files"}}})
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()

    def rename(self, head: str, label: str) -> str:
        """Return `label` as the recipe's [labels] wants it for this head."""
        own = self.labels.get(head)
        if isinstance(own, dict) and label in own:
            return own[label]
        common = self.labels.get(label)
        return common if isinstance(common, str) else label


def auto_epochs(rows: int) -> int:
    """Return 4 to 10 epochs: few rows need more passes for the same number of steps."""
    return max(4, min(10, 6000 // max(1, rows)))


def _say(where: str, part: Any) -> str:
    place = ".".join(str(step) for step in part["loc"])
    return (
        f"{where}: {place}: {part['msg']} (got {part.get('input')!r})" if place else f"{where}: {part['msg']}"
    )
