"""The pages, run by Streamlit's own test runner against services on loopback."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import streamlit as st
from fake_services import IMAGE, NOW, SCRIPT
from streamlit.testing.v1 import AppTest

from dashboards.models.versions import compared, confusion, curves, figures, slices
from dashboards.recommender.studio import variety
from dashboards.sentiment.board import Cell, cells_of, surprise, width_of
from services.sentiment.contract import Series
from shared.settings import Settings

PAGES = {
    "chat": "dashboards.support.chat",
    "live": "dashboards.sentiment.live",
    "studio": "dashboards.recommender.studio",
    "models": "dashboards.models.overview",
}
Show = Callable[..., AppTest]


@pytest.fixture
def show(settings: Settings, fakes: dict[str, Any]) -> Show:
    def run(page: str, person: str = "robin") -> AppTest:
        script = f"from {PAGES[page]} import page\npage()\n"
        st.cache_data.clear()  # one test's answers are not the next one's
        at = AppTest.from_string(script, default_timeout=30)
        at.session_state["token"] = f"token-of-{person}"
        at.run()
        assert not at.exception
        return at

    return run


def html_of(at: AppTest) -> str:
    return "".join(element.proto.body for element in at.get("html"))


def test_the_chat_answers_and_quotes_its_sources(show: Show) -> None:
    at = show("chat")
    at.chat_input[0].set_value("my card was declined").run()
    body = html_of(at)
    assert "live within one minute" in body
    assert '<span class="tr-cite">[1]</span>' in body
    assert "Card declined while travelling" in body
    assert "card not working 93%" in body
    assert "support-model@3" in body


def test_a_hand_over_says_why(show: Show) -> None:
    at = show("chat")
    at.chat_input[0].set_value("I want a lawyer").run()
    assert "A person takes over" in html_of(at)
    assert "The customer asked for a person." in html_of(at)


def test_hostile_answers_stay_text(show: Show) -> None:
    at = show("chat")
    at.chat_input[0].set_value(f"hostile {SCRIPT} {IMAGE}").run()
    body = html_of(at)
    assert "<script" not in body
    assert "<img" not in body
    assert "&lt;script&gt;" in body
    assert not at.markdown


def test_a_question_is_kept_when_the_service_fails(show: Show, fakes: dict[str, Any]) -> None:
    fakes["support"].state.fail = ("/v1/ask", 503)
    at = show("chat")
    at.chat_input[0].set_value("is anybody there?").run()
    body = html_of(at)
    assert "is anybody there?" in body
    assert "no bundle is live; run trillium train support" in body
    assert "Log id 4f1c2ab09d3e7788" in body
    fakes["support"].state.fail = None
    at.button(key="retry-0").click().run()
    assert "live within one minute" in html_of(at)


def test_the_desk_shows_alerts_topics_feeds_and_headlines(show: Show) -> None:
    at = show("live")
    body = html_of(at)
    assert "Open alerts · 2" in body
    assert "Replay: now is the watermark, 21 Mar 2026 14:32 UTC" in body
    assert body.index("Credit risk: negative surge") < body.index("Cyber incident: negative surge")
    assert "41 of 63 items negative (65%), 17.6 expected" in body
    assert "12 late items · 3 dead letters" in body
    assert "贝尔蒙特银行遭评级下调" in body
    assert "<script" not in body
    assert len(at.get("vega_lite_chart")) == 1
    table = at.dataframe[0].value
    assert table["topic"].iloc[0] == "Credit risk"
    assert table.set_index("topic")["z"].isna()["Management"]


def test_the_desk_keeps_what_it_had_when_the_service_is_gone(show: Show, fakes: dict[str, Any]) -> None:
    at = show("live")
    fakes["sentiment"].state.fail = ("/v1/health", 503)
    st.cache_data.clear()
    at.run()
    assert "The service can&#x27;t be reached. Shown is what was there at" in html_of(at)
    assert "Credit risk: negative surge" in html_of(at)


def test_a_stopped_worker_is_said(show: Show, fakes: dict[str, Any]) -> None:
    fakes["sentiment"].state.worker = "stopped"
    try:
        assert "The worker is stopped" in html_of(show("live"))
    finally:
        fakes["sentiment"].state.worker = "alive"


def test_pausing_turns_the_button_into_its_opposite(show: Show) -> None:
    at = show("live")
    assert at.button(key="live-pause").label == "Pause"
    assert at.button(key="live-pause").click().run().button(key="live-pause").label == "Go on"


def test_the_studio_asks_for_the_first_user_and_explains(show: Show) -> None:
    body = html_of(show("studio"))
    assert "recommender-model@4" in body
    assert "personal" in body
    assert "List quality" in body
    assert "Variety" in body


def test_an_unknown_user_gets_popular_items(show: Show) -> None:
    at = show("studio")
    at.selectbox(key="studio-user").set_value("stranger").run()
    assert "popular items" in html_of(at)


def test_a_sentence_runs_once_it_is_there(show: Show) -> None:
    at = show("studio")
    at.segmented_control(key="studio-way").set_value("text").run()
    assert "No list yet" in html_of(at)
    at.text_input(key="studio-text").set_value("slow family drama near the sea").run()
    assert "similar items" in html_of(at)


def test_versions_show_the_verdict_and_what_it_was_compared_with(show: Show) -> None:
    at = show("models")
    body = html_of(at)
    assert "support@4" in body
    assert "vs support@3" in body
    assert "Gate passed" in body
    assert "TF-IDF + linear SVM" in body
    tabs = [tab.label for tab in at.get("tab")]
    assert tabs == ["Figures", "Curves", "Calibration", "Confusion", "Drift", "Card"]


def test_only_admins_may_move_live(show: Show) -> None:
    assert show("models", "robin").button(key="roll-back")
    with pytest.raises(KeyError):
        show("models", "agent").button(key="roll-back")


def test_a_roll_back_asks_first(show: Show, fakes: dict[str, Any]) -> None:
    at = show("models")
    at.button(key="roll-back").click().run()
    assert at.button(key="roll-back-yes")
    assert fakes["support"].state.live == 4


def test_surprise_is_a_z_score_of_the_number_of_negatives() -> None:
    cell = Cell(NOW, NOW, count=100, negative=40, expected=20.0)
    assert surprise([cell]) == pytest.approx((40 - 20) / (20 * 0.8) ** 0.5)
    assert surprise([Cell(NOW, NOW, 5, 1, None)]) is None
    assert surprise([]) is None


def test_windows_that_slide_are_shown_side_by_side() -> None:
    ends = [NOW + timedelta(minutes=15 * n) for n in range(9)]
    points = [{"end": end, "count": n, "negative": 0} for n, end in enumerate(ends)]
    answer = Series.model_validate(
        {"series": "all", "window": 60, "step": 15, "state": "ready", "points": points}
    )
    cells = cells_of(answer)
    assert [cell.count for cell in cells] == [4, 8]  # the first has no items and is left out
    assert cells[0].end == cells[1].start


@pytest.mark.parametrize(
    ("hours", "step", "minutes"), [(6, 15, 15), (24, 15, 30), (24, 20, 40), (168, 15, 210)]
)
def test_the_window_fits_the_range(hours: int, step: int, minutes: int) -> None:
    assert width_of(hours, step) == minutes


def test_variety_is_the_mean_distance_of_the_tags() -> None:
    one, two = frozenset({"a", "b"}), frozenset({"b", "c"})
    assert variety([one, one]) == 0
    assert variety([one, two]) == pytest.approx(1 - 1 / 3)
    assert variety([one]) is None


def test_a_gate_s_figures_are_set_side_by_side() -> None:
    metrics = {
        "ndcg_at_20": 0.31,
        "live": {"name": "recommender@3", "value": 0.3},
        "plain": {"name": "EASE", "value": 0.2},
    }
    assert compared(metrics) == ("ndcg_at_20", 0.31, [("recommender@3", 0.3), ("EASE", 0.2)])
    assert compared({"rows": 3}) is None
    assert slices({"slices": {"zh": {"rows": 40, "judged": True, "macro_f1": 0.9}}}) == [("zh", 40, 0.9)]
    assert figures({"a": {"b": 1, "c": "x"}, "d": True}) == [("a.b", 1.0)]


def test_curves_become_rows_of_named_series() -> None:
    kept = {
        "losses": [{"step": 5, "loss": 0.9}],
        "epochs": [{"step": 10, "epoch": 1, "loss": 0.7, "intent": 0.8}],
    }
    assert curves(kept) == [
        {"step": 5, "series": "training_loss", "value": 0.9},
        {"step": 10, "series": "validation_loss", "value": 0.7},
        {"step": 10, "series": "intent", "value": 0.8},
    ]
    assert curves({}) == []


def test_a_matrix_becomes_cells_and_the_worst_labels_stay() -> None:
    labels, cells = confusion({"labels": ["a", "b"], "confusion": [[3, 1], [0, 0]]})
    assert labels == ["a", "b"]
    assert cells[1] == {"truth": "a", "predicted": "b", "count": 1, "share": 0.25}
    assert cells[2]["share"] == 0
    many = [[9 if i == j else 0 for j in range(30)] for i in range(30)]
    many[29][28] = 5
    labels, cells = confusion({"labels": [f"l{i}" for i in range(30)], "confusion": many})
    assert len(labels) == 20
    assert labels[-2:] == ["l28", "l29"]
