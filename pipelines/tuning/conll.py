"""Files of tagged words: a word a line, its tag last, an empty line after each sentence."""

from pathlib import Path

from pipelines.data import LINE, Rejected, Table
from pipelines.reading.lines import read_lines
from shared.artifacts.files import sha256_of
from shared.errors import BadInput, NotFound


def read_conll(path: Path, *, tagged: bool = True) -> Table:
    """Return one row {tokens, tags} a sentence, each with its first line as `_line`.

    A word is the first field of its line, its tag the last; fields are separated by blanks or tabs. Lines
    that begin with -DOCSTART- or "# " say nothing. Without `tagged` a line needs no tag and rows have none.
    A sentence with a line that can't be read is rejected whole. Raises NotFound, and BadInput for a file
    without a sentence.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    table = Table(path, sha256_of(path), ["tokens", "tags"] if tagged else ["tokens"])
    tokens: list[str] = []
    tags: list[str] = []
    start, problem, raw = 1, "", [""]

    def close(after: int) -> None:
        nonlocal tokens, tags, start, problem, raw
        if problem:
            table.refused.append(Rejected(start, problem, "\n".join(raw)[:10_000]))
        elif tokens:
            table.rows.append({"tokens": tokens, **({"tags": tags} if tagged else {}), LINE: start})
        tokens, tags, start, problem, raw = [], [], after, "", []

    number = 0
    for line in read_lines(path):
        number = line.number
        fields = line.text.split()
        if not fields and not line.problem:
            close(number + 1)
            continue
        if line.text.startswith(("-DOCSTART-", "# ")):
            start = number + 1 if not tokens else start
            continue
        raw.append(line.text)
        if line.problem or (tagged and len(fields) < 2):
            problem = problem or line.problem or f"line {number} has a word and no tag"
            continue
        tokens.append(fields[0])
        tags.append(fields[-1])
    close(number + 1)
    if not table.rows:
        first = f"; line {table.refused[0].line}: {table.refused[0].why}" if table.refused else ""
        raise BadInput(
            f"{path} has no sentence; a line is a word and its tag, an empty line ends a sentence{first}"
        )
    return table
