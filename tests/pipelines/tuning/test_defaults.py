import pytest

from pipelines.tuning.defaults import default_recipe
from pipelines.tuning.tasks import TASKS
from shared.finetuning.recipe import Recipe


def made(task, rows):
    tree = default_recipe(TASKS[task], rows, base="all-MiniLM-L6-v2", seed=3, refit=True)
    return Recipe.parse(tree)


def labelled(count, labels, name="lost card {}"):
    return [{"text": f"text {i}", "label": name.format(i % labels)} for i in range(count)]


@pytest.mark.parametrize(
    ("count", "labels", "few"),
    [
        (700, 70, True),
        (900, 2, True),  # few rows, though many a label
        (3000, 150, True),  # many rows, though few a label
        (3000, 10, False),
        (20_000, 100, False),
    ],
)
def test_few_rows_or_few_a_label_get_the_recipe_for_few(count, labels, few):
    train = made("classify", labelled(count, labels)).train
    assert (train.contrast > 0) == few
    assert train.blend == (0.7 if few else "auto")
    assert train.patience is None
    assert train.refit == (count < 3000)
    assert train.seed == 3


def test_names_that_say_something_are_learnt_where_a_label_has_few_rows():
    assert made("classify", labelled(100, 10)).heads["classify"].names
    assert not made("classify", labelled(100, 10, "{}")).heads["classify"].names
    assert not made("classify", labelled(1000, 10)).heads["classify"].names


@pytest.mark.parametrize(("count", "epochs"), [(100, 12), (2000, 6), (50_000, 3)])
def test_words_are_tagged_in_as_many_passes_as_there_is_data(count, epochs):
    rows = [{"tokens": ["a"], "tags": ["O"]}] * count
    recipe = made("tag", rows)
    assert recipe.train.epochs == epochs
    assert recipe.method.depth == "auto"


@pytest.mark.parametrize(("count", "epochs"), [(100, 10), (2000, 5)])
def test_numbers_choose_their_share_of_the_start(count, epochs):
    train = made("regress", [{"text": f"text {i}", "label": float(i)} for i in range(count)]).train
    assert (train.epochs, train.blend, train.contrast) == (epochs, "auto", 0)


@pytest.mark.parametrize(("count", "kind"), [(100, "similarity"), (20_000, "score")])
def test_few_pairs_are_compared_by_their_vectors(count, kind):
    rows = [{"query": "a", "text": "b", "label": 1.0}] * count
    recipe = made("score", rows)
    assert recipe.heads["score"].kind == kind
    assert ("vector" in recipe.heads) == (kind == "similarity")


@pytest.mark.parametrize("task", [name for name in TASKS if name != "generate"])
def test_every_task_has_a_recipe_with_a_vector_where_texts_stand_alone(task):
    recipe = made(task, labelled(50, 2))
    assert ("vector" in recipe.heads) == (task not in ("span", "mlm"))
