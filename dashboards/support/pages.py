"""The support team's section."""

from dashboards.pages import PageOf, Section
from dashboards.support import chat

SECTION = Section("support", 1, "support", [PageOf("chat", "forum", chat.page)])
