"""Files that are mostly zeros, stored without them: `NAME.sparse` beside the rest of a model folder.

A mask says which units of a file (of 4 bytes, or of 1) are not zero; these follow it. The file comes back as
it was, byte by byte. It is restored into a folder that goes away once the engine has read it.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.artifacts.files import write_aside
from shared.errors import Damaged

SUFFIX = ".sparse"
_MAGIC = b"TRSP1\n"
_WORTH = 0.95  # a file that gets no smaller than this stays as it is

Bytes = npt.NDArray[np.uint8]


def pack(folder: Path) -> dict[str, tuple[int, int]]:
    """Replace each file below the folder that gets clearly smaller; returns (bytes before, after) by name."""
    found = {}
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        content = file.read_bytes()
        small = packed(content)
        if len(small) < _WORTH * len(content):
            write_aside(file.with_name(file.name + SUFFIX), small)
            file.unlink()
            found[file.relative_to(folder).as_posix()] = (len(content), len(small))
    return found


def packed(content: bytes) -> bytes:
    """Return the bytes without their zeros, in the way that takes the least room."""
    ways = [(4, shift) for shift in range(4)] + [
        (1, 0)
    ]  # weights inside a file need not begin at a whole word
    return min((_packed(content, unit, shift) for unit, shift in ways), key=len)


def _packed(content: bytes, unit: int, shift: int) -> bytes:
    whole = np.frombuffer(content, np.uint8)
    end = shift + (max(0, len(whole) - shift) // unit) * unit
    units = whole[min(shift, end) : end].reshape(-1, unit)
    there = units.any(axis=1)
    head = {"bytes": len(whole), "unit": unit, "shift": shift, "units": len(units), "kept": int(there.sum())}
    parts = [whole[:shift], np.packbits(there), units[there].reshape(-1), whole[max(end, shift) :]]
    return _MAGIC + json.dumps(head).encode() + b"\n" + b"".join(part.tobytes() for part in parts)


def unpacked(content: bytes, name: str) -> bytes:
    """Return the bytes as they were; raises Damaged naming the file."""
    try:
        if not content.startswith(_MAGIC):
            raise ValueError("it does not begin as such files do")
        line = content.index(b"\n", len(_MAGIC))
        head = json.loads(content[len(_MAGIC) : line])
        unit, shift, count = head["unit"], min(head["shift"], head["bytes"]), head["units"]
        data: Bytes = np.frombuffer(content, np.uint8, offset=line + 1)
        mask = -(-count // 8)
        there = np.unpackbits(data[shift : shift + mask], count=count).astype(bool)
        units = np.zeros((count, unit), np.uint8)
        at = shift + mask + head["kept"] * unit
        units[there] = data[shift + mask : at].reshape(-1, unit)
        whole = data[:shift].tobytes() + units.tobytes() + data[at:].tobytes()
        if len(whole) != head["bytes"]:
            raise ValueError(f"it gives {len(whole)} bytes instead of {head['bytes']}")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Damaged(
            f"{name} can't be read: {error}; take the model from a backup or compress again"
        ) from error
    return whole


@contextlib.contextmanager
def dense(folder: Path) -> Iterator[Path]:
    """Give the folder, or, where it holds sparse files, a copy with these restored, while it is read.

    Other files are linked, not copied, but those beside a restored one: an engine looks for weights there.
    """
    small = sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not small:
        yield folder
        return
    beside = {file.parent for file in small}
    with tempfile.TemporaryDirectory(prefix="trillium-dense-") as made:
        whole = Path(made)
        for file in (one for one in folder.rglob("*") if one.is_file()):
            target = whole / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == SUFFIX:
                target.with_suffix("").write_bytes(unpacked(file.read_bytes(), str(file)))
            elif file.parent in beside and file.parent != folder:
                shutil.copy(file, target)
            else:
                target.symlink_to(file.absolute())
        yield whole
