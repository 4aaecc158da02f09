"""What the models page makes of versions, runs and cards; pure functions, and the page over fakes."""

from typing import Any

import pytest
import streamlit as st
from fake_services import IMAGE, SCRIPT, compressed, model_card, run
from streamlit.testing.v1 import AppTest

from dashboards.models import card
from dashboards.models import runs as of_runs
from dashboards.models import versions as of
from dashboards.models.runs import Figure, Run
from shared.settings import Settings


@pytest.fixture
def page(settings: Settings, fakes: dict[str, Any]) -> AppTest:
    st.cache_data.clear()
    at = AppTest.from_string("from dashboards.models.overview import page\npage()\n", default_timeout=30)
    at.session_state["token"] = "token-of-robin"
    at.run()
    assert not at.exception
    return at


def html_of(at: AppTest) -> str:
    return "".join(element.proto.body for element in at.get("html"))


def two() -> list[Run]:
    return of_runs.runs({"runs": [run("support", 4), run("support", 3)]})


def test_a_version_shows_drift_mistakes_and_its_card_as_text(page: AppTest) -> None:
    body = html_of(page)
    assert "onnx int8 in part" in body
    assert body.index("single texts") < body.index("onnx fp32")  # what serves comes first
    assert "install the extra" in body
    assert "Most frequent mistakes" in body
    assert "<h2" in body
    assert "<script" not in body
    assert "<img" not in body
    assert not page.markdown
    assert len(page.get("vega_lite_chart")) == 4  # two curves, calibration, confusion


def test_a_version_without_card_and_slots_says_what_to_do(page: AppTest) -> None:
    page.session_state["versions-support"] = {"picked": "support@1"}
    page.run()
    body = html_of(page)
    assert "Run trillium compress for its model" in body
    assert "Run trillium card for its model" in body


def test_a_service_without_the_route_still_shows_its_versions(page: AppTest, fakes: dict[str, Any]) -> None:
    fakes["support"].state.fail = ("/v1/models/support@4", 404)
    page.run()
    assert "Gate passed" in html_of(page)
    assert not page.exception


def test_recent_texts_are_compared_when_asked(page: AppTest, fakes: dict[str, Any]) -> None:
    page.run()
    assert "stability index" not in html_of(page)
    page.button(key="drift-compare").click().run()
    body = html_of(page)
    assert "Labels given · intent" in body
    assert "500 recent texts beside 412 validation rows" in body
    assert body.count("◆ moved") == 2
    assert body.count("✓ steady") == 2
    assert not page.exception


def test_items_that_came_are_compared_with_the_catalogue_then(page: AppTest) -> None:
    page.segmented_control(key="models-app").set_value("recommender").run()
    page.button(key="drift-compare").click().run()
    body = html_of(page)
    assert "500 later items beside 412 of the catalogue then" in body
    assert "Labels given" not in body
    assert not page.exception


def test_only_the_live_version_is_compared_with_what_arrives(page: AppTest) -> None:
    page.session_state["versions-support"] = {"picked": "support@3"}
    page.run()
    with pytest.raises(KeyError):
        page.button(key="drift-compare")


def test_a_comparison_that_fails_or_says_nothing_says_why(page: AppTest, fakes: dict[str, Any]) -> None:
    fakes["support"].state.fail = ("/v1/drift", 503)
    page.run()
    page.button(key="drift-compare").click().run()
    assert "Recent texts" in html_of(page)
    assert not page.exception


def test_runs_stand_side_by_side(page: AppTest) -> None:
    page.segmented_control(key="models-view").set_value("runs").run()
    body = html_of(page)
    assert "On test rows" in body
    assert "On validation rows" in body
    assert "0.915 to 0.94" in body
    assert "method.rank" in body
    assert page.multiselect[0].value == ["support-model@5"]
    assert [tab.label for tab in page.get("tab")] == ["Figures", "Curves", "Recipe"]
    with pytest.raises(KeyError):
        page.button(key="promote")  # a run is no version
    page.multiselect[0].set_value([]).run()
    assert "train.epochs" in html_of(page)
    assert not page.exception


def test_a_card_becomes_html_without_links_or_images() -> None:
    said = card.html_of(model_card("m"))
    for piece in (
        "<h2",
        '<b class="">all-MiniLM-L6-v2</b>',
        "<li",
        "card|late",
        "<pre",
        "&lt;script&gt;",
        '<td class="tr-num">0.924 to 0.939</td>',
    ):
        assert piece in said, piece
    assert "<script" not in said
    assert "<img" not in said
    assert "<a " not in said


@pytest.mark.parametrize("text", ["", "|", "| a |\n|---|\n| b | c | d |", "```\nnever closed", SCRIPT, IMAGE])
def test_a_broken_card_is_still_shown(text: str) -> None:
    said = card.html_of(text)
    assert said.startswith("<div")
    assert "<img" not in said
    assert "<script" not in said


def test_figures_of_runs_have_intervals_and_a_best() -> None:
    shown = two()
    keys = of_runs.shared_figures(shown)
    assert keys[0] == ("test", "", "accuracy")
    assert ("validation", "intent", "ece") in keys
    assert shown[0].figures["test", "", "accuracy"] == Figure(0.908, 0.895, 0.92)
    assert of_runs.best("accuracy", [one.figures["test", "", "accuracy"] for one in shown]) == 0
    assert of_runs.best("ece", [Figure(0.03), None, Figure(0.02)]) == 2
    assert of_runs.best("accuracy", [Figure(0.5), Figure(0.5)]) is None
    assert of_runs.best("accuracy", [None, Figure(0.5)]) is None


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"metrics": {"ndcg_at_20": 0.3}}, {("validation", "", "ndcg_at_20"): Figure(0.3)}),
        ({"evaluation": {"embed": {"mrr": 0.8, "rows": 9}}}, {("validation", "embed", "mrr"): Figure(0.8)}),
        (
            {"test": {"a": {"f1": [0.5, 0.4, 0.6]}, "b": {"f1": [1, 1, 1], "curve": [[0, 1]]}}},
            {("test", "a", "f1"): Figure(0.5, 0.4, 0.6), ("test", "b", "f1"): Figure(1, 1, 1)},
        ),
        ({"test": {"f1": [None, None, None]}, "metrics": {}}, {}),
        ({}, {}),
    ],
)
def test_figures_are_taken_from_where_they_are(
    entry: dict[str, Any], wanted: dict[tuple[str, str, str], Figure]
) -> None:
    about = {"ref": "m@1", "kind": "model", "created": "2026-01-01T00:00:00Z", "bundles": []}
    (made,) = of_runs.runs({"runs": [about | entry]})
    assert made.figures == wanted


def test_recipes_are_told_apart_field_by_field() -> None:
    apart, same = of_runs.differences(two())
    names = dict(apart)
    assert names["method.kind"] == ["lora", "full"]
    assert names["method.rank"] == ["8", ""]
    assert names["train.seed"] == ["4", "3"]
    assert "train.batch" not in names
    assert same > 0
    assert of_runs.differences([two()[0], two()[0]])[0] == []


def test_the_engines_that_serve_come_first() -> None:
    rows = of.compressed(compressed())
    assert [row.name for row in rows[:2]] == ["onnx int8 in part", "openvino bf16"]
    assert rows[0].slots == ["interactive"]
    assert rows[-1].why
    assert not next(row for row in rows if row.name == "onnx int8").within
    assert of.compressed(None) == []


def test_the_largest_mistakes_come_first() -> None:
    head = {"labels": ["a", "b", "c"], "confusion": [[5, 1, 4], [4, 0, 0], [0, 0, 9]]}
    wrong = of.mistakes(head)
    assert [(one["truth"], one["predicted"], one["count"]) for one in wrong] == [
        ("b", "a", 4),
        ("a", "c", 4),
        ("a", "b", 1),
    ]
    assert wrong[0]["share"] == 1.0


def test_one_head_s_score_is_drawn_once() -> None:
    epoch = {"step": 1, "epoch": 1, "loss": 0.5, "score": 0.9, "intent": 0.9}
    assert [row["series"] for row in of.curves({"epochs": [epoch]})] == ["validation_loss", "intent"]
    both = epoch | {"topics": 0.7}
    assert [row["series"] for row in of.curves({"epochs": [both]})][1:] == ["score", "intent", "topics"]
