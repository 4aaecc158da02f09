"""`search-recipe` as a user runs it: a search in two calls, and the best recipe given to `finetune`."""

import csv
import json
import tomllib

import pytest

from pipelines.cli import main
from pipelines.tuning.recipe_file import as_file, to_toml
from shared.finetuning.recipe import Recipe
from shared.testing.tiny_models import tiny_bert, tiny_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    tiny_bert(folder / "tiny", [row["text"] for row in tiny_rows()])
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(tiny_rows())
    (folder / "asked.toml").write_text(
        f'base = "{folder / "tiny"}"\n'
        'data.d = { files = ["rows.csv"], test = ["unread.csv"] }\n'
        'heads.intent = { kind = "classify", data = "d" }\n'
        'train = { epochs = 1, rate = 1e-3, batch = 8, precision = "fp32" }\n'
        '[search]\n"train.rate" = { low = 1e-4, high = 1e-2, log = true }\n'
        '"train.label_smoothing" = { choices = [0.05, 0.1] }\n',
        "utf-8",
    )
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code or 0


def test_a_search_goes_on_and_its_recipe_is_tuned(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path / "home"))
    out = tmp_path / "best.toml"
    options = ("search-recipe", "--recipe", place / "asked.toml", "--out", out)
    assert run(*options, "--trials", 2, "--json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(first) == {"recipe", "report", "seconds", "best", "spread", "importance", "trials"}
    assert run(*options, "--trials", 3) == 0
    said = capsys.readouterr().out
    assert "spread of validation scores: low" in said
    report = json.loads((tmp_path / "best.search.json").read_text("utf-8"))
    assert report["trials"][:2] == first["trials"]
    assert len(report["trials"]) == 3
    made = Recipe.read(out)
    assert made.train.rate == report["best"]["fields"]["train.rate"]
    assert made.data["d"].test == [str(place / "unread.csv")]  # named, and it need not be there
    (place / "unread.csv").write_bytes((place / "rows.csv").read_bytes())
    try:
        assert run("finetune", "--recipe", out, "--out", tmp_path / "model", "--json") == 0
    finally:
        (place / "unread.csv").unlink()
    assert "accuracy" in json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]


def test_a_task_and_a_file_are_enough(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path / "home"))
    (tmp_path / "r.toml").write_text('method = { kind = "frozen" }\n', "utf-8")
    out = tmp_path / "best.toml"
    options = ("--task", "classify", "--train", place / "rows.csv", "--base", place / "tiny")
    more = ("--recipe", tmp_path / "r.toml", "--trials", 2, "--out", out, "--json")
    assert run("search-recipe", *options, *more) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [list(one["fields"]) for one in told["trials"]] == [["method.c"]] * 2
    assert told["trials"][0]["fields"] == {"method.c": 30.0}  # the recipe as it stands
    assert Recipe.read(out).data["rows"].files == [str(place / "rows.csv")]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--recipe", "asked.toml", "--out", "asked.toml"], 2, "would replace the recipe"),
        (["--recipe", "asked.toml", "--out", "rows.csv"], 5, "no search wrote it"),
        (["--recipe", "asked.toml", "--task", "classify", "--out", "b.toml"], 2, "leave --task out"),
        (["--out", "b.toml"], 2, "give --task and --train"),
        (["--recipe", "no.toml", "--out", "b.toml"], 4, "there is no recipe"),
        (["--recipe", "wrong.toml", "--out", "b.toml"], 3, "did you mean rate?"),
        (["--task", "generate", "--train", "rows.csv", "--out", "b.toml"], 2, "a recipe of its own"),
    ],
)
def test_what_can_not_be_searched_is_said(place, tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(place)
    wrong = (place / "asked.toml").read_text("utf-8").replace('"train.rate"', '"train.rat"')
    (place / "wrong.toml").write_text(wrong, "utf-8")
    assert run("search-recipe", "--trials", "1", *arguments) == code
    assert message in capsys.readouterr().err
    assert not (place / "b.toml").exists()


def test_a_recipe_is_written_as_it_is_read():
    tree = {
        "base": 'a "base"\\ \x7f\n',
        "heads": {"to pics": {"labels": ["ä", "b c"], "weight": 1e-05, "inner": {"on": True, "none": {}}}},
        "train": {"epochs": 3, "rate": 5e-5},
    }
    assert tomllib.loads(to_toml(tree)) == tree
    made = Recipe.parse(
        {
            "heads": {"a": {"kind": "classify", "data": "d", "labels": ["x", "y"]}},
            "data": {"d": {"files": ["a.csv"]}},
            "method": {"kind": "lora", "rank": 4},
            "train": {"adversarial": {"kind": "pgd"}, "average": {}},
            "labels": {"old": "new", "a": {"neg": "x"}},
        }
    )
    text = as_file(made, {"train.rate": 5e-5, "train.mixup": "default"}, "Best.")
    assert text.startswith("# Best.\n")
    assert Recipe.parse(tomllib.loads(text)) == made
    assert tomllib.loads(text)["train"]["rate"] == 5e-5  # searched, and so written though it is the default
