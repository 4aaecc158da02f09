"""`finetune` and `predict` as a user runs them, on tiny bases."""

import csv
import json

import pytest
import transformers

from pipelines.cli import main
from pipelines.data import Table
from pipelines.tuning import defaults
from pipelines.tuning.conll import read_conll
from pipelines.tuning.sides import MOST, hold_out, share_of
from pipelines.tuning.tasks import TASKS, named, read_task
from shared.artifacts.store import ArtifactStore
from shared.errors import BadInput
from shared.finetuning import compress
from shared.testing.tiny_generators import tiny_llama, tiny_replies
from shared.testing.tiny_models import tiny_bert, tiny_rows

SHORT = {"epochs": 2, "rate": 1e-3, "batch": 8, "precision": "fp32"}
FOREIGN = ("sing a song", "who won the game", "it rains here", "a cat and a dog", "paint the wall")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    texts = [row["text"] for row in tiny_rows()] + list(FOREIGN) + ["anna went to oslo and lima ."]
    return tiny_bert(tmp_path_factory.mktemp("base") / "tiny", texts)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def table(path, rows, columns=("text", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([[row[column] for column in columns] for row in rows])
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code or 0


def asked(capsys, *arguments):
    assert run(*arguments) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def recipe(path, **train):
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in {**SHORT, **train}.items())
    path.write_text(f"train = {{ {fields} }}\n", "utf-8")
    return path


def test_labels_are_learnt_and_foreign_texts_refused(base, home, tmp_path, capsys):
    rows = [{"text": row["text"], "label": row["label"]} for row in tiny_rows()] * 2
    rows += [
        {"text": f"{text} {end}", "label": "oos"}
        for text in FOREIGN[:3]
        for end in ("now", "please", "sir", "so")
    ]
    train = table(tmp_path / "Train Rows.csv", rows)
    unseen = [*tiny_rows()[::7], *({"text": text, "label": "oos"} for text in FOREIGN)]
    test = table(tmp_path / "test.csv", unseen)
    options = ("--task", "classify", "--train", train, "--test", test, "--base", base)
    more = ("--recipe", recipe(tmp_path / "r.toml", epochs=4), "--out-of-scope", "oos", "--keep", 0.9)
    told = asked(capsys, "finetune", *options, *more, "--json")
    assert set(told) == {"task", "base", "artifact", "seconds", "metrics"}
    assert told["artifact"] == "train-rows-classify@1"
    names = {"accuracy", "macro_f1", "weighted_f1", "mcc", "ece"}
    names |= {"closed_accuracy", "in_scope_accuracy", "oos_recall", "oos_auroc", "curve"}
    assert set(told["metrics"]) == names
    value, low, high = told["metrics"]["closed_accuracy"]
    assert low <= value <= high
    assert value == 1.0
    assert told["metrics"]["oos_auroc"][0] > 0.8
    made = ArtifactStore(home / "artifacts").open(told["artifact"])
    assert made.manifest.metrics == told["metrics"]
    assert made.manifest.recipe_hash != made.manifest.extra["asked_recipe_hash"]
    kept = json.loads((made.path / "recipe.json").read_text("utf-8"))
    assert kept["data"]["rows"]["files"] == [str(train)]
    asking = tmp_path / "asking.jsonl"
    lines = [{"id": "a", "text": "where is the money now"}, {"text": "it rains here"}]
    asking.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    assert run("predict", told["artifact"], str(asking)) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["id"], first["label"]) == ("a", "money")
    assert set(first["probabilities"]) == {"card", "money", "rate"}
    assert set(second) == {"label", "probabilities", "set"}


def test_few_pairs_are_compared_by_vectors_through_every_command(base, home, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compress, "SECONDS", 0.0)
    one = tiny_rows()[::2]
    rows = [
        {"query": a["text"], "text": b["text"], "label": int(a["label"] == b["label"])}
        for i, a in enumerate(one)
        for b in (one[i - 1], one[i - 3])
    ]
    train = table(tmp_path / "pairs.csv", rows, ("query", "text", "label"))
    options = ("--task", "score", "--train", train, "--test", train, "--base", base)
    short = recipe(tmp_path / "r.toml", epochs=12, rate=3e-3, label_smoothing=0.0)
    told = asked(capsys, "finetune", *options, "--recipe", short, "--json")
    assert set(told["metrics"]) == {"auroc", "map"}
    assert told["metrics"]["auroc"][0] > 0.9
    kept = json.loads(
        (ArtifactStore(home / "artifacts").open(told["artifact"]).path / "recipe.json").read_text()
    )
    assert {name: head["kind"] for name, head in kept["heads"].items()} == {
        "score": "similarity",
        "vector": "embed",
    }
    assert run("predict", told["artifact"], train) == 0
    said = [json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()]
    sides = [[s for s, row in zip(said, rows, strict=True) if row["label"] == label] for label in (0, 1)]
    assert sum(sides[0]) / len(sides[0]) < 0.5 < sum(sides[1]) / len(sides[1])
    why = asked(capsys, "explain", told["artifact"], rows[0]["query"], "--other", rows[0]["text"], "--json")
    assert why["label"] == pytest.approx(said[0], abs=1e-3)
    assert any(token["weight"] for token in why["tokens"])
    smaller = asked(capsys, "compress", told["artifact"], "--limit", "0.5", "--json")
    assert set(smaller["table"][0]["heads"]) == {"vector"}
    assert run("predict", smaller["artifact"], train) == 0
    again = [json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()]
    assert again == pytest.approx(said, abs=0.2)


def test_labels_are_read_from_a_hidden_word(base, home, tmp_path, capsys):
    reads = tmp_path / "reads"
    transformers.BertForMaskedLM.from_pretrained(base).save_pretrained(reads)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(reads)
    train = table(tmp_path / "rows.csv", tiny_rows())
    asked_for = recipe(tmp_path / "r.toml", epochs=15, rate=3e-3, head_rate=1e-2)
    asked_for.write_text(
        'cloze = { template = "the {mask} : {text}" }\n' + asked_for.read_text("utf-8"), "utf-8"
    )
    options = ("--task", "classify", "--train", train, "--test", train, "--base", reads)
    told = asked(capsys, "finetune", *options, "--recipe", asked_for, "--json")
    assert told["metrics"]["accuracy"][0] > 0.9
    why = asked(capsys, "explain", told["artifact"], "where is my card", "--json")
    assert why["label"] == "card"
    assert [token["text"] for token in why["tokens"]] == ["where", "is", "my", "card"]
    assert run("card", told["artifact"]) == 0
    assert "from the hidden word beside each text" in capsys.readouterr().out


def test_bases_are_compared_on_pairs_however_many_there_are(base, home, tmp_path, capsys, monkeypatch):
    rows = [
        {"query": a["text"], "text": b["text"], "label": int(a["label"] == b["label"])}
        for a in tiny_rows()[::6]
        for b in tiny_rows()[1::6]
    ]
    train = table(tmp_path / "pairs.csv", rows, ("query", "text", "label"))
    assert run("bases", "add", "mine", base, "--pooling", "mean", "--licence", "none") == 0
    options = ("--task", "score", "--train", train, "--json")
    few = asked(capsys, "bases", "compare", *options)["bases"]
    monkeypatch.setattr(defaults, "MANY_PAIRS", 1)  # from here on the recipe reads two texts in one pass
    many = asked(capsys, "bases", "compare", *options)["bases"]
    assert "mine" in [one["base"] for one in few]
    assert [one["score"] for one in many] == pytest.approx([one["score"] for one in few])


def test_tagged_words_and_a_folder_in_use(base, home, tmp_path, capsys):
    sentence = "anna B-PER\nwent O\nto O\n{} B-LOC\n. O\n\n"
    (tmp_path / "train.conll").write_text("".join(sentence.format(p) for p in ("oslo", "lima") * 12), "utf-8")
    options = [
        "--task",
        "tag",
        "--train",
        tmp_path / "train.conll",
        "--test",
        tmp_path / "train.conll",
        "--base",
        base,
    ]
    more = [
        "--recipe",
        recipe(tmp_path / "r.toml", epochs=8, rate=3e-3, head_rate=1e-2),
        "--out",
        tmp_path / "out",
    ]
    told = asked(capsys, "finetune", *options, *more, "--json")
    assert told["artifact"] == str(tmp_path / "out")
    assert set(told["metrics"]) == {"entity_f1", "accuracy"}
    assert told["metrics"]["entity_f1"] == [1.0, 1.0, 1.0]
    (tmp_path / "ask.jsonl").write_text('{"tokens": ["anna", "went", "to", "lima"]}\n', "utf-8")
    assert run("predict", str(tmp_path / "out"), str(tmp_path / "ask.jsonl")) == 0
    assert json.loads(capsys.readouterr().out) == {"tags": ["B-PER", "O", "O", "B-LOC"]}
    assert run("finetune", *options, *more) == 5
    assert "not empty" in capsys.readouterr().err


def test_several_heads_from_a_recipe_with_files(base, home, tmp_path, capsys):
    table(
        tmp_path / "rows.csv",
        [{"text": r["text"], "label": r["label"], "tags": "|".join(r["tags"])} for r in tiny_rows()],
        ("text", "label", "tags"),
    )
    (tmp_path / "all.toml").write_text(
        f'base = "{base}"\n'
        'data.d = { files = ["rows.csv"], test = ["rows.csv"] }\n'
        'heads.intent = { kind = "classify", data = "d" }\n'
        'heads.tags = { kind = "multilabel", data = "d", label = "tags" }\n'
        'train = { epochs = 2, rate = 1e-3, batch = 8, precision = "fp32" }\n',
        "utf-8",
    )
    told = asked(capsys, "finetune", "--recipe", tmp_path / "all.toml", "--out", tmp_path / "out", "--json")
    assert told["task"] == "several"
    assert set(told["metrics"]) == {"intent", "tags"}
    assert set(told["metrics"]["tags"]) == {"micro_f1", "macro_f1"}
    assert run("predict", str(tmp_path / "out"), str(tmp_path / "rows.csv")) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert set(first) == {"heads"}
    assert first["heads"]["intent"]["label"] == "card"
    assert isinstance(first["heads"]["tags"]["labels"], list)
    assert run("finetune", "--recipe", tmp_path / "all.toml", "--task", "classify") == 2
    assert "leave --task out" in capsys.readouterr().err


def test_minutes_become_steps_that_a_repeat_keeps(base, home, tmp_path, capsys):
    train = table(tmp_path / "rows.csv", tiny_rows() * 40)
    options = ("--task", "classify", "--train", train, "--base", base, "--minutes", 0.01)
    more = ("--recipe", recipe(tmp_path / "r.toml", epochs=60), "--out", tmp_path / "out")
    told = asked(capsys, "finetune", *options, *more, "--json")
    assert told["metrics"] == {}
    kept = json.loads((tmp_path / "out" / "recipe.json").read_text("utf-8"))["train"]
    assert kept["minutes"] is None
    assert 20 <= kept["steps"] < 60 * 255
    steps = json.loads((tmp_path / "out" / "curves.json").read_text("utf-8"))["epochs"][-1]["step"]
    assert steps <= kept["steps"]


def test_a_recipe_for_other_files_learns_these_and_spans_are_answered(base, home, tmp_path, capsys):
    texts = [row["text"] for row in tiny_rows()]
    rows = [{"text": t, "spans": [{"start": 0, "end": t.index(" "), "label": t[0]}]} for t in texts]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (tmp_path / "r.toml").write_text(
        'heads.first = { kind = "entity", data = "news" }\n'
        'train = { epochs = 6, rate = 3e-3, head_rate = 1e-2, batch = 8, precision = "fp32" }\n',
        "utf-8",
    )
    options = ("--task", "entity", "--train", tmp_path / "rows.jsonl", "--base", base)
    more = ("--recipe", tmp_path / "r.toml", "--out", tmp_path / "out")
    assert asked(capsys, "finetune", *options, *more, "--json")["metrics"] == {}
    far = "now " * 80  # behind the model's length: read with the text around it
    asking = {"text": f"my card {far}where", "spans": [{"start": 0, "end": 2}, {"start": 328, "end": 333}]}
    (tmp_path / "ask.jsonl").write_text(json.dumps(asking), "utf-8")
    assert run("predict", tmp_path / "out", tmp_path / "ask.jsonl") == 0
    said = json.loads(capsys.readouterr().out)["spans"]
    assert [(span["start"], span["label"]) for span in said] == [(0, "m"), (328, "w")]


def test_replies_are_learnt(home, tmp_path, capsys):
    rows = tiny_replies()
    writer = tiny_llama(tmp_path / "llama", [f"{row['question']} {row['reply']}" for row in rows])
    table(tmp_path / "rows.csv", rows, ("question", "reply"))
    options = (
        "--task",
        "generate",
        "--train",
        tmp_path / "rows.csv",
        "--test",
        tmp_path / "rows.csv",
        "--base",
        writer,
    )
    (tmp_path / "g.toml").write_text("epochs = 1\nmax_tokens = 64\nmax_reply_tokens = 16\n", "utf-8")
    told = asked(capsys, "finetune", *options, "--recipe", tmp_path / "g.toml", "--json")
    assert set(told["metrics"]) == {"perplexity", "rouge_l"}
    assert told["metrics"]["perplexity"][0] > 1
    (tmp_path / "ask.jsonl").write_text('{"id": 7, "question": "where is my card"}\n', "utf-8")
    assert run("predict", told["artifact"], str(tmp_path / "ask.jsonl")) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["id"] == 7
    assert isinstance(said["reply"], str)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give --task and --train"),
        (["--task", "clasify", "--train", "x.csv"], 2, "not one of classify"),
        (["--task", "tag", "--train", "x.conll", "--out-of-scope", "o"], 2, "belongs to --task classify"),
        (["--task", "classify", "--train", "no.csv"], 4, "there is no file"),
        (["--task", "classify", "--train", "x.csv", "--recipe", "no.toml"], 4, "there is no recipe"),
        (
            ["--task", "classify", "--train", "x.csv", "--recipe", "refit.toml", "--out-of-scope", "rate"],
            2,
            "which train.refit has learnt",
        ),
        (["--task", "span", "--train", "x.csv", "--text-column", "t"], 3, "rename them in the file"),
    ],
)
def test_what_can_not_be_asked_is_said(home, tmp_path, capsys, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "x.csv", tiny_rows())
    recipe(tmp_path / "refit.toml", refit=True)
    assert run("finetune", *arguments) == code
    assert message in capsys.readouterr().err


def test_a_file_of_tagged_words(tmp_path):
    text = "-DOCSTART- O\n\n# a note\nMr NNP B-PER\nFox\tNNP\tI-PER\n\nbroken\nword O\n\nLima B-LOC"
    (tmp_path / "a.conll").write_text(text, "utf-8")
    read: Table = read_conll(tmp_path / "a.conll")
    assert [(row["tokens"], row["tags"]) for row in read.rows] == [
        (["Mr", "Fox"], ["B-PER", "I-PER"]),
        (["Lima"], ["B-LOC"]),
    ]
    assert read.rejected == [(7, "line 7 has a word and no tag")]
    plain = read_conll(tmp_path / "a.conll", tagged=False)
    assert [row["tokens"] for row in plain.rows][1] == ["broken", "word"]
    (tmp_path / "b.conll").write_text("\n\n", "utf-8")
    with pytest.raises(BadInput, match="has no sentence"):
        read_conll(tmp_path / "b.conll")


def test_cells_of_structure_and_rows_kept_aside(tmp_path):
    path = tmp_path / "spans.jsonl"
    lines = [
        {"text": " Anna won", "spans": [{"start": 1, "end": 5, "label": "up"}]},
        {"text": "Bo", "spans": [{"begin": 0}]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    read = read_task(TASKS["entity"], path, tmp_path)
    assert [row["text"] for row in read.rows] == [" Anna won"]  # the spans count its blank
    assert read.rejected == [(2, "a span is {start, end, label}")]
    assert list((tmp_path / "rejected").iterdir())
    several = tmp_path / "several.csv"
    several.write_text('text,topic\na,"[""x"", ""y""]"\nb,x|z\nc,\n', "utf-8")
    rows = read_task(named(TASKS["multilabel"], None, "topic"), several, tmp_path).rows
    assert [row["topic"] for row in rows] == [["x", "y"], ["x", "z"], []]


def test_every_label_is_on_both_sides_and_texts_stay_together():
    rows = [{"text": f"text {i} of {label}", "label": label} for label in "abc" for i in range(10)]
    rows += [{"text": "TEXT 1 of A!", "label": "a"}, {"text": "alone", "label": "d"}]
    train, valid = hold_out(TASKS["classify"], rows, 0.2)
    assert len(train) + len(valid) == len(rows)
    assert {row["label"] for row in train} == set("abcd")
    assert {row["label"] for row in valid} == set("abc")
    twins = [row in valid for row in rows if row["text"].lower().startswith("text 1 of a")]
    assert len(set(twins)) == 1
    again, _ = hold_out(TASKS["classify"], list(reversed(rows)), 0.2)
    assert sorted(row["text"] for row in again) == sorted(row["text"] for row in train)
    assert share_of(100) > share_of(10_000)
    assert share_of(1_000_000) == MOST / 1_000_000
