"""From files to a measured model: read, tune, calibrate, score on the test file, keep."""

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.tuning.foreign import fit_refusal
from pipelines.tuning.sources import Given
from pipelines.tuning.trained_on import FILE as DATA
from pipelines.tuning.trained_on import described
from shared.artifacts.files import full_disk_named, write_json
from shared.artifacts.manifest import ASKED, check_name
from shared.artifacts.store import ArtifactStore, Draft
from shared.errors import Conflict
from shared.finetuning import cards
from shared.finetuning.evaluate import figures
from shared.finetuning.examples import examples
from shared.finetuning.hidden_words import perplexities
from shared.finetuning.progress import bars
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows, data_hash
from shared.finetuning.train import finetune
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel
from shared.settings import Settings
from shared.telemetry import logger

MADE_TEST = "test.json"  # in the folder: what was printed of the test rows
_LOG = logger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is to be made: recipe and rows, where it goes (a folder, else a new artifact of this name), and
    the label of rows that belong to none, with the in-scope accuracy to keep."""

    task: str
    recipe: Recipe
    given: Given
    name: str
    out: Path | None = None
    foreign_label: str | None = None
    keep: float = 0.94


@dataclass(frozen=True)
class Made:
    """The result: `artifact` is name@n or the folder, `metrics` those of the test rows."""

    artifact: str
    task: str
    base: str
    seconds: float
    metrics: dict[str, Any] = field(default_factory=dict)


def run(wanted: Wanted, settings: Settings) -> Made:
    """Tune, measure on the test rows and keep; raises what `finetune` does, Conflict for a folder in use."""
    started = time.monotonic()
    asked = wanted.recipe.hash()
    with (
        full_disk_named(wanted.out or settings.home),
        place_of(wanted.name, wanted.out, settings, data_hash(wanted.given.data)) as place,
    ):
        report = finetune(
            wanted.recipe,
            wanted.given.data,
            place.path,
            home=settings.home,
            work=settings.home / "work" / "finetune",
        )
        _with_files(place.path, wanted.recipe)
        write_json(place.path / DATA, described(wanted.recipe, wanted.given))
        with bars(True):
            metrics = plain(_measured(wanted, report.recipe, place.path, settings.home))
        seconds = round(time.monotonic() - started, 1)
        place.told(report.recipe_hash, asked, metrics, seconds)
        write_json(place.path / MADE_TEST, metrics)
        cards.write(place.path, wanted.name)
    return Made(place.name(), wanted.task, report.recipe.base, seconds, metrics)


def unseen_labels(
    recipe: Recipe, model: TextModel, test: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, dict[str, int]]:
    """Return by classify head the labels of test rows that it doesn't know, with their rows."""
    found: dict[str, dict[str, int]] = {}
    for name, spec in model.heads.items():
        head = recipe.heads.get(name)
        if spec.kind != "classify" or head is None:
            continue
        for row in test.get(str(head.data), ()):
            label = recipe.rename(name, str(row.get(head.target) or "").strip())
            if label and label not in spec.labels:
                own = found.setdefault(name, {})
                own[label] = own.get(label, 0) + 1
    return found


def _with_files(folder: Path, asked: Recipe) -> None:
    """Put the files back into the resolved recipe: explanations look up training rows there."""
    path = folder / "recipe.json"
    told = json.loads(path.read_text("utf-8"))
    for name, source in asked.data.items():
        told["data"][name] |= {"files": source.files, "valid": source.valid, "test": source.test}
    write_json(path, told, indent=1)


def _measured(wanted: Wanted, recipe: Recipe, folder: Path, home: Path) -> dict[str, Any]:
    model = TextModel.load(folder)
    data = {name: Rows([], rows) for name, rows in wanted.given.test.items()}
    hidden = [HeadSpec(name=name, kind="mlm") for name, head in recipe.heads.items() if head.kind == "mlm"]
    rows = examples(recipe, [*model.heads.values(), *hidden], data, "test")
    for name, unseen in unseen_labels(recipe, model, wanted.given.test).items():
        _LOG.warning(
            "test rows have labels that training had not; each counts as wrong",
            head=name,
            rows=sum(unseen.values()),
            labels=sorted(unseen)[:5],
        )
    found: dict[str, dict[str, Any]] = {name: dict(own) for name, own in figures(model, rows).items()}
    for name, value in perplexities(folder, recipe, rows, home=home).items():
        found[name] = {"perplexity": value}
    if wanted.foreign_label is not None:
        refusal = fit_refusal(model, recipe, wanted.given, folder, wanted.foreign_label, wanted.keep)
        found[wanted.task] |= refusal.figures(model, wanted.given)
    return next(iter(found.values())) if len(found) == 1 else found


@dataclass
class Place:
    """A folder to fill, and the name under which it will be found once it is whole."""

    path: Path
    name: Callable[[], str]
    draft: Draft | None = None

    def told(self, resolved: str, asked: str, metrics: Mapping[str, Any], seconds: float) -> None:
        """Put hashes and metrics into the manifest, where there is one."""
        if self.draft is not None:
            self.draft.recipe_hash = resolved
            self.draft.metrics = dict(metrics)
            self.draft.extra = {ASKED: asked, "seconds": seconds}


@contextmanager
def place_of(name: str, out: Path | None, settings: Settings, rows: str) -> Iterator[Place]:
    """Give a folder that becomes `out`, or the next artifact of this name, when the block ends well.

    `rows` is the hash of the rows. Nothing is left after an error. Raises Conflict for a folder in use.
    """
    if out is None:
        with ArtifactStore(settings.home / "artifacts").create(name, "model", data_hash=rows) as draft:
            yield Place(draft.path, lambda: str(draft.artifact.ref), draft)
        return
    refuse_used(out)
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield Place(aside, lambda: str(out))
        if target.is_dir():
            target.rmdir()  # an empty one
        aside.chmod(0o755)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def refuse_used(out: Path) -> None:
    """Raise Conflict unless `out` is new or an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(f"{out} is there and not empty; give a new folder for the model")


def artifact_name(task: str, train: Path | None) -> str:
    """Return the name of the artifact: the training file's, as far as a name allows, and the task."""
    stem = "".join(
        c if c.isascii() and c.isalnum() else "-" for c in (train.stem if train else "model").lower()
    )
    while "--" in stem:
        stem = stem.replace("--", "-")
    return check_name(f"{stem.strip('-')[:40] or 'model'}-{task}")


def plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics with numbers that are none as null, as JSON has it."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: clean(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [clean(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    found: dict[str, Any] = clean(metrics)
    return found
