"""The section of everybody who answers for a model."""

from dashboards.models import overview
from dashboards.pages import PageOf, Section

SECTION = Section("models", 4, None, [PageOf("models", "deployed_code", overview.page)])
