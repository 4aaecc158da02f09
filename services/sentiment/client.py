"""Typed calls of the sentiment API."""

from datetime import datetime

from services.sentiment.contract import AlertPage, AlertState, Health, ItemPage, Series, Topics
from shared.clock import to_text
from shared.web.client import ServiceClient


class SentimentClient(ServiceClient):
    """The sentiment service; every method raises the error class of the status that came back."""

    def items(
        self,
        *,
        topic: str | None = None,
        entity: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        next: str | None = None,  # noqa: A002 the contract's word
        limit: int = 50,
    ) -> ItemPage:
        """Return one page of items with `start` <= event time < `end`, newest first."""
        given = {"topic": topic, "entity": entity, "next": next} | _times(start, end)
        return ItemPage.model_validate(self.get("/v1/items", params=_params(given, limit=limit)))

    def series(
        self,
        series: str = "all",
        *,
        window: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Series:
        """Return the windows of `series` that end in (`start`, `end`], by default the last 24 hours.

        `window` is in minutes (a multiple of the step, by default the one that alerts use). Raises
        NotFound for an unknown series.
        """
        given = {"series": series, "window": str(window) if window else None} | _times(start, end)
        return Series.model_validate(self.get("/v1/series", params=_params(given)))

    def alerts(
        self,
        *,
        state: AlertState | None = None,
        next: str | None = None,  # noqa: A002 the contract's word
        limit: int = 50,
    ) -> AlertPage:
        """Return one page of alerts, newest first."""
        return AlertPage.model_validate(
            self.get("/v1/alerts", params=_params({"state": state, "next": next}, limit=limit))
        )

    def topics(self) -> Topics:
        """Return every series that is kept, `all` first."""
        return Topics.model_validate(self.get("/v1/topics"))

    def health(self) -> Health:
        """Return the state of feeds and worker, and the present of the stream."""
        return Health.model_validate(self.get("/v1/health"))


def _times(start: datetime | None, end: datetime | None) -> dict[str, str | None]:
    return {"from": to_text(start) if start else None, "to": to_text(end) if end else None}


def _params(given: dict[str, str | None], **numbers: int) -> dict[str, str | int]:
    return {name: value for name, value in given.items() if value is not None} | numbers
