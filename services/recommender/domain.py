"""The words of this application: items, what users do to them, and what a slate is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

Source = Literal["behaviour", "text", "repeat", "popular", "new"]


@dataclass(frozen=True)
class Item:
    """Something that can be recommended. A hidden item is kept, and never shown or named in a reason."""

    item_id: str
    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    url: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool = False

    @property
    def text(self) -> str:
        """What the encoder reads: the title, the tags, the description; what is empty is left out.

        Tags stand before the description, since an encoder cuts long texts at their end.
        """
        return ". ".join(
            part.rstrip(". ") for part in (self.title, ", ".join(self.tags), self.description) if part
        )


class Act(NamedTuple):
    """One event, checked: `ts` is aware, `value` whatever the source gave (a rating, a price)."""

    user_id: str
    item_id: str
    kind: str
    ts: datetime
    value: float | None = None


@dataclass(frozen=True)
class Asked:
    """What a slate is for: exactly one of the three is set; `k` is 1 to 100."""

    user: str | None = None
    item: str | None = None
    text: str | None = None
    k: int = 10
