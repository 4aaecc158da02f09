"""`generator.json`, the small file that says how a generator's folder is to be read."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Damaged, NotFound
from shared.models.card import RESTORE

CARD = "generator.json"
Kind = Literal["causal", "seq2seq"]


class GeneratorCard(BaseModel):
    """What one must know to write replies with a generator.

    `fingerprint` is a hash of weights, tokenizer and prompt: two with the same one write the same.
    `max_tokens` is the longest text, prompt and reply together for causal models and the prompt alone for
    seq2seq; a reply has at most `max_reply_tokens`. A reply ends at one of the tokens `end_ids`, or
    before one of the strings `stops`. With `adapter` the folder holds a LoRA adapter alone, and the base
    with `base_sha256` is needed beside it. `dtype` is that of the stored weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    base: str
    base_sha256: str
    licence: str
    kind: Kind
    adapter: bool = False
    chat: bool
    prompt_version: int
    max_tokens: int = Field(ge=8)
    max_reply_tokens: int = Field(ge=1)
    end_ids: list[int]
    stops: list[str] = []
    dtype: Literal["float32", "bfloat16", "float16"]
    fingerprint: str

    @classmethod
    def read(cls, folder: Path) -> "GeneratorCard":
        """Read the card of a folder; raises NotFound without one and Damaged for a broken one."""
        path = folder / CARD
        if not path.is_file():
            raise NotFound(
                f"{folder} holds no {CARD}; a generator is written by `trillium finetune --task generate`"
            )
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise Damaged(f"{path} can't be read: {error}; {RESTORE}") from error
