"""The same flow in Chinese, on a tiny base that reads single signs."""

from pathlib import Path

import pytest

from pipelines.answering import publishing
from pipelines.answering.documents import read_documents
from pipelines.flow import workplace
from services.support.app import build
from services.support.contract import AskRequest
from services.support.domain import Asker
from shared.artifacts.store import ArtifactStore
from shared.finetuning.recipe import Recipe
from shared.settings import load_settings
from shared.testing.tiny_models import tiny_bert

ZH = Path(__file__).parents[1] / "services" / "support" / "zh"
ANYONE = Asker("王", frozenset())


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zh")
    texts = [path.read_text("utf-8") for path in [*ZH.glob("articles/*.md"), ZH / "tickets.csv"]]
    recipe = Recipe.parse(
        {
            "base": str(tiny_bert(folder / "base", texts)),
            "data": {"tickets": {"text": "question"}},
            "heads": {
                "intent": {"kind": "classify", "data": "tickets", "label": "intent"},
                "vector": {"kind": "embed"},
            },
            "method": {"kind": "frozen"},
            "train": {"precision": "fp32"},
        }
    )
    place = workplace(load_settings({"home": str(folder / "home")}, env={}), "support")
    said = publishing.train(place, ZH / "tickets.csv", recipe, promote=False, progress=False)
    place.pointer.move(
        place.store.open(said["artifact"]).ref, "test"
    )  # what a tiny model scores is no matter
    publishing.index(place, ZH / "articles", [], base=None, promote=True)
    app = build(place.settings, ArtifactStore(place.settings.home / "artifacts"))
    yield app
    app.db.close()


def test_pages_are_read_with_their_names(tmp_path):
    found = {one.id: one.title for one in read_documents(ZH / "articles", tmp_path).documents}
    assert found["退款.md"] == "退款多久到账"
    assert len(found) == 6


def test_a_page_is_found_by_its_own_words_and_quoted_in_whole_sentences(desk, tmp_path):
    pages = {one.id: one for one in read_documents(ZH / "articles", tmp_path).documents}
    page = pages["搬家.md"]
    answer = desk.ask(AskRequest(question=f"{page.title}\n{page.text}"), ANYONE)
    (first, *_) = answer.citations
    assert first.document_id == "搬家.md"
    assert page.text[first.start : first.end] == first.quote
    assert first.quote.endswith("。")
    assert answer.text.startswith(first.quote)


def test_what_no_page_answers_goes_to_a_person_in_chinese(desk):
    answer = desk.ask(AskRequest(question="Jupiter 木星?"), ANYONE)
    assert answer.status == "handoff"
    assert "人工" in answer.text
