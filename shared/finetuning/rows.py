"""The rows of one data source, as a recipe's heads read them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Training and validation rows; a row is a mapping of column to value. Neither list is changed."""

    train: Sequence[Mapping[str, Any]]
    valid: Sequence[Mapping[str, Any]] = ()


def data_hash(data: Mapping[str, Rows]) -> str:
    """Return the SHA-256 of all rows with their order; columns that begin with _ don't count."""
    digest = hashlib.sha256()
    for name in sorted(data):
        for part, rows in (("train", data[name].train), ("valid", data[name].valid)):
            digest.update(f"\0{name}\0{part}\0".encode())
            for row in rows:
                kept = {k: v for k, v in row.items() if not k.startswith("_")}
                digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    return digest.hexdigest()
