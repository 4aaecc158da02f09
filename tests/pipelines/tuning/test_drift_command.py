import json

import pytest

from pipelines.commands.drift import command as drift
from shared.errors import BadInput, NotFound
from shared.models.reference import FILE
from shared.testing.tiny_models import tiny_rows


@pytest.fixture(autouse=True)
def at_home(tuned, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(tuned.home))


@pytest.fixture
def texts(tmp_path):
    def write(rows, name="recent.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows), "utf-8")
        return path

    return write


USUAL = [row["text"] for row in tiny_rows()]
OTHER = [f"{text} and again the rate of the rate today sir" for text in USUAL if "rate" in text] * 3


def told(capsys):
    return json.loads(next(x for x in capsys.readouterr().out.splitlines() if x.startswith('{"artifact"')))


def test_texts_like_those_given_are_steady_and_others_have_moved(tuned, texts, capsys):
    usual = texts(USUAL, "usual.jsonl")
    drift(tuned.artifact, texts(USUAL[::2] + USUAL[1::2]), reference=usual, as_json=True)
    found = told(capsys)
    assert found["artifact"] == tuned.artifact
    assert found["rows"] == {"reference": 60, "current": 60}
    assert not found["moved"]
    assert [one["value"] for one in found["figures"]] == [0, 0, 0, 0]
    drift(tuned.artifact, texts(OTHER), reference=usual, as_json=True)
    found = told(capsys)
    assert found["moved"]
    assert {one["what"] for one in found["figures"] if one["moved"]} >= {"labels", "length", "vector"}
    drift(tuned.artifact, texts(OTHER), reference=usual, as_json=False)
    assert "moved" in capsys.readouterr().out


def test_what_can_not_be_compared_is_refused(tuned, texts, tmp_path):
    with pytest.raises(BadInput, match="needs 30 on each side"):
        drift(tuned.artifact, texts(USUAL[:5]), reference=texts(USUAL, "usual.jsonl"), as_json=True)
    with pytest.raises(BadInput, match="the reference has"):  # a tenth of sixty rows was held out
        drift(tuned.artifact, texts(USUAL), reference=None, as_json=True)
    import shutil

    from pipelines.tuning.artifact import find_model
    from shared.settings import Settings

    bare = tmp_path / "bare"
    shutil.copytree(find_model(tuned.artifact, Settings(home=tuned.home)).path, bare)
    (bare / FILE).unlink()
    with pytest.raises(NotFound, match="must be given"):
        drift(str(bare), texts(USUAL), reference=None, as_json=True)
