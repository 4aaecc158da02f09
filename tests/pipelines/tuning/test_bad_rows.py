"""Rows as people bring them: what is learnt from them, what is refused, and that nothing half made stays."""

import csv
import json
import resource
import signal

import pytest

from pipelines.cli import main
from pipelines.tuning.running import unseen_labels
from shared.finetuning.evaluate import figures
from shared.finetuning.examples import examples
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_bert, tiny_rows

LONG = "my card is lost " * 6_250  # 100,000 characters
MIXED = "卡 потеряна my card ضائعة 🙂 ＡＢＣ carte perdue"
NASTY = [
    {"text": LONG, "label": "card"},
    {"text": MIXED, "label": "card"},
    {"text": "a\u200bzero\ufeffwidth\u202etext", "label": "money"},
    {"text": "the only one of its kind", "label": "lonely"},
    {"text": "", "label": "card"},
    {"text": "   ", "label": "rate"},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("base") / "tiny", [row["text"] for row in tiny_rows()])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


@pytest.fixture(autouse=True)
def home(place, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(place / "home"))
    return place / "home"


def table(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code or 0


def frozen(folder):
    (folder / "frozen.toml").write_text('method = { kind = "frozen" }\n', "utf-8")
    return folder / "frozen.toml"


@pytest.fixture(scope="module")
def model(base, place):
    """A folder trained on ordinary rows and all the nasty ones, tested on a label that it never saw."""
    train = table(place / "train.csv", [*tiny_rows(), *NASTY])
    test = table(place / "test.csv", [*tiny_rows()[::7], {"text": "never seen", "label": "unseen"}])
    files = ["--train", train, "--test", test, "--valid", table(place / "valid.csv", tiny_rows()[::3])]
    options = ["--base", base, "--recipe", frozen(place), "--out", place / "m"]
    with pytest.MonkeyPatch.context() as patch:  # tests of other files must not find this home
        patch.setenv("TRILLIUM_HOME", str(place / "home"))
        code = run("finetune", "--task", "classify", *files, *options)
    assert code == 0
    return place / "m"


def test_nasty_rows_are_learnt_from_or_left_out(model):
    card = json.loads((model / "model.json").read_text("utf-8"))
    labels = next(head["labels"] for head in card["heads"] if head["kind"] == "classify")
    assert labels == ["card", "lonely", "money", "rate"]  # one example is enough for a label


def test_test_rows_of_labels_that_training_had_not_count_as_wrong_and_are_said(model, place):
    recipe = Recipe.parse(json.loads((model / "recipe.json").read_text("utf-8")))
    served = TextModel.load(model)
    (name,) = [head.name for head in served.heads.values() if head.kind == "classify"]
    said = served.heads[name].labels[int(served.run(["a"]).probabilities[name].argmax())]
    rows = [{"text": "a", "label": label} for label in (said, "unseen", "unseen", "", "other")]
    source = recipe.heads[name].data
    assert unseen_labels(recipe, served, {source: rows}) == {name: {"unseen": 2, "other": 1}}
    read = examples(recipe, [served.heads[name]], {source: Rows([], rows)}, "test")
    count = len(served.heads[name].labels)
    assert [row.targets[name] for row in read][1:] == [count, count, count + 1]
    found = figures(served, read)[name]
    assert found["accuracy"][0] == 0.25
    assert found["macro_f1"][0] == pytest.approx((2 / 5 + 0 + 0) / 3)


@pytest.mark.parametrize(
    "text", [LONG, "x" * 100_000, "卡" * 100_000, MIXED, "🙂" * 3_000, "[MASK] [SEP] [CLS]"]
)
def test_every_text_gets_an_answer(model, tmp_path, capsys, text):
    (tmp_path / "ask.jsonl").write_text(json.dumps({"text": text}) + '\n{"text": "my card"}\n', "utf-8")
    assert run("predict", model, tmp_path / "ask.jsonl") == 0
    nasty, plain = map(json.loads, capsys.readouterr().out.splitlines())
    assert sum(nasty["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert plain["label"] == "card"


@pytest.mark.parametrize("text", ["", " \n", "\u0000"])
def test_a_blank_text_is_kept_aside_and_said(model, home, tmp_path, capsys, text):
    rows = [{"id": 1, "text": text}, {"id": 2, "text": "my card"}]
    (tmp_path / "ask.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert run("predict", model, tmp_path / "ask.jsonl") == 0
    out = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.out.splitlines()] == [2]
    assert "rows were rejected" in out.err
    assert list((home / "rejected").glob("ask.jsonl-*"))


@pytest.mark.parametrize("text", ["", LONG, MIXED])
def test_every_text_is_explained(model, capsys, text):
    assert run("explain", model, "--json", "--", text) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(text[one["start"] : one["end"]] == one["text"] for one in told["tokens"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": f"a card {i}", "label": "card"} for i in range(30)], "finds 1 labels"),
        ([{"text": "", "label": "a"}, {"text": " ", "label": "b"}], "none of the 2 rows"),
        ([{"text": f"t {i}", "label": ""} for i in range(9)], "label"),
        ([], "no row"),
    ],
)
def test_what_can_not_be_learnt_is_refused(base, home, tmp_path, capsys, rows, message):
    train = table(tmp_path / "train.csv", rows)
    options = ["--train", train, "--base", base, "--recipe", frozen(tmp_path), "--out", tmp_path / "m"]
    assert run("finetune", "--task", "classify", *options) == 3
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_tokenizer_of_another_model_is_noticed(model, base, tmp_path, capsys):
    import shutil

    shutil.copytree(model, tmp_path / "m")
    path = tmp_path / "m" / "tokenizer.json"
    tree = json.loads(path.read_text("utf-8"))
    words = sorted(tree["model"]["vocab"], key=tree["model"]["vocab"].get)
    special, own = words[:5], words[5:]
    tree["model"]["vocab"] = {word: i for i, word in enumerate([*special, *reversed(own)])}
    path.write_text(json.dumps(tree), "utf-8")
    (tmp_path / "ask.jsonl").write_text('{"text": "my card"}\n', "utf-8")
    assert run("predict", tmp_path / "m", tmp_path / "ask.jsonl") == 7
    assert "don't belong together" in capsys.readouterr().err


def test_a_full_disk_is_named_and_nothing_half_made_is_left(base, tmp_path, capsys):
    train = table(tmp_path / "train.csv", tiny_rows())
    options = ["--train", train, "--base", base, "--recipe", frozen(tmp_path), "--out", tmp_path / "m"]
    before, old = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        code = run("finetune", "--task", "classify", *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert code == 8
    assert "free some space" in capsys.readouterr().err.lower()
    assert {path.name for path in tmp_path.iterdir()} == {"train.csv", "frozen.toml"}
