"""Plain methods on the rows that `trillium finetune` is measured on: what can be had without tuning."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finetuned_sets import FOREIGN, Part, Set
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

from shared.evaluation import baselines, ranking, selective
from shared.evaluation.classification import micro_f1
from shared.evaluation.detection import auroc
from shared.evaluation.resampling import interval
from shared.finetuning.train import export_frozen
from shared.models.heads import FloatArray
from shared.models.text_model import TextModel
from shared.settings import load_settings

PLAIN = ("frozen base + logistic regression", "TF-IDF + linear SVM")
NEAREST = ("frozen base, cosine", "TF-IDF, cosine")
Figures = dict[str, dict[str, list[float]]]


def plain_of(kind: Set, part: Part, base: str) -> dict[str, Any]:
    """Return by method what each says of the test rows (labels), or (value, low, high) by metric."""
    if kind.task == "classify":
        return dict(plain_refusing(part, base) if kind.options else plain(part, base))
    made = {"score": plain_pairs, "multilabel": plain_topics, "embed": plain_search}.get(kind.task)
    return dict(made(part, base)) if made else {}


def vectors(base: str, *sides: Sequence[str]) -> list[FloatArray]:
    """Return the frozen base's vectors of each side's texts."""
    with tempfile.TemporaryDirectory() as aside:
        export_frozen(base, Path(aside) / "frozen", home=load_settings().home)
        encoder = TextModel.load(Path(aside) / "frozen")
        return [encoder.embed(list(side)) for side in sides]


def plain(part: Part, base: str) -> dict[str, list[str]]:
    """Return what the plain methods say of the test rows."""
    train, labels = [row["text"] for row in part.train], [row["label"] for row in part.train]
    unseen = [row["text"] for row in part.test]
    known, asked = vectors(base, train, unseen)
    regression = baselines.frozen_regression(known, labels, asked)
    return dict(zip(PLAIN, (regression, baselines.tfidf_svm(train, labels, unseen)), strict=True))


def plain_refusing(part: Part, base: str) -> dict[str, dict[str, list[float]]]:
    """Return (value, low, high) of the plain methods where some test rows are foreign: they get no threshold,
    so recall and accuracy at one are not told."""
    train = [row for row in part.train if row["label"] != FOREIGN]
    texts, labels = [row["text"] for row in train], [row["label"] for row in train]
    truth = [row["label"] for row in part.test]
    foreign = np.asarray([label == FOREIGN for label in truth])
    unseen = [row["text"] for row in part.test]
    known, asked = vectors(base, texts, unseen)
    said = {
        PLAIN[0]: baselines.frozen_regression(known, labels, asked),
        PLAIN[1]: baselines.tfidf_svm(texts, labels, unseen),
    }
    found = {
        name: {
            "closed_accuracy": list(
                interval(selective.closed_accuracy, foreign, np.asarray(answers) == np.asarray(truth))
            )
        }
        for name, answers in said.items()
    }
    far = 1 - np.concatenate([(few @ known.T).max(1) for few in np.array_split(asked, 20)])
    found[PLAIN[0]]["oos_auroc (nearest cosine)"] = list(
        interval(selective.oos_auroc, foreign, far.astype(np.float64), draws=300)
    )
    return found


def plain_pairs(part: Part, base: str) -> dict[str, dict[str, list[float]]]:
    """Return AUROC (value, low, high) of what needs no labels of pairs: cosines of a frozen base's vectors,
    and of TF-IDF of characters (1-3)."""
    sides = [[row[name] for row in part.test] for name in ("query", "text")]
    together = np.asarray([row["label"] > 0.5 for row in part.test])
    one, other = vectors(base, *sides)
    characters = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    characters.fit([row[name] for row in part.train for name in ("query", "text")])
    near = {
        NEAREST[0]: (one * other).sum(1),
        NEAREST[1]: np.asarray(
            characters.transform(sides[0]).multiply(characters.transform(sides[1])).sum(1)
        ).ravel(),
    }
    return {
        name: {"auroc": list(interval(auroc, together, cosines.astype(np.float64)))}
        for name, cosines in near.items()
    }


def plain_topics(part: Part, base: str) -> Figures:
    """Return micro F1 where a text has any number of labels: one model a label against the rest."""
    texts, unseen = ([row["text"] for row in side] for side in (part.train, part.test))
    known = MultiLabelBinarizer().fit([row["label"] for row in part.train])
    train, truth = (known.transform([row["label"] for row in side]) for side in (part.train, part.test))
    own, asked = vectors(base, texts, unseen)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    counted = words.fit_transform(texts)
    said = {
        PLAIN[0]: OneVsRestClassifier(LogisticRegression(C=30, max_iter=500)).fit(own, train).predict(asked),
        PLAIN[1]: OneVsRestClassifier(LinearSVC(C=1)).fit(counted, train).predict(words.transform(unseen)),
    }
    return {
        name: {"micro_f1": list(interval(micro_f1, truth > 0, answers > 0, draws=300))}
        for name, answers in said.items()
    }


def plain_search(part: Part, base: str) -> Figures:
    """Return recall@1 of anchors among the test rows' positives, by cosine."""
    anchors = [row["anchor"] for row in part.test]
    found = list(dict.fromkeys(row["positive"] for row in part.test))
    right = [[row["positive"]] for row in part.test]
    asked, known = vectors(base, anchors, found)
    words = TfidfVectorizer(sublinear_tf=True).fit([*found, *(row["positive"] for row in part.train)])
    counted = (words.transform(anchors) @ words.transform(found).T).toarray()
    best = {name: near.argmax(1) for name, near in zip(NEAREST, (asked @ known.T, counted), strict=True)}
    return {
        name: {
            "recall@1": list(interval(np.mean, ranking.recall_each([[found[i]] for i in first], right, 1)))
        }
        for name, first in best.items()
    }
