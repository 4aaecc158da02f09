"""The rows of a task's file: those that no head can learn from are kept aside, the others are learnt."""

import json

import pytest

from pipelines.cli import main
from pipelines.tuning.sources import from_recipe
from pipelines.tuning.tasks import TASKS, named, read_task
from shared.errors import BadInput
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.testing.tiny_models import tiny_bert, tiny_rows

CONTEXT = "the card was lost in oslo"


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("task", "good", "bad", "why"),
    [
        ("regress", {"text": "a", "label": "2.5"}, {"text": "b", "label": "nan"}, "'nan' in column 'label'"),
        ("regress", {"text": "a", "label": 2}, {"text": "b", "label": "n/a"}, "is no number"),
        (
            "score",
            {"query": "a", "text": "b", "label": 1},
            {"query": "a", "text": "c", "label": 5},
            "score 5",
        ),
        (
            "tag",
            {"tokens": ["a"], "tags": ["B-X"]},
            {"tokens": ["a", "b"], "tags": ["O"]},
            "2 tokens and 1 tags",
        ),
        ("tag", {"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a"], "tags": ["X"]}, "'X' is no BIO tag"),
        (
            "entity",
            {"text": "ab", "spans": [{"start": 0, "end": 2, "label": "x"}]},
            {"text": "ab", "spans": [{"start": 1, "end": 9, "label": "x"}]},
            "its text has 2 characters",
        ),
        (
            "entity",
            {"text": "ab", "spans": [{"start": 0, "end": 2, "label": "x"}]},
            {"text": "ab", "spans": [{"start": 0, "end": 1}]},
            "the span 0 to 1 has no label",
        ),
        (
            "span",
            {"question": "q", "context": CONTEXT, "answer": "oslo"},
            {"question": "q", "context": CONTEXT, "answer": "lima"},
            "does not stand in its context",
        ),
        (
            "span",
            {"question": "q", "context": CONTEXT, "answer": ""},
            {"question": "q", "context": CONTEXT, "answer": "card", "start": "four"},
            "is no character of the context",
        ),
    ],
)
def test_a_row_that_can_not_be_learnt_is_kept_aside(tmp_path, task, good, bad, why):
    path = lines(tmp_path / "rows.jsonl", [good, bad, good])
    read = read_task(TASKS[task], path, tmp_path)
    assert [row["_line"] for row in read.rows] == [1, 3]
    ((line, reason),) = read.rejected
    assert line == 2
    assert why in reason
    assert "(line" not in reason  # said once
    (kept,) = (tmp_path / "rejected").iterdir()
    assert json.loads(kept.read_text("utf-8"))["line"] == 2


def test_what_was_learnt_does_not_matter_where_nothing_is(tmp_path):
    path = lines(tmp_path / "rows.jsonl", [{"query": "a", "text": "b", "label": "n/a"}])
    assert len(read_task(TASKS["score"], path, tmp_path, learn=False).rows) == 1
    spans = lines(tmp_path / "spans.jsonl", [{"text": "ab", "spans": [{"start": 0, "end": 1}]}])
    assert read_task(TASKS["entity"], spans, tmp_path, learn=False).rows[0]["spans"][0]["label"] == ""
    lines(spans, [{"text": "ab", "spans": [{"start": 0, "end": 3}]}])
    with pytest.raises(BadInput, match=r"none of the 1 rows .* its text has 2 characters"):
        read_task(TASKS["entity"], spans, tmp_path, learn=False)


def test_tags_of_other_schemes_become_bio(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("Anna B-P\nMaria I-P\nBerg E-P\nin O\nOslo S-L\nNew U-L\n\nthe B-O\nend L-O\n", "utf-8")
    rows = read_task(TASKS["tag"], path, tmp_path).rows
    assert rows[0]["tags"] == ["B-P", "I-P", "I-P", "O", "B-L", "B-L"]
    assert rows[1]["tags"] == ["B-O", "I-O"]


def test_cells_of_rows_that_several_heads_read(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text(
        'text,tone,topics,sure\na,up,"[""x"", ""y""]",1\nb,down,x|z,2\nc,up,,\nd,up,x,often\n', "utf-8"
    )
    recipe = Recipe.parse(
        {
            "data": {"d": {"files": ["rows.csv"], "valid": ["rows.csv"]}},
            "heads": {
                "tone": {"kind": "classify", "data": "d", "label": "tone"},
                "topics": {"kind": "multilabel", "data": "d", "label": "topics"},
                "sure": {"kind": "regress", "data": "d", "label": "sure"},
            },
        }
    )
    read = from_recipe(recipe, tmp_path, tmp_path).data["d"].train
    # An empty cell of several labels says that it has none; a number is then not known.
    assert [(row["topics"], row["sure"]) for row in read] == [
        (["x", "y"], 1.0),
        (["x", "z"], 2.0),
        ([], None),
    ]


def test_spans_in_columns_of_other_names(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path / "home"))
    texts = [row["text"] for row in tiny_rows()]
    base = tiny_bert(tmp_path / "tiny", texts)
    rows = [{"body": t, "about": [{"start": 0, "end": t.index(" "), "label": t[0]}]} for t in texts]
    train = lines(tmp_path / "rows.jsonl", rows)
    task = named(TASKS["entity"], "body", "about")
    recipe = Recipe.parse(
        {
            "data": {"rows": {"text": "body"}},
            "heads": {"h": {"kind": "entity", "data": "rows", "label": "about"}},
        }
    )
    data = {"rows": Rows(read_task(task, train, tmp_path).rows)}
    assert len(examples(recipe, head_specs(recipe, data), data, "train")) == len(rows)
    (tmp_path / "r.toml").write_text('train = { epochs = 1, precision = "fp32" }\n', "utf-8")
    columns = ["--text-column", "body", "--label-column", "about"]
    files = ["--train", train, "--base", base, "--recipe", tmp_path / "r.toml", "--out", tmp_path / "out"]
    asking = lines(tmp_path / "ask.jsonl", [{"body": texts[0], "about": [{"start": 0, "end": 2}]}])
    for command in (
        ["finetune", "--task", "entity", *columns, *files],
        ["predict", tmp_path / "out", asking],
    ):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, command)))
        assert not ended.value.code
    (span,) = json.loads(capsys.readouterr().out.splitlines()[-1])["spans"]
    assert (span["start"], span["end"]) == (0, 2)
