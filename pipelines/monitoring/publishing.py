"""Fine-tune, judge, publish: what `train sentiment` does."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.flow import Workplace, publish, step
from pipelines.gate import Verdict, compare_classifiers
from pipelines.monitoring.labelled import Labelled, read_labelled
from pipelines.serving_slots import with_slots
from services.sentiment.score import SENTIMENT, TOPICS, TOPICS_FILE
from services.sentiment.topics import DEFAULT, Topic, read_topics, to_csv
from shared.artifacts.store import Artifact, Ref
from shared.errors import BadInput
from shared.evaluation.baselines import tfidf_svm
from shared.evaluation.classification import accuracy
from shared.finetuning import cards
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.models.heads import HeadSpec
from shared.models.text_model import Outputs, TextModel
from shared.telemetry import logger

MODEL = "model"
_LOG = logger(__name__)


def run(
    place: Workplace,
    data: Path,
    recipe: Recipe,
    *,
    topics: Path | None,
    promote: bool,
    progress: bool = True,
) -> dict[str, Any]:
    """Train on the labelled file `data` and publish a bundle; returns what `publish` does."""
    live = place.live()
    described = read_topics(topics) if topics else None
    rows = read_labelled(data, recipe, place.settings.home)
    recipe = fitting(recipe, rows)
    tuned, report = _tuned(place, recipe, rows, progress=progress)
    folder = with_slots(place, recipe, tuned, rows.sha256, "text", rows.valid, rows.train)
    model = TextModel.load(folder, slot="bulk")  # which the worker scores with
    verdict = judge(model, rows, live)
    verdict.metrics["validation"] = report["metrics"]
    with place.store.create(
        place.model_name, MODEL, recipe_hash=report["recipe_hash"], data_hash=rows.sha256
    ) as draft:
        shutil.copytree(folder, draft.path, dirs_exist_ok=True)
        draft.metrics = report["metrics"]
        draft.extra = {"base": recipe.base, "seconds": report["seconds"], "rows": len(rows.train)}
        cards.write(draft.path, place.model_name)
    ref: Ref = draft.artifact.ref
    file = to_csv(topics_of(model, described)).encode()
    return publish(place, parts={MODEL: ref}, files={TOPICS_FILE: file}, verdict=verdict, promote=promote)


def fitting(recipe: Recipe, rows: Labelled) -> Recipe:
    """Return the recipe as these rows need it: without a head for topics where no row has one.

    Labels are mapped already. Raises BadInput for a recipe without the head for sentiment.
    """
    head = recipe.heads.get(SENTIMENT)
    if head is None or head.kind != "classify" or head.data is None:
        raise BadInput(
            f"the recipe needs a head {SENTIMENT!r} of kind classify with data; start from "
            "the one that ships, pipelines/recipes/sentiment.toml"
        )
    heads = {name: one for name, one in recipe.heads.items() if name != TOPICS or rows.has_topics}
    return recipe.model_copy(update={"heads": heads, "labels": {}})


def _tuned(
    place: Workplace, recipe: Recipe, rows: Labelled, *, progress: bool
) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the tuned model and its report; a killed run goes on where it was."""
    from shared.finetuning.train import finetune

    sources = {head.data for head in recipe.heads.values() if head.data}

    def make(folder: Path) -> dict[str, Any]:
        given = {name: Rows(rows.train, rows.valid) for name in sorted(sources)}
        work = place.work / "checkpoints"
        report = finetune(recipe, given, folder, home=place.settings.home, work=work, progress=progress)
        return {"seconds": report.seconds, "metrics": report.metrics, "recipe_hash": report.recipe_hash}

    done = step(place.work, "tuned", {"recipe": recipe.hash(), "data": rows.sha256}, make)
    return done.folder, dict(done.result)


def topics_of(model: TextModel, described: Sequence[Topic] | None) -> list[Topic]:
    """Return the topics of the bundle: the labels that the model knows, then those found by keywords.

    Without a file of one's own the defaults describe the labels they share a name with, and serve
    whole where the model knows no topics.
    """
    known = list(model.heads[TOPICS].labels) if TOPICS in model.heads else []
    given = list(described if described is not None else read_topics(DEFAULT))
    by_name = {topic.name: topic for topic in given}
    others = [topic for topic in given if topic.name not in known]
    extra = others if described is not None or not known else []
    return [by_name.get(name, Topic(name)) for name in known] + extra


def judge(model: TextModel, rows: Labelled, live: Artifact | None) -> Verdict:
    """Judge sentiment, and topics where there are some, on the test part; both must pass."""
    texts = [row["text"] for row in rows.test]
    truth = [row["sentiment"] for row in rows.test]
    said = model.run(texts)
    old = TextModel.load(live.parent(MODEL).path, slot="bulk") if live is not None else None
    before = old.run(texts) if old is not None else None
    name = str(live.ref) if live is not None else "live"
    plain = tfidf_svm([row["text"] for row in rows.train], [row["sentiment"] for row in rows.train], texts)
    verdict = compare_classifiers(
        _labels(model, said),
        _labels(old, before) if old is not None and before is not None else None,
        plain,
        truth,
        {topic: [topic in row["topics"] for row in rows.test] for topic in _topics(rows)},
        live_name=name,
    )
    verdict.metrics["accuracy"] = round(accuracy(truth, _labels(model, said)), 4)
    verdict.metrics["plain"]["accuracy"] = round(accuracy(truth, plain), 4)
    if TOPICS not in model.heads:
        return verdict
    same = old is not None and TOPICS in old.heads and old.heads[TOPICS].labels == model.heads[TOPICS].labels
    topics = compare_classifiers(
        _sets(model.heads[TOPICS], said),
        _sets(old.heads[TOPICS], before) if same and old is not None and before is not None else None,
        plain_topics(rows),
        [row["topics"] for row in rows.test],
        live_name=name,
    )
    return _both(verdict, topics)


def _both(sentiment: Verdict, topics: Verdict) -> Verdict:
    reasons = [
        f"{what}: {one.reason}" for what, one in (("sentiment", sentiment), ("topics", topics)) if one.reason
    ]
    metrics = {**sentiment.metrics, "topics": topics.metrics}
    passed = sentiment.passed and topics.passed
    return Verdict(passed, sentiment.compared_with, "; ".join(reasons) or None, metrics)


def _topics(rows: Labelled) -> list[str]:
    return sorted({topic for row in rows.test for topic in row["topics"]})


def _labels(model: TextModel, said: Outputs) -> list[str]:
    labels = model.heads[SENTIMENT].labels
    return [labels[int(i)] for i in said.probabilities[SENTIMENT].argmax(axis=1)]


def _sets(head: HeadSpec, said: Outputs) -> list[list[str]]:
    cuts = np.asarray(head.thresholds or [0.5] * len(head.labels))
    return [
        [label for label, given in zip(head.labels, row, strict=True) if given]
        for row in said.probabilities[TOPICS] >= cuts
    ]


def plain_topics(rows: Labelled) -> list[list[str]]:
    """Return what TF-IDF and one linear SVM a topic say of the test part."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106 - a pattern
    train = words.fit_transform([row["text"] for row in rows.train])
    test = words.transform([row["text"] for row in rows.test])
    found: list[list[str]] = [[] for _ in rows.test]
    for topic in sorted({topic for row in rows.train for topic in row["topics"]}):
        flags = [topic in row["topics"] for row in rows.train]
        if all(flags):
            given = [True] * len(found)
        else:
            svm = LinearSVC(C=0.5, class_weight="balanced", random_state=0).fit(train, flags)
            given = svm.predict(test).tolist()
        for row, is_given in zip(found, given, strict=True):
            if is_given:
                row.append(topic)
    return found
