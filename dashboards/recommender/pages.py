"""The product team's section."""

from dashboards.pages import PageOf, Section
from dashboards.recommender import studio

SECTION = Section("recommendations", 3, "recommender", [PageOf("studio", "manage_search", studio.page)])
