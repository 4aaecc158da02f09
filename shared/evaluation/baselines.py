"""The plain methods that a tuned model must beat."""

from collections.abc import Sequence

from shared.models.heads import FloatArray


def tfidf_svm(
    texts: Sequence[str], labels: Sequence[str], unseen: Sequence[str], *, seed: int = 0
) -> list[str]:
    """Return a label for each unseen text: TF-IDF of words (1-2) and characters (2-5), linear SVM.

    C = 0.5 with balanced class weights. One label only is answered without a model.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    if len(set(labels)) == 1:
        return [labels[0]] * len(unseen)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106 - a pattern
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    svm = LinearSVC(C=0.5, class_weight="balanced", random_state=seed)
    model = make_pipeline(make_union(words, characters), svm).fit(list(texts), list(labels))
    return [str(label) for label in model.predict(list(unseen))]


def frozen_regression(
    vectors: FloatArray, labels: Sequence[str], unseen: FloatArray, *, seed: int = 0
) -> list[str]:
    """Return a label for each unseen row: logistic regression (C = 30) on vectors of a frozen encoder."""
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) == 1:
        return [labels[0]] * len(unseen)
    model = LogisticRegression(C=30, max_iter=500, random_state=seed).fit(vectors, list(labels))
    return [str(label) for label in model.predict(unseen)]
