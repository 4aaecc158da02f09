"""A recipe is data: TOML read into a frozen model. It says all that a training run depends on."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import BadInput, NotFound
from shared.finetuning.beside import Augment, Continual, Distil, Unlabelled, refuse_beside
from shared.finetuning.compatibility import refuse_pairs
from shared.finetuning.options import PROMPTED, Cloze, Method, MethodKind, Train
from shared.finetuning.shrink.options import Compress
from shared.models.heads import BY_TOKEN, PAIRED, HeadKind

DEFAULT_BASE = "all-MiniLM-L6-v2"
_BESIDE = ("distil", "continual", "augment", "unlabelled")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Rows of text. `files` may stay empty where the caller hands rows over; `text` names the column.

    `valid` and `test` are files of their own; without `valid` a part of `files` is held out.
    """

    files: list[str] = []
    valid: list[str] = []
    test: list[str] = []
    text: str = "text"


class Head(_Part):
    """One output and what it learns from.

    `label` is the column of what is to be learnt. classify: a label; multilabel: a list of labels;
    regress: a number; score: 0 to 1, for the pair in the columns `query` and `text`, which it reads
    together; similarity: the same of the vectors that an embed head gives, each text read alone, which needs
    fewer rows and lets vectors be kept; tag: the BIO tags of
    the words in the column `tokens`; entity: a list of {start, end, label} in characters of the text. mlm
    reads the text alone. span reads the columns question, context, answer and, where the answer stands
    more than once, `start`. embed: rows are pairs in the columns `anchor`, `positive` and, where there are
    hard negatives, `negative`; without `data` it is the pooled vector as the other heads leave it, and
    `sizes` are the shorter vectors that it learns beside the whole one. `labels` fixes the labels and
    their order, else they come from the training rows, sorted. `weight` scales the head's loss.
    `keep` (embed) adds a pull towards the base's own vectors, so that a model tuned for labels goes
    on to retrieve well. `scale` is the contrastive temperature. `names` (classify) learns the words of each
    label's name as one more text of that label, which helps where a label has few.
    `next_sentence` (mlm) cuts each text in two between sentences and also learns whether the second part is
    the text's own or another row's (Devlin et al. 2019); that is neither scored nor served.
    """

    kind: HeadKind
    data: str | None = None
    label: str = ""
    labels: list[str] = []
    weight: float = Field(1.0, gt=0)
    keep: float = Field(0.0, ge=0)
    anchor: str = "anchor"
    positive: str = "positive"
    negative: str = "negative"
    scale: float = Field(0.05, gt=0)
    sizes: list[int] = []
    names: bool = False
    next_sentence: bool = False

    @property
    def target(self) -> str:
        """The column of what is to be learnt: `label`, else the one that the kind is known for."""
        return self.label or {"tag": "tags", "entity": "spans"}.get(self.kind, "label")


class Recipe(_Part):
    """A whole recipe. `labels` maps label names as they come to those wanted: old = "new" for every
    head, or a table for one head. `distil`, `continual`, `augment` and `unlabelled` say what is learnt from
    beside the labelled rows, `cloze` that labels are read from a hidden word, `compress` how the model is
    made smaller and quicker afterwards."""

    base: str = DEFAULT_BASE
    base_sha256: str | None = None
    data: dict[str, Source] = {}
    heads: dict[str, Head] = Field(min_length=1)
    method: Method = Method()
    train: Train = Train()
    labels: dict[str, str | dict[str, str]] = {}
    distil: Distil | None = None
    continual: Continual | None = None
    augment: Augment | None = None
    unlabelled: Unlabelled | None = None
    cloze: Cloze | None = None
    compress: Compress | None = None

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
            if head.kind in (*BY_TOKEN, "mlm") and self.method.kind == "frozen":
                raise ValueError(f"heads.{name}: method frozen trains no {head.kind} head; use full")
            if head.names and head.kind != "classify":
                raise ValueError(f"heads.{name}: names belongs to classify heads, not to {head.kind}")
            if head.next_sentence and head.kind != "mlm":
                raise ValueError(f"heads.{name}: next_sentence belongs to mlm, not to {head.kind}")
        kinds = [head.kind for head in self.heads.values()]
        if "similarity" in kinds and "embed" not in kinds:
            raise ValueError('heads: a similarity head compares vectors; add a head of kind "embed"')
        self._refuse_with_next()
        refuse_pairs(self.method, self.train, kinds)
        learning = [head.data for head in self.heads.values() if head.data]
        if self.train.mix != "proportional" and len(set(learning)) < 2:
            raise ValueError(f'train.mix "{self.train.mix}" mixes data sources, and there is one; drop it')
        if self.train.weighting != "fixed" and len(learning) < 2:
            raise ValueError(
                f'train.weighting "{self.train.weighting}" weighs heads, and one learns; drop it'
            )
        if self.train.pairs and any(head.kind == "embed" and head.data for head in self.heads.values()):
            raise ValueError("train.pairs pairs the rows of one classify head; drop the embed head's data")
        refuse_beside(
            {name: getattr(self, name) for name in _BESIDE},
            kinds,
            method=self.method.kind,
            fsdp=self.train.fsdp,
            pairs=self.train.pairs,
            base_auto=self.base == "auto",
        )
        if self.cloze is not None:
            self._refuse_with_cloze()
        if self.train.refit and any(head.kind == "embed" and head.data for head in self.heads.values()):
            raise ValueError(
                "train.refit: vectors are measured on the served model, which has seen all rows then"
            )
        if kinds.count("embed") > 1:
            raise ValueError("heads: at most one embed head")
        if any(kind in PAIRED for kind in kinds) and len(set(kinds)) > 1:
            raise ValueError(
                f"heads: {' and '.join(PAIRED)} read two texts together and share no pass with other kinds; "
                f"give them a recipe of their own (got {', '.join(kinds)})"
            )
        return self

    def _refuse_with_next(self) -> None:
        learning = {name: head for name, head in self.heads.items() if head.data}
        parted = [name for name, head in learning.items() if head.next_sentence]
        if parted and len(learning) > 1:
            raise ValueError(
                f"heads.{parted[0]}: next_sentence reads two texts together and shares no pass with other "
                "heads; give it a recipe of its own"
            )
        if parted and self.method.kind in PROMPTED:
            raise ValueError(
                f"heads.{parted[0]}: method {self.method.kind} can't tell two texts apart, which "
                "next_sentence needs; use lora or full"
            )

    def _refuse_with_cloze(self) -> None:
        learning = [head.kind for head in self.heads.values() if head.data]
        if learning != ["classify"]:
            raise ValueError(f"cloze reads the labels of one classify head, not of {', '.join(learning)}")
        if self.method.kind in PROMPTED:
            raise ValueError(f"method {self.method.kind} moves the gap of cloze; use full, lora or adapter")
        if self.base == "auto":
            raise ValueError('cloze needs a base that finds hidden words: name one in the place of "auto"')
        if self.continual is not None:
            raise ValueError("cloze begins with words, continual with an earlier model; drop one")
        if self.train.pairs:
            raise ValueError("train.pairs fits its heads anew at the end; drop cloze or train.pairs")

    @property
    def pairs(self) -> bool:
        """Whether its heads read two texts together."""
        return any(head.kind in PAIRED or head.next_sentence for head in self.heads.values())

    @classmethod
    def parse(cls, tree: dict[str, Any], *, where: str = "recipe") -> "Recipe":
        """Build from a parsed TOML or JSON tree; raises BadInput naming field, value and what is allowed.

        A table `search` is left out: it says what to try and not what a run depends on.
        """
        tree = {name: part for name, part in tree.items() if name != "search"}
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
        """Return the SHA-256 of the recipe; file names are left out, the data has a hash of its own, and so
        is where curves are drawn."""
        aside: Any = {"data": {"__all__": {"files", "valid", "test"}}, "train": {"track"}}
        # Parts that came later count where they are used: a recipe without them keeps its hash.
        aside |= {name: True for name in (*_BESIDE, "cloze", "compress") if getattr(self, name) is None}
        aside["train"] |= {name for name in ("pairs", "hide", "start_rows") if not getattr(self.train, name)}
        aside["method"] = {"depth"} if self.method.depth is None else set()
        tree = self.model_dump(mode="json", exclude=aside)
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
