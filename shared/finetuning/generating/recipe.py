"""How a generator is tuned: the part of a recipe that says all that such a run depends on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import BadInput

TRIAL = 20  # steps after which minutes become a number of steps
RATES = {"full": 2e-5, "lora": 2e-4}


class Generate(BaseModel):
    """Base, method and effort. "auto" values are settled by `resolved` before the hash names the run.

    `full` tunes every weight, `lora` low-rank adapters of `rank` on all linear layers but the output;
    `merge` adds them to the weights for serving, else the folder keeps the adapter alone and needs the
    base beside it. A step is `accumulate` micro-batches of `batch` rows. `max_tokens` bounds prompt and
    reply together, `max_reply_tokens` the reply; a longer reply is cut and then does not teach to end.
    `rate` rises over the first `warmup` steps and then falls to zero in a line. `minutes` bounds the
    training: after 20 steps it becomes the step count `steps`, which the resolved recipe keeps in its
    place, so that a repeat gives the same model; `steps` never exceeds `epochs`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    base_sha256: str | None = None
    method: Literal["full", "lora"] = "lora"
    rank: int = Field(8, ge=1)
    merge: bool = True
    epochs: int = Field(3, ge=1)
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    rate: float | Literal["auto"] = "auto"
    warmup: int = Field(20, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, ge=0)
    batch: int = Field(4, ge=1)
    accumulate: int = Field(4, ge=1)
    max_tokens: int = Field(512, ge=16)
    max_reply_tokens: int = Field(192, ge=1)
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @model_validator(mode="after")
    def _fits(self) -> "Generate":
        if self.rate != "auto" and self.rate <= 0:
            raise ValueError('rate must be above 0, or "auto"')
        if self.minutes and self.warmup > TRIAL:
            raise ValueError(f"with minutes, warmup is at most {TRIAL}: later steps depend on the time left")
        if self.max_reply_tokens > self.max_tokens - 8:
            raise ValueError("max_reply_tokens must leave at least 8 of max_tokens to the prompt")
        return self

    @classmethod
    def parse(cls, fields: Mapping[str, Any], *, where: str = "recipe") -> "Generate":
        """Build from a parsed table; raises BadInput naming field, value and what is allowed."""
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            said = (
                f"{where}: {'.'.join(map(str, part['loc'])) or 'fields'}: {part['msg']}"
                for part in error.errors()
            )
            raise BadInput("; ".join(said)) from error

    def resolved(self, *, precision: str, base_sha256: str, positions: int | None) -> "Generate":
        """Settle what "auto" left open; `positions` is the longest text that the base can read.

        Raises BadInput when prompts and replies of these lengths don't fit the base.
        """
        longest = min(self.max_tokens, positions or self.max_tokens)
        if self.max_reply_tokens > longest - 8:
            raise BadInput(
                f"{self.base} reads {longest} tokens at most, which leaves no room for a prompt beside "
                f"{self.max_reply_tokens} tokens of reply; lower max_reply_tokens"
            )
        return self.model_copy(
            update={
                "base_sha256": base_sha256,
                "rate": RATES[self.method] if self.rate == "auto" else self.rate,
                "precision": precision if self.precision == "auto" else self.precision,
                "max_tokens": longest,
            }
        )

    def hash(self) -> str:
        """Return the SHA-256 of all fields."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def rows_hash(*parts: Any) -> str:
    """Return the SHA-256 of rows with their order, for the name of a run's working folder."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
