"""The one Streamlit script: the frame, who is signed in, and the pages that their roles show."""

from pathlib import Path

import streamlit as st

from dashboards import connect, states
from dashboards.pages import Section, sections
from dashboards.parts import safe, show, tag
from dashboards.wording import T, set_language
from shared.errors import Denied, TrilliumError

HERE = Path(__file__).parent


def frame() -> None:
    """Set up the page: title, icon, the narrow sidebar, our style sheet and the logo."""
    set_language(st.query_params.get("lang"))
    st.set_page_config(
        page_title=T("app.name"),
        page_icon=str(HERE / "static" / "icon.png"),
        layout="wide",
        initial_sidebar_state=200,
    )
    st.html(HERE / "kit.css")
    st.logo(str(HERE / "static" / "logo.svg"), size="large")


def account(person: connect.Person) -> None:
    """Show who is signed in at the foot of the sidebar, with the way out."""
    with (
        st.sidebar,
        st.popover(
            person.name.replace("[", "(").replace("!", ""),
            icon=":material/account_circle:",
            type="tertiary",
            key="account",
        ),
    ):
        roles = ", ".join(person.roles) or T("state.no_role")
        groups = ", ".join(person.groups) or T("account.no_groups")
        lines = (T("account.roles", roles=roles), T("account.groups", groups=groups), T("account.hours"))
        text = tag("b", safe(person.name)) + "".join(tag("p", safe(line)) for line in lines)
        link = f'<p><a href="/logout" target="_self">{safe(T("account.sign_out"))}</a></p>'
        show(tag("div", text + link, "tr-account"))


def navigation(found: list[Section]) -> None:
    """Show the navigation of these sections and run the page that is open."""
    pages = {
        T(f"section.{section.name}"): [
            st.Page(
                page.run, title=T(f"page.{page.name}"), icon=f":material/{page.icon}:", url_path=page.name
            )
            for page in section.pages
        ]
        for section in found
    }
    st.navigation(pages, expanded=True).run()


def main() -> None:
    """Run one pass of the script."""
    frame()
    try:
        person = connect.person()
    except Denied:
        states.signed_out()
        return
    except TrilliumError:
        states.offline()
        return
    account(person)
    found = [section for section in sections() if section.open_to(person, connect.apps())]
    if not found:
        states.empty("pages")
        return
    navigation(found)


main()
