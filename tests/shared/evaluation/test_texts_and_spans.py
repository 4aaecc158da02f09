import pytest

from shared.evaluation.answers import each, exact, token_f1
from shared.evaluation.entities import Span, entity_f1, entity_report, f1_of, span_counts
from shared.evaluation.generation import rouge_l
from shared.evaluation.resampling import interval
from shared.models.spans import entities


@pytest.mark.parametrize(
    ("truth", "said", "same", "f1"),
    [
        ("The Bank of Spain", "bank of Spain!", 1, 1),
        ("$3.5 million", "3.5 million", 1, 1),
        ("in 1999", "1999", 0, 2 / 3),
        ("three banks", "banks banks", 0, 0.5),
        ("中国银行", "中国 银行。", 1, 1),
        ("中国银行", "银行", 0, 2 / 3),
        ("１２３", "123", 1, 1),
        ("", "", 1, 1),
        ("", "x", 0, 0),
        ("x", "", 0, 0),
    ],
)
def test_answers(truth, said, same, f1):
    assert exact(truth, said) == same
    assert token_f1(truth, said) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("truth", "said", "score"),
    [
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("police killed the gunman", "the gunman kill police", 0.5),  # order counts
        ("a b a b", "b a b a", 0.75),
        ("我喜欢你", "我很喜欢", 0.75),
        ("word " * 3000, "word " * 3000, 1),
        ("...", "", 1),
        ("word", "", 0),
    ],
)
def test_rouge_l(truth, said, score):
    assert rouge_l(truth, said) == pytest.approx(score)


def test_the_best_of_several_right_answers_counts():
    assert each(exact, ["a cat", ["dog", "the hound"], []], ["cat", "hound", ""]).tolist() == [1, 1, 1]
    assert each(token_f1, [["x"]], ["y"]).tolist() == [0]


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O B-PER I-PER O", [(1, 3, "PER")]),
        ("B-PER B-PER I-ORG", [(0, 1, "PER"), (1, 2, "PER"), (2, 3, "ORG")]),
        ("I-PER I-PER", [(0, 2, "PER")]),
        ("O O", []),
        ("B-A-B I-A-B", [(0, 2, "A-B")]),
        ("", []),
    ],
)
def test_tags_become_spans(tags, spans):
    words = [(i, i + 1) for i in range(len(tags.split()))]
    assert entities(words, tags.split()) == spans


TRUTH = [[Span(0, 2, "PER"), Span(4, 5, "ORG")], [Span(0, 1, "PER")], []]
SAID = [[Span(0, 2, "PER"), Span(4, 5, "LOC")], [Span(0, 2, "PER")], []]


def test_a_span_counts_only_when_all_of_it_is_right():
    assert span_counts(TRUTH, SAID).tolist() == [[1, 2, 2], [0, 1, 1], [0, 0, 0]]
    assert entity_f1(TRUTH, SAID) == pytest.approx(1 / 3)
    report = entity_report(TRUTH, SAID)
    assert report["PER"] == pytest.approx((0.5, 0.5, 0.5, 2))
    assert report["LOC"] == (0, 0, 0, 0)
    assert report["ORG"] == (0, 0, 0, 1)


def test_an_interval_draws_whole_texts():
    value, low, high = interval(f1_of, span_counts(TRUTH * 20, SAID * 20))
    assert value == pytest.approx(1 / 3)
    assert low < value < high
