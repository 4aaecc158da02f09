"""Talk with the support bot: the conversation left, what its answer rests on right."""

from dataclasses import dataclass, field

import streamlit as st

from dashboards import connect, states
from dashboards.components import chips
from dashboards.parts import badge, heading, page_title, safe, show, tag, with_marks
from dashboards.wording import T, name_of
from services.support.client import SupportClient
from services.support.contract import AskResponse, Citation
from shared.errors import TrilliumError

LONGEST = 4_000  # characters, the service's own limit
EXAMPLES = 4
SURE, UNSURE = 0.7, 0.4  # an intent below the second is shown as a guess


@dataclass
class Turn:
    """One question and what came back."""

    question: str
    answer: AskResponse | None = None
    problem: TrilliumError | None = None


@dataclass
class Talk:
    """A conversation as this browser holds it; the service keeps its own record."""

    turns: list[Turn] = field(default_factory=list)
    conversation_id: str | None = None


def talk() -> Talk:
    """Return this session's conversation."""
    held: Talk = st.session_state.setdefault("talk", Talk())
    return held


def ask(question: str) -> None:
    """Send one question and add the turn; an error becomes part of it, so that nothing typed is lost."""
    turn = Turn(question.strip()[:LONGEST])
    held = talk()
    try:
        turn.answer = connect.client(SupportClient, "support").ask(turn.question, held.conversation_id)
        held.conversation_id = turn.answer.conversation_id
    except TrilliumError as problem:
        turn.problem = problem
    held.turns.append(turn)


def page() -> None:
    """Show the page."""
    left, right = st.columns([6, 4], gap="small")
    with left:
        _talk_pane()
    with right:
        _evidence_pane()


def _talk_pane() -> None:
    with st.container(key="fill-page-talk", height=600, border=True, gap="small"):
        held = talk()
        with st.container(
            horizontal=True, wrap=False, vertical_alignment="center", gap="small", key="talk-head"
        ):
            show(page_title(T("chat.title"), T("chat.turns", n=len(held.turns)) if held.turns else ""))
            if st.button(
                T("chat.new"), icon=":material/add_comment:", disabled=not held.turns, key="chat-new"
            ):
                st.session_state["talk"] = Talk()
                st.rerun()
        with st.container(height=300, border=False, autoscroll=True, key="scroll-talk", gap="medium"):
            if not held.turns:
                _welcome()
            for place, turn in enumerate(held.turns):
                _turn(turn, place, last=place == len(held.turns) - 1)
            waiting = st.container(key="talk-waiting", gap="small")
        typed = st.chat_input(T("chat.placeholder"), max_chars=LONGEST, key="chat-input")
    question = typed or st.session_state.pop("chat-pressed", None)
    if question:
        with waiting:
            show(_said(question))
            states.loading(56)
        ask(question)
        st.rerun()


def _press(label: str, texts: list[tuple[str, str]], key: str, *, disabled: bool = False) -> None:
    chosen = chips(label, texts, key=key, disabled=disabled)
    if chosen:
        st.session_state["chat-pressed"] = chosen


@st.cache_data(ttl=300, max_entries=50, show_spinner=False)
def _titles(_client: SupportClient, person: str) -> list[str]:
    page = _client.documents(limit=EXAMPLES)
    return [document.title for document in page.documents]


def _welcome() -> None:
    text = tag("b", safe(T("chat.welcome"))) + tag("p", safe(T("chat.welcome_why")))
    show(tag("div", text, "tr-welcome"))
    try:
        titles = _titles(connect.client(SupportClient, "support"), connect.person().name)
    except TrilliumError:
        titles = []  # examples are a help: without them one types
    if titles:
        show(tag("div", safe(T("chat.examples")), "tr-sub"))
        _press(T("chat.examples"), [(title, "") for title in titles], "chat-examples")


def _said(question: str) -> str:
    return tag(
        "div",
        tag("div", safe(T("chat.you")), "tr-who") + tag("div", safe(question), "tr-text"),
        "tr-say",
        "tr-ask",
    )


def _turn(turn: Turn, place: int, *, last: bool) -> None:
    with st.container(key=f"turn-{place}", gap="small"):
        show(_said(turn.question))
        if turn.problem is not None:
            states.error(T("chat.this_question"), turn.problem)
            if last and st.button(T("state.again"), icon=":material/refresh:", key=f"retry-{place}"):
                talk().turns.pop()
                st.session_state["chat-pressed"] = turn.question
                st.rerun()
        if turn.answer is not None:
            _answer(turn.answer, place, last=last)


def _answer(answer: AskResponse, place: int, *, last: bool) -> None:
    state = {
        "answer": badge(T("chat.grounded", n=len(answer.citations)), "green", "✓")
        if answer.citations
        else "",
        "handoff": badge(T("chat.handoff"), "orange", "⇥"),
        "choices": badge(T("chat.choices"), "blue", "?"),
    }[answer.status]
    who = tag("div", safe(T("chat.bot")) + state, "tr-who")
    show(
        tag(
            "div",
            who + tag("div", with_marks(answer.text, len(answer.citations)), "tr-text"),
            "tr-say",
            "tr-answer",
        )
    )
    if answer.choices:
        texts = [(choice.title, f"{choice.confidence:.0%}") for choice in answer.choices]
        _press(T("chat.choices"), texts, f"choices-{place}", disabled=not last)


def _evidence_pane() -> None:
    answers = [turn.answer for turn in talk().turns if turn.answer is not None]
    with st.container(key="fill-page-evidence", height=600, border=True, gap="small"):
        if not answers:
            show(heading(T("chat.sources")))
            states.empty("sources")
            return
        answer = answers[-1]
        show(heading(T("chat.sources"), T("chat.of_last"), _intent(answer)))
        with st.container(height="stretch", border=False, key="scroll-evidence", gap="small"):
            if answer.handoff is not None:
                _handoff(answer)
            if answer.citations:
                show("".join(_source(place, source) for place, source in enumerate(answer.citations, 1)))
            elif answer.handoff is None:
                show(tag("div", safe(T("chat.no_sources")), "tr-sub"))
            if answer.related:
                rows = "".join(
                    tag(
                        "div",
                        tag("b", safe(r.title)) + tag("div", safe(r.url or r.document_id), "tr-sub"),
                        "tr-source",
                    )
                    for r in answer.related
                )
                show(heading(T("chat.related")), rows)
        served = [(T("word.model"), answer.model or "–"), (T("word.index"), answer.index or "–")]
        show(tag("div", " · ".join(safe(f"{name} {value}") for name, value in served), "tr-facts"))


def _intent(answer: AskResponse) -> str:
    if answer.intent is None:
        return badge(T("chat.no_intent"))
    sure = answer.intent.confidence
    tone = "blue" if sure >= SURE else "gray" if sure >= UNSURE else "orange"
    words = answer.intent.name.replace("_", " ")
    return badge(f"{words} {sure:.0%}", tone)


def _handoff(answer: AskResponse) -> None:
    assert answer.handoff is not None  # noqa: S101 the caller looked
    title = tag("b", safe(T("chat.to_person")))
    reason = tag("p", safe(name_of("handoff", answer.handoff.reason)))
    show(tag("div", title + reason + tag("p", safe(answer.handoff.summary), "tr-sub"), "tr-hand"))


def _source(place: int, source: Citation) -> str:
    head = tag("span", f"[{place}]", "tr-cite") + " " + tag("b", safe(source.title))
    where = " · ".join((source.url or source.document_id, T("chat.version", n=source.version)))
    return tag(
        "div", head + tag("div", safe(where), "tr-sub") + tag("blockquote", safe(source.quote)), "tr-source"
    )
