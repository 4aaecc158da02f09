"""What a recipe says of compressing its model."""

from pydantic import BaseModel, ConfigDict, Field


class Compress(BaseModel):
    """What `trillium compress` does with the model where its own options say nothing else.

    `limit` is the largest loss of any head, beyond which the result is refused; by default .05 of an embed
    head's neighbours and .003 of any other metric. `layers` are kept and taught the original's outputs,
    `vocabulary` leaves out tokens that the texts never use, `zeros` is the share of weights that become 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: float | None = Field(None, ge=0, le=1)
    layers: list[int] = []
    vocabulary: bool = False
    zeros: float | None = Field(None, ge=0, lt=1)
