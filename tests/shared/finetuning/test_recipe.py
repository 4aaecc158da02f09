import pytest

from shared.errors import BadInput, NotFound
from shared.finetuning.recipe import Recipe, auto_epochs

DESIGN = """
base = "all-MiniLM-L6-v2"
data.news = { files = ["news.csv"] }
heads.sentiment = { kind = "classify", data = "news", label = "sentiment" }
heads.topics = { kind = "multilabel", data = "news", label = "topics", weight = 0.5 }
method = { kind = "full" }
train = { epochs = 4, rate = 5e-5, precision = "auto", seed = 0 }
[labels]
bullish = "positive"
sentiment = { neg = "negative" }
"""


def read(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    return Recipe.read(path)


def test_a_recipe_is_read_from_toml(tmp_path):
    recipe = read(tmp_path, DESIGN)
    assert recipe.data["news"].text == "text"
    assert recipe.heads["topics"].weight == 0.5
    assert [recipe.rename("sentiment", label) for label in ("bullish", "neg", "neutral")] == [
        "positive",
        "negative",
        "neutral",
    ]
    assert recipe.rename("topics", "neg") == "neg"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "full"', 'kind = "loraa"', "method.kind 'loraa' is not one of full, frozen, lora, adalora"),
        ("epochs = 4", "epochs = 0", "epochs must be 1 or more"),
        ("epochs = 4", "epoch = 4", "train.epoch"),
        ('kind = "multilabel"', 'kind = "multi"', "heads.topics.kind"),
        ("weight = 0.5", "weight = 0", "heads.topics.weight"),
        ('data = "news", label = "sentiment"', 'label = "sentiment"', "a classify head needs data"),
        ("heads.topics", 'heads."to pics"', "a head's name is letters"),
        ("base =", "base ==", "is no TOML recipe"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, said):
    with pytest.raises(BadInput, match=said):
        read(tmp_path, DESIGN.replace(old, new))


def test_impossible_pairs_are_refused():
    tree = {"heads": {"e": {"kind": "embed", "data": "pairs"}}, "method": {"kind": "frozen"}}
    with pytest.raises(BadInput, match="method frozen trains no embed head"):
        Recipe.parse(tree)
    with pytest.raises(BadInput, match="at most one embed head"):
        Recipe.parse({"heads": {"a": {"kind": "embed"}, "b": {"kind": "embed"}}})


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"there is no recipe .*none\.toml"):
        Recipe.read(tmp_path / "none.toml")


def test_the_hash_is_of_what_a_run_depends_on():
    recipe = Recipe.parse({"heads": {"a": {"kind": "classify", "data": "d"}}, "data": {"d": {}}})
    settled = {"rows": 400, "precision": "fp32", "base_sha256": "ab", "max_tokens": 256}
    one = recipe.resolved(**settled)
    assert (one.train.epochs, one.train.precision, one.train.max_tokens) == (10, "fp32", 256)
    assert one.hash() == recipe.resolved(**settled).hash()
    assert one.hash() != recipe.resolved(**{**settled, "precision": "bf16"}).hash()
    assert one.hash() != recipe.resolved(**{**settled, "base_sha256": "cd"}).hash()
    assert one.hash() != recipe.with_(seed=1).resolved(**settled).hash()
    hides = recipe.model_copy(update={"train": recipe.train.model_copy(update={"hide": 0.1})})
    assert one.hash() != hides.resolved(**settled).hash()
    # What came after the first recipes counts where it is used.
    assert one.hash() == "d7f5e6c7dc29cd528ea8b71a51388c129a9297516a43891408f6186c7fa32e11"
    moved = recipe.model_copy(update={"data": {"d": recipe.data["d"].model_copy(update={"files": ["x"]})}})
    assert moved.resolved(**settled).hash() == one.hash()


@pytest.mark.parametrize(("rows", "epochs"), [(0, 10), (400, 10), (1000, 6), (10_000, 4)])
def test_few_rows_are_seen_more_often(rows, epochs):
    assert auto_epochs(rows) == epochs
