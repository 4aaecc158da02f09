"""`model.json`, the small file that says how a model folder is to be read."""

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.errors import Damaged, NotFound
from shared.models.heads import HeadSpec
from shared.models.out_of_scope import OutOfScope

RESTORE = "take the model from a backup or train again"
CARD, GRAPH, TOKENIZER, SELF_TEST = "model.json", "onnx/model.onnx", "tokenizer.json", "selftest.json"
HEADS, GAP = "heads.safetensors", "gap.safetensors"


SlotName = Literal["interactive", "bulk"]


class Slot(BaseModel):
    """One measured way to serve a model: which graph, in which engine, on how many threads.

    `path` and `self_test` (its own stored outputs, compared within `tolerance`) are relative to the model
    folder. `temperatures`, `thresholds` and `set_cuts` by head replace those of the card's heads: they were
    fitted on this slot's outputs. A head that is in none keeps the card's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["onnx", "openvino"]
    precision: Literal["fp32", "int8", "bf16"]
    path: str
    threads: int = Field(ge=1)
    self_test: str
    tolerance: float = Field(gt=0)
    temperatures: dict[str, float] = {}
    thresholds: dict[str, list[float]] = {}
    set_cuts: dict[str, float] = {}

    @field_validator("path", "self_test")
    @classmethod
    def _inside(cls, name: str) -> str:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name!r} lies outside the model folder")
        return name

    def calibrated(self, head: HeadSpec) -> HeadSpec:
        """Return `head` with this slot's temperature, thresholds and cut of label sets."""
        changed: dict[str, object] = {}
        if head.name in self.temperatures:
            changed["temperature"] = self.temperatures[head.name]
        if head.name in self.thresholds:
            changed["thresholds"] = self.thresholds[head.name]
        if head.name in self.set_cuts:
            changed["set_cut"] = self.set_cuts[head.name]
        return HeadSpec.model_validate({**head.model_dump(), **changed}) if changed else head


class ModelCard(BaseModel):
    """What serving must know of a model.

    `fingerprint` is a hash of weights, tokenizer, pooling and length: two models with the same one
    give vectors that may meet. `max_tokens` counts the special tokens. `query_prefix` is put before
    a text that is a query. `gap` is the token, from the start or below 0 from a text's end, whose hidden word
    is the vector in the place of `pooling`. Without `slots` the exported graph serves in ONNX Runtime;
    `runtime` "torch" says that there is no graph and the torch runtime alone can serve. `out_of_scope`
    says when a classify head refuses a text.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    base: str
    fingerprint: str
    dim: int = Field(ge=1)
    max_tokens: int = Field(ge=2)
    pooling: Literal["mean", "cls"]
    gap: int | None = None
    query_prefix: str = ""
    pad_id: int = 0
    heads: list[HeadSpec]
    slots: dict[SlotName, Slot] = {}
    runtime: Literal["onnx", "torch"] = "onnx"
    out_of_scope: OutOfScope | None = None

    @classmethod
    def read(cls, folder: Path) -> "ModelCard":
        """Read the card of a model folder; raises NotFound without one and Damaged for a broken one."""
        path = folder / CARD
        if not path.is_file():
            raise NotFound(f"{folder} holds no {CARD}; a model folder is written by `trillium train`")
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise Damaged(f"{path} can't be read: {error}; {RESTORE}") from error
