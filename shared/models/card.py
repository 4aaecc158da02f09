"""`model.json`, the small file that says how a model folder is to be read."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Damaged, NotFound
from shared.models.heads import HeadSpec

RESTORE = "take the model from a backup or train again"
CARD, GRAPH, TOKENIZER, SELF_TEST = "model.json", "onnx/model.onnx", "tokenizer.json", "selftest.json"
HEADS = "heads.safetensors"


class ModelCard(BaseModel):
    """What serving must know of a model.

    `fingerprint` is a hash of weights, tokenizer, pooling and length: two models with the same one
    give vectors that may meet. `max_tokens` counts the special tokens. `query_prefix` is put before
    a text that is a query.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    base: str
    fingerprint: str
    dim: int = Field(ge=1)
    max_tokens: int = Field(ge=2)
    pooling: Literal["mean", "cls"]
    query_prefix: str = ""
    pad_id: int = 0
    heads: list[HeadSpec]

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
