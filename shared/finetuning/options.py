"""How a recipe trains: its method and its options."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MethodKind = Literal["full", "frozen", "lora", "adalora", "prefix", "prompt", "adapter"]
TEXT, MASK = "{text}", "{mask}"  # in the template of a cloze
PROMPTED = ("prefix", "prompt")  # vectors before the text; no layer can take them in
_OWN = {  # the fields of a method and the kinds that read them
    "rank": ("lora", "adalora"),
    "alpha": ("lora", "adalora"),
    "dropout": ("lora", "adalora"),
    "targets": ("lora", "adalora"),
    "tokens": PROMPTED,
    "width": ("adapter",),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Method(_Part):
    """What of the body is trained; the heads always are.

    `full` trains every weight; `frozen` leaves the backbone and fits the heads on its vectors. `c` is the
    inverse strength of that fit's L2 penalty, as in logistic regression, there and where other methods start
    from fitted heads; "auto" takes the one that is best for the classify heads in cross-validation. The
    others train few weights beside a body at rest and want a rate about ten times higher than `full`: `lora`
    and `adalora` add products of two thin matrices of `rank` (AdaLoRA: on average, at the end; it begins with
    half as many more) scaled by `alpha` / `rank`, to every linear layer or, with `targets` "attention", to
    queries and values; they are merged for serving. `adapter` puts a bottleneck `width` numbers wide behind
    every layer. `prefix` puts `tokens` trained keys and values before every layer's own, `prompt` as many
    trained vectors before the words; these two are served by the torch runtime.

    `depth` is how many of the base's layers are used, from the bottom; the others are left out, of the served
    model too. "auto" takes the number behind which a linear head tells tags or labels of spans best: the top
    layers of a base that was made for vectors of whole texts know little of single words.
    """

    kind: MethodKind = "full"
    depth: int | Literal["auto"] | None = None
    c: float | Literal["auto"] = 30.0
    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all", "attention"] = "all"
    tokens: int = Field(16, ge=1)
    width: int = Field(64, ge=1)

    @field_validator("c")
    @classmethod
    def _positive(cls, c: float | str) -> float | str:
        if isinstance(c, float) and not c > 0:
            raise ValueError('a number above 0 or "auto"')
        return c

    @field_validator("depth")
    @classmethod
    def _some(cls, depth: int | str | None) -> int | str | None:
        if isinstance(depth, int) and depth < 1:
            raise ValueError('a number of layers from 1 on, or "auto"')
        return depth

    @model_validator(mode="after")
    def _own(self) -> "Method":
        for name, kinds in _OWN.items():
            if self.kind not in kinds and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} belongs to method {' and '.join(kinds)}, not to {self.kind}")
        return self


class Adversarial(_Part):
    """A second pass over word vectors moved where the loss grows most; both passes count.

    `fgm` moves them once by `epsilon` (Miyato et al. 2017, Adversarial Training Methods for Text), `pgd`
    in `steps` steps that stay within `epsilon` (Madry et al. 2018). The distance is Euclidean over all
    word vectors of a row, so that a row is moved alike whatever stands beside it.
    """

    kind: Literal["fgm", "pgd"] = "fgm"
    epsilon: float = Field(1.0, gt=0)
    steps: int = Field(3, ge=1)


class Average(_Part):
    """Averaged weights, which are those that are validated and kept.

    `ema` follows the weights step by step with `decay`, faster at the beginning; `swa` is the plain mean of
    the weights at the ends of the epochs after the share `start` of them (Izmailov et al. 2018).
    """

    kind: Literal["ema", "swa"] = "ema"
    decay: float = Field(0.999, gt=0, lt=1)
    start: float = Field(0.5, ge=0, lt=1)


class Train(_Part):
    """How long and how hard. "auto" values are settled by `Recipe.resolved` before the hash is taken.

    `rate` is the body's, `head_rate` the heads'. `start` "frozen" begins with heads fitted on the
    frozen base, so that training starts from the plain method's answer; `start_rows` is how many rows at
    most that reads (20,000), and a blend a tenth of it. `accumulate` micro-batches
    of `batch` rows make a step (times the processes under torchrun). `contrast` adds a supervised
    contrastive loss to classify heads, with this weight, and lets rows stand beside one of their label.
    `warmup` is the share of steps with a rising rate.
    `schedule` "plateau" halves the rate after an epoch without a better validation score and has no
    warm-up. `clip` is the largest gradient norm, 0 for any. Training stops after `patience` epochs
    without a better validation score than an epoch before had; the best is kept, be it the start.

    Rate "auto" becomes the number that a rehearsal with a rising rate finds (see `rate_test`), and the
    resolved recipe keeps it.

    `steps` ends the training before its epochs do; `minutes` becomes such a number after at most 20 trial
    steps, less what is read beside the steps (where that would be much, `start_rows` becomes smaller), and
    the resolved recipe keeps both numbers in its place.

    `layer_decay` multiplies the rate from layer to layer downwards. `unfreeze` layers more are trained each
    epoch, from the top; 0 trains all at once. `dropout` replaces the base's own. `rdrop` pulls two passes
    with their own dropout together, with this weight (Liang et al. 2021). `mixup` mixes the vectors and
    labels of classify heads, drawing shares from Beta(mixup, mixup) (Zhang et al. 2018; on sentence vectors
    Guo et al. 2019). `noise` is added to word vectors (NEFTune's alpha, Jain et al. 2023);
    `hide` is the mean share of tokens behind the mask, drawn anew in each pass.
    `mix` "temperature" shows rows of small data sources more often: a source of n rows makes up a share of an
    epoch that grows with n^(1 / `mix_temperature`), "proportional" is a temperature of 1. `weighting`
    "uncertainty" learns beside the heads how much each head's loss counts (Kendall et al. 2018).
    `checkpointing` computes activations twice instead of keeping them. `refit` trains once more on all rows,
    those of validation too, for as many passes as were best; calibration and figures stay those of the first
    run, which had not seen them. `precision` "fp16" needs a GPU.
    `fsdp` spreads a model over the GPUs of torchrun; it is passed through and was never tried by us.
    `pairs` trains the body on so many pairs a row of the same label, one pass over them, and then fits the
    heads by logistic regression on the new vectors (SetFit, Tunstall et al. 2022): for few rows a class. It
    takes the place of `epochs`; 0 is off.
    `blend` is the share of the tuned weights in what is kept, the rest being those of the start (see
    `blending`); "auto" chooses it on validation rows, and the resolved recipe keeps the number.
    `track` also writes the curves for these programs, below `tracking` in the home folder.
    """

    epochs: int | Literal["auto"] = Field("auto")
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    rate: float | Literal["auto"] = 5e-5
    head_rate: float = Field(1e-3, gt=0)
    batch: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: int = Field(0, ge=0)
    max_tokens: int | None = Field(None, ge=8)
    patience: int | None = Field(3, ge=1)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    contrast: float = Field(0.0, ge=0)
    blend: float | Literal["auto"] = 1.0
    warmup: float = Field(0.1, ge=0, lt=1)
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    schedule: Literal["linear", "cosine", "plateau", "constant"] = "linear"
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, ge=0)
    start: Literal["frozen", "random"] = "frozen"
    start_rows: int | None = Field(None, ge=1)
    layer_decay: float = Field(1.0, gt=0, le=1)
    unfreeze: int = Field(0, ge=0)
    dropout: float | None = Field(None, ge=0, lt=1)
    adversarial: Adversarial | None = None
    rdrop: float = Field(0.0, ge=0)
    mixup: float = Field(0.0, ge=0)
    average: Average | None = None
    noise: float = Field(0.0, ge=0)
    hide: float = Field(0.0, ge=0, le=0.5)
    mix: Literal["proportional", "temperature"] = "proportional"
    mix_temperature: float = Field(2.0, ge=1)
    weighting: Literal["fixed", "uncertainty"] = "fixed"
    checkpointing: bool = False
    refit: bool = False
    pairs: int = Field(0, ge=0)
    fsdp: bool = False
    track: list[Literal["tensorboard", "wandb"]] = []

    @field_validator("rate")
    @classmethod
    def _rising(cls, rate: float | str) -> float | str:
        if not isinstance(rate, str) and not rate > 0:
            raise ValueError('rate must be above 0, or "auto"')
        return rate

    @field_validator("blend")
    @classmethod
    def _share(cls, blend: float | str) -> float | str:
        if not isinstance(blend, str) and not 0 < blend <= 1:
            raise ValueError('blend must be above 0 and at most 1, or "auto"')
        return blend

    @property
    def blends(self) -> bool:
        """Whether tuned weights are blended with those of the start."""
        return self.blend != 1

    @model_validator(mode="after")
    def _positive(self) -> "Train":
        if self.epochs != "auto" and self.epochs < 1:
            raise ValueError('epochs must be 1 or more, or "auto"')
        if (
            self.mix == "proportional"
            and self.mix_temperature != type(self).model_fields["mix_temperature"].default
        ):
            raise ValueError('mix_temperature belongs to mix "temperature", not to "proportional"')
        if self.mix != "proportional" and self.contrast:
            raise ValueError("mix orders rows by source and contrast by label; use one of them")
        if self.weighting == "uncertainty" and (self.mixup or self.fsdp):
            raise ValueError(
                'weighting "uncertainty" goes without mixup, which takes the heads\' plain losses, and fsdp'
            )
        if self.rdrop and self.dropout == 0:
            raise ValueError("rdrop compares two passes that differ by their dropout; leave dropout above 0")
        return self


class Cloze(_Part):
    """Labels are read from a hidden word (see `cloze`), for one classify head and few rows.

    `template` has `{text}` and `{mask}` once each: "{text} It is about {mask}." `words` are the word or words
    of a label that may fill the gap; a label without an entry is its own name. The base must know how to find
    hidden words: a masked language model, or what `--task mlm` made. Training begins with what the words say,
    where other recipes begin with a regression; method frozen fits that regression on what stands in the gap.
    """

    template: str
    words: dict[str, str | list[str]] = {}

    def words_of(self, label: str) -> list[str]:
        """Return the words given for a label, none where its name is to be taken."""
        found = self.words.get(label, [])
        return [found] if isinstance(found, str) else list(found)

    @model_validator(mode="after")
    def _gaps(self) -> "Cloze":
        for part in (TEXT, MASK):
            if self.template.count(part) != 1:
                raise ValueError(f'template needs {part} once, as in "{TEXT} It is about {MASK}."')
        return self
