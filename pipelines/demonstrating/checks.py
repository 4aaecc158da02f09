"""Questions to the running services whose right answers are known: what `demo --once` asks."""

import csv
from collections import Counter
from datetime import UTC, datetime

from pipelines.demonstrating.figures import rows_of
from pipelines.demonstrating.place import SAMPLES
from services.recommender.client import RecommenderClient
from services.sentiment.client import SentimentClient
from services.support.client import SupportClient

# From the data card of the stream.
SURGE = "cyber incident", datetime(2026, 3, 18, 12, tzinfo=UTC), datetime(2026, 3, 18, 18, tzinfo=UTC)
CITED, HANDED_OVER, FITTING = 0.7, 0.6, 0.5  # least shares; one answer alone may be luck


def support(client: SupportClient) -> list[str]:
    """Ask one held-out question per intent, and others that the help centre can't answer."""
    by_intent = {row["intent"]: row for row in reversed(rows_of(SAMPLES / "support" / "held_out.csv"))}
    cited = [
        row["article"] in [one.document_id for one in client.ask(row["question"]).citations]
        for row in by_intent.values()
    ]
    foreign = [row["question"] for row in rows_of(SAMPLES / "support" / "out_of_scope.csv")][:20]
    handed = [client.ask(question).status == "handoff" for question in foreign]
    return [
        *_least("support cites the right article", cited, CITED),
        *_least("support hands over what it can't know", handed, HANDED_OVER),
    ]


def _least(what: str, right: list[bool], share: float) -> list[str]:
    if sum(right) >= share * len(right):
        return []
    return [f"{what}: {sum(right)} of {len(right)}, at least {share:.0%} are expected"]


def sentiment(client: SentimentClient) -> list[str]:
    """The planted surge is alerted, and nothing else is."""
    topic, start, end = SURGE
    alerts = client.alerts(limit=100).alerts
    inside = [one for one in alerts if start <= one.opened <= end and one.series in (topic, "all")]
    wrong = [f"false alert on {a.series}, opened {a.opened:%d %b %H:%M}" for a in alerts if a not in inside]
    missing = [] if any(one.series == topic for one in inside) else [f"no alert on the surge of {topic!r}"]
    return missing + wrong


def recommender(client: RecommenderClient) -> list[str]:
    """What active people are offered shares a tag with what they like most."""
    tags = {r["item_id"]: r["tags"].split("|") for r in rows_of(SAMPLES / "recommender" / "items.csv")}
    liked: dict[str, Counter[str]] = {}
    with (SAMPLES / "recommender" / "events.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["event"] in ("buy", "share", "comment"):
                liked.setdefault(row["user_id"], Counter()).update(tags[row["item_id"]])
    people = sorted(liked, key=lambda user: -sum(liked[user].values()))[:10]
    shares = []
    for user in people:
        favourite = {tag for tag, _ in liked[user].most_common(4)}
        offered = client.recommendations(user=user, k=10)
        if offered.served_by != "personal" or not all(one.reasons for one in offered.items):
            return [f"user {user} is served {offered.served_by}, or an item lacks its reason"]
        shares.append(sum(bool(favourite & set(tags[one.item_id])) for one in offered.items) / 10)
    mean = sum(shares) / len(shares)
    unknown = client.recommendations(user="nobody-was-here", k=5).served_by
    return [
        *([] if mean >= FITTING else [f"{mean:.0%} of the offers fit; {FITTING:.0%} are expected"]),
        *([] if unknown == "popular" else [f"an unknown user is served {unknown}, not popular"]),
    ]
