"""The risk desk's section."""

from dashboards.pages import PageOf, Section
from dashboards.sentiment import live

SECTION = Section("risk", 2, "sentiment", [PageOf("live", "monitoring", live.page)])
