"""Typed calls of the recommender API."""

from collections.abc import Sequence
from urllib.parse import quote

from services.recommender.contract import (
    Event,
    EventBatch,
    EventsAccepted,
    ItemDetail,
    ItemPage,
    ItemRemoved,
    ItemWrite,
    Recommendations,
    UserHistory,
    UserPage,
)
from shared.web.client import ServiceClient


class RecommenderClient(ServiceClient):
    """The recommender service; every method raises the error class of the status that came back."""

    def recommendations(
        self,
        *,
        user: str | None = None,
        item: str | None = None,
        text: str | None = None,
        k: int = 10,
        explain: bool = False,
    ) -> Recommendations:
        """Return up to `k` (1 to 100) items for exactly one of a user, an item or a text.

        An unknown user is served popular items; an unknown item raises NotFound.
        """
        given = {"user": user, "item": item, "text": text}
        params = {name: value for name, value in given.items() if value is not None}
        params |= {"k": str(k)} | ({"explain": "true"} if explain else {})
        return Recommendations.model_validate(self.get("/v1/recommendations", params=params))

    def send_events(self, events: Sequence[Event]) -> EventsAccepted:
        """Store events (editors and machines, 1 to 1,000); the next answer sees them."""
        batch = EventBatch(events=list(events))
        return EventsAccepted.model_validate(
            self.post("/v1/events", json=batch.model_dump(mode="json", exclude_none=True))
        )

    def items(self, *, q: str | None = None, next: str | None = None, limit: int = 50) -> ItemPage:  # noqa: A002 the contract's word
        """Return one page of the catalogue by id; `q` keeps items whose title or id holds it."""
        params: dict[str, str | int] = {"limit": limit}
        params |= {name: value for name, value in (("q", q), ("next", next)) if value}
        return ItemPage.model_validate(self.get("/v1/items", params=params))

    def item(self, item_id: str) -> ItemDetail:
        """Return an item with its description; raises NotFound."""
        return ItemDetail.model_validate(self.get(_path("items", item_id)))

    def put_item(self, item_id: str, item: ItemWrite) -> ItemDetail:
        """Write an item (editors); the next answer may hold it, from its text alone."""
        return ItemDetail.model_validate(self.put(_path("items", item_id), json=item.model_dump()))

    def delete_item(self, item_id: str) -> ItemRemoved:
        """Delete an item (editors); no later answer holds it."""
        return ItemRemoved.model_validate(self.delete(_path("items", item_id)))

    def users(self, *, q: str | None = None, next: str | None = None, limit: int = 50) -> UserPage:  # noqa: A002 the contract's word
        """Return one page of the users with events by id; `q` keeps ids that hold it."""
        params: dict[str, str | int] = {"limit": limit}
        params |= {name: value for name, value in (("q", q), ("next", next)) if value}
        return UserPage.model_validate(self.get("/v1/users", params=params))

    def history(self, user_id: str, *, limit: int = 20) -> UserHistory:
        """Return a user's newest events; raises NotFound for a user without any."""
        return UserHistory.model_validate(self.get(_path("users", user_id), params={"limit": limit}))


def _path(kind: str, id_: str) -> str:
    return f"/v1/{kind}/{quote(id_, safe='')}"
