"""The three services' answers without their models: made-up data with hostile and Chinese texts in it.

`python tests/dashboards/fake_services.py PORT` serves them at PORT, PORT + 1 and PORT + 2, for looking at the pages.
"""

# ruff: noqa: E501 one row of made-up data is one line

import asyncio
import random
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse

NOW = datetime(2026, 3, 21, 14, 32, tzinfo=UTC)
SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "![x](http://evil.example/p.png) [link](javascript:alert(1)) <img src=x onerror=alert(1)>"
NAMES = ("support", "sentiment", "recommender")
PEOPLE = {
    "robin": ["support:admin", "sentiment:admin", "recommender:admin"],
    "agent": ["support:agent"],
    "risk": ["sentiment:viewer"],
    "nobody": [],
}
TOPICS = {
    "credit-risk": ("Credit risk", 0.9),
    "cyber-incident": ("Cyber incident", 0.55),
    "litigation": ("Litigation", 0.4),
    "management": ("Management change", 0.05),
    "regulation": ("Regulation", -0.05),
    "supply-chain": ("Supply chain", -0.3),
    "guidance": ("Guidance cut", 0.0),
    "m-and-a": ("M&A", -0.25),
}


def problem(status: int, title: str, detail: str) -> JSONResponse:
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": "4f1c2ab09d3e7788",
    }
    return JSONResponse(body, status, media_type="application/problem+json")


def text_of(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class Fail(Exception):
    def __init__(self, status: int, title: str, detail: str) -> None:
        self.answer = problem(status, title, detail)


def create(name: str) -> FastAPI:
    """One service: "support", "sentiment" or "recommender"; `state.fail = (path, status)` breaks a route."""
    app = FastAPI()
    app.state.name, app.state.fail, app.state.worker = name, None, "alive"

    @app.exception_handler(Fail)
    async def failed(_request: Request, error: Fail) -> JSONResponse:
        return error.answer

    @app.middleware("http")
    async def broken(request: Request, call_next: Any) -> Any:
        if app.state.fail and request.url.path == app.state.fail[0]:
            return problem(
                app.state.fail[1], "Not available", "no bundle is live; run trillium train support"
            )
        return await call_next(request)

    people(app)
    {"support": support, "sentiment": sentiment, "recommender": recommender}[name](app)
    models(app)
    return app


def who(authorization: str | None) -> str:
    name = (authorization or "").removeprefix("Bearer token-of-")
    if name not in PEOPLE:
        raise Fail(401, "Not signed in", "sign in at POST /v1/sessions")
    return name


def people(app: FastAPI) -> None:
    @app.post("/v1/sessions")
    async def login(body: dict[str, str]) -> Any:
        name = body["name"]
        if name not in PEOPLE or body["password"] != "trillium-demo":
            return problem(401, "Not signed in", "name or password is wrong")
        expires = text_of(datetime.now(UTC) + timedelta(hours=12))
        return {
            "token": f"token-of-{name}",
            "expires": expires,
            "person": name,
            "roles": PEOPLE[name],
            "groups": ["cards"],
        }

    @app.get("/v1/me")
    async def me(authorization: str | None = Header(None)) -> Any:
        name = who(authorization)
        return {"person": name, "roles": PEOPLE[name], "groups": ["cards"]}


ANSWER = (
    "Magnetic stripe payments are off outside your home country. You can switch them on under Card > Security; the "
    "change is live within one minute [1].\n\nChip and PIN and contactless payments work in all supported countries "
    "without a change [2]."
)


def citation(n: int, title: str, quote: str) -> dict[str, Any]:
    return {
        "document_id": f"cards/{n}.md",
        "chunk_id": f"cards/{n}.md#0",
        "title": title,
        "url": f"https://help.example/cards/{n}",
        "version": n,
        "start": 0,
        "end": len(quote),
        "quote": quote,
    }


def support(app: FastAPI) -> None:
    base = {"model": "support-model@3", "index": "support-index@7"}

    @app.post("/v1/ask")
    async def ask(body: dict[str, Any], authorization: str | None = Header(None)) -> Any:
        who(authorization)
        question = body["question"]
        ids = {"answer_id": "a1", "conversation_id": body.get("conversation_id") or "c1"}
        if "lawyer" in question:
            hand = {
                "reason": "asks_for_person",
                "summary": "The customer wants to speak with a person about a fee. One question so far.",
            }
            return {
                **ids,
                **base,
                "status": "handoff",
                "text": "I will pass this on to a colleague, who sees this conversation.",
                "intent": {"name": "complaint", "confidence": 0.34},
                "handoff": hand,
            }
        if question == "card":
            titles = ["My card does not work", "Order a new card", f"Card limits {IMAGE}"]
            return {
                **ids,
                **base,
                "status": "choices",
                "text": "What is it about?",
                "intent": {"name": "card_not_working", "confidence": 0.41},
                "choices": [
                    {"intent": f"i{n}", "title": t, "confidence": 0.41 - n / 10} for n, t in enumerate(titles)
                ],
            }
        text = f"{ANSWER}\n\n{SCRIPT} {IMAGE} [1]" if "hostile" in question else ANSWER
        cites = [
            citation(
                1,
                "Card declined while travelling",
                "Magnetic stripe payments are off outside the home country. The customer can switch them on under Card > Security; the change is live within one minute.",
            ),
            citation(
                2,
                "在国外付款的方式" if "hostile" in question else "Ways to pay abroad",
                f"Chip and PIN and contactless payments work in all supported countries without a change of settings. {SCRIPT + IMAGE if 'hostile' in question else ''}",
            ),
        ]
        related = [
            {"document_id": "cards/9.md", "title": "Daily limits", "url": "https://help.example/cards/9"}
        ]
        return {
            **ids,
            **base,
            "status": "answer",
            "text": text,
            "intent": {"name": "card_not_working", "confidence": 0.93},
            "citations": cites,
            "related": related,
        }

    @app.get("/v1/documents")
    async def documents(limit: int = 50) -> Any:
        titles = [
            "Why was my card declined abroad?",
            "How long does a transfer take?",
            "密码忘了怎么办？",
            f"Fees {IMAGE}",
        ]
        rows = [
            {"id": f"d{n}", "title": t, "url": None, "groups": [], "version": 1, "updated": text_of(NOW)}
            for n, t in enumerate(titles)
        ]
        return {"documents": rows[:limit], "next": None}


def points(series: str, start: datetime, end: datetime, window: int) -> list[dict[str, Any]]:
    """Windows of `window` minutes that slide by 15, the surging topics more negative towards the end."""
    tilt = 0.25 if series == "all" else TOPICS[series][1]
    last = NOW.replace(minute=30)
    rows = []
    for n in range((7 * 24 * 4) + 1):
        moment = last - timedelta(minutes=15 * n)
        if not start < moment <= end:
            continue
        rng = random.Random(f"{series} {moment}")
        count = rng.randrange(3, 30) * window // 15
        recent = max(0.0, 1 - n / 48)
        share = min(0.97, max(0.02, 0.28 + rng.uniform(-0.12, 0.12) + tilt * 0.5 * recent))
        if series == "m-and-a" and 30 <= n <= 44:
            count = 0
        learning = series == "management"
        rows.append(
            {
                "end": text_of(moment),
                "count": count,
                "negative": round(share * count),
                "expected": None if learning else 0.28 * count,
            }
        )
    return rows[::-1]


def sentiment(app: FastAPI) -> None:
    titles = [
        ("Belmont Bank downgraded to junk as deposits fall for third week", "Newswire A", "negative", 0.93),
        (f"Belmont {SCRIPT} {IMAGE} :red[Bank] **run**", "Social stream", "negative", 0.71),
        ("贝尔蒙特银行遭评级下调，存款连续三周下滑", "新浪财经", "negative", 0.88),
        (
            "Regulator opens probe into Belmont Bank loan book, shares slump 9%",
            "Newswire B",
            "negative",
            0.90,
        ),
        ("Belmont Bank says liquidity is strong, denies default talk", "Newswire A", "neutral", 0.62),
        ("Palladin Steel raises outlook on record orders", "Newswire B", "positive", 0.95),
        ("Kestrel Air names new finance chief", "Regulator filings", "neutral", 0.84),
        ("Orix Retail cuts guidance after weak quarter", "Newswire A", "negative", 0.87),
    ]

    def alert(
        n: int, series: str, state: str, severity: str, minutes: int, negative: int, count: int
    ) -> dict[str, Any]:
        why = {
            "text": f"{negative} of {count} items negative {SCRIPT}",
            "end": text_of(NOW),
            "count": count,
            "negative": negative,
            "expected": 0.28 * count,
            "share": negative / count,
            "usual_share": 0.28,
            "p_count": 1e-6,
            "p_share": 1e-5,
            "p": 1e-6,
            "headlines": [],
        }
        opened = text_of(NOW - timedelta(minutes=minutes))
        return {
            "id": f"al-{n}",
            "series": series,
            "kind": "topic",
            "state": state,
            "opened": opened,
            "severity": severity,
            "why": why,
            "model": "sentiment-model@2",
            "resolved": text_of(NOW) if state == "resolved" else None,
            "peak": negative,
        }

    app.state.alerts = [
        alert(2041, "credit-risk", "open", "high", 94, 41, 63),
        alert(2040, "cyber-incident", "recovering", "medium", 51, 19, 27),
        alert(2037, "litigation", "resolved", "low", 4_207, 11, 19),
    ]

    @app.get("/v1/alerts")
    async def alerts(authorization: str | None = Header(None)) -> Any:
        who(authorization)
        return {"alerts": app.state.alerts, "next": None}

    @app.get("/v1/items")
    async def items(limit: int = 20) -> Any:
        rows = []
        for n, (title, source, label, p) in enumerate(titles):
            rest = (1 - p) / 2
            probabilities = {"negative": rest, "neutral": rest, "positive": rest} | {label: p}
            rows.append(
                {
                    "id": f"i{n}",
                    "ts": text_of(NOW - timedelta(minutes=3 + 9 * n)),
                    "title": title,
                    "source": source,
                    "url": f"https://news.example/{n}",
                    "sentiment": {"label": label, "probabilities": probabilities},
                    "topics": ["credit-risk"],
                    "model": "sentiment-model@2",
                }
            )
        return {"items": rows[:limit], "next": None}

    @app.get("/v1/series")
    async def series(request: Request, window: int = 60) -> Any:
        asked = request.query_params
        start, end = (datetime.fromisoformat(asked[name]) for name in ("from", "to"))
        if start >= end:
            raise Fail(422, "Bad input", "from lies behind to; give an earlier from")
        state = "learning" if asked["series"] == "management" else "ready"
        return {
            "series": asked["series"],
            "window": window,
            "step": 15,
            "state": state,
            "points": points(asked["series"], start, end, window),
        }

    @app.get("/v1/topics")
    async def topics() -> Any:
        rows = [{"name": name, "state": "ready", "count": 900, "negative": 250} for name in ("all", *TOPICS)]
        return {"topics": rows}

    @app.get("/v1/health")
    async def health() -> Any:
        def feed(source: str, state: str, seconds: int) -> dict[str, Any]:
            return {
                "source": source,
                "state": state,
                "lag_s": seconds,
                "last": text_of(NOW - timedelta(seconds=seconds)),
                "count": 4_000 - seconds,
            }

        feeds = [
            feed("Newswire A", "live", 2),
            feed("Newswire B", "live", 9),
            feed("Regulator filings", "quiet", 214),
            feed("新浪财经", "live", 13),
            feed(f"Social {SCRIPT[:8]}", "quiet", 1973),
        ]
        return {
            "now": text_of(NOW),
            "worker": app.state.worker,
            "items": 12_204,
            "late": 12,
            "too_late": 1,
            "dead_letters": 3,
            "duplicates": 0,
            "corrections": 0,
            "feeds": feeds,
            "model": "sentiment-model@2",
        }


def recommender(app: FastAPI) -> None:
    names = [
        "The Glass Orchard",
        "Second Harvest",
        "茶馆旧事",
        "A Map of Rain",
        "Marrow Bridge",
        "Paper Lanterns",
        "The Quiet Engine",
        "Northbound",
        f"Harbour {SCRIPT}",
        f"Nine Winters {IMAGE}",
        "Copper Sky",
        "Low Tide",
        "Salt & Iron",
        "Blue Hour",
        "Long Way Home",
        "Ash and Ivory",
        "Still Waters",
        "The Last Ferry",
        "Open Window",
        "Green Room",
    ]
    tags = [
        ["Drama", "Family"],
        ["Comedy"],
        ["Drama", "History"],
        ["Science"],
        ["Thriller"],
        ["Comedy", "Family"],
        ["History"],
        ["Drama"],
        ["Drama", "Sea"],
        ["Documentary"],
    ]
    sources = ["behaviour", "text", "new", "popular"]
    reasons = [
        ("similar_to", "Similar to Nine Winters, which this user bought"),
        ("text_match", "Its text shares slow, sea and family with the query"),
        ("popular", "Popular in the last 30 days"),
        ("bought_before", "Often bought together with Low Tide"),
    ]

    @app.get("/v1/recommendations")
    async def slate(
        k: int = 10,
        user: str | None = None,
        item: str | None = None,
        text: str | None = None,
        authorization: str | None = Header(None),
    ) -> Any:
        who(authorization)
        if item == "gone":
            return problem(404, "Not found", "there is no item 'gone'")
        rng = random.Random(f"{user}{item}{text}")
        order = list(range(len(names)))
        rng.shuffle(order)
        rows = []
        for rank, n in enumerate(order[:k], 1):
            kind, why = reasons[n % 4]
            parts = {
                "behaviour": 0.5 / rank**0.4,
                "text": 0.25 / rank**0.3,
                "popular": 0.08,
                "repeat": -0.06 * (n % 3),
            }
            rows.append(
                {
                    "item_id": f"item-{n}",
                    "rank": rank,
                    "score": sum(parts.values()),
                    "source": sources[n % 4],
                    "title": names[n],
                    "parts": parts,
                    "reasons": [{"kind": kind, "text": why, "item_id": "item-9", "title": "Nine Winters"}],
                }
            )
        served = "popular" if user == "stranger" else "personal" if user else "similar"
        return {
            "slate_id": f"s-{rng.randrange(10**6)}",
            "served_by": served,
            "model": "recommender-model@4",
            "index": "recommender-index@4",
            "items": rows,
        }

    def detail(n: int) -> dict[str, Any]:
        return {
            "item_id": f"item-{n}",
            "title": names[n],
            "tags": tags[n % 10],
            "attributes": {},
            "url": None,
            "hidden": False,
            "events": 0 if n in (6, 8, 12) else 40 + n,
            "version": 1,
            "updated": text_of(NOW),
            "description": "A quiet story.",
        }

    @app.get("/v1/items/{item_id}")
    async def one(item_id: str) -> Any:
        return detail(int(item_id.removeprefix("item-")))

    @app.get("/v1/items")
    async def catalogue() -> Any:
        return {"items": [detail(n) for n in range(len(names))], "next": None}

    @app.get("/v1/users")
    async def users() -> Any:
        return {
            "users": [
                {"user_id": user, "events": 20, "last": text_of(NOW)}
                for user in [*(f"user-{n:03}" for n in range(12)), "stranger"]
            ],
            "next": None,
        }

    @app.get("/v1/users/{user_id}")
    async def history(user_id: str) -> Any:
        if user_id == "stranger":
            return problem(404, "Not found", "this user has no events")
        return {
            "user_id": user_id,
            "events": [
                {"item_id": f"item-{n}", "title": names[n], "event": "buy", "ts": text_of(NOW), "value": None}
                for n in (9, 11)
            ],
        }


def models(app: FastAPI) -> None:
    name = app.state.name
    app.state.live = 4

    def bundle(n: int) -> dict[str, Any]:
        score = 0.868 + n / 100
        metrics = {
            "macro_f1": score,
            "rows": 812,
            "plain": {"name": "TF-IDF + linear SVM", "macro_f1": 0.842},
            "ece": 0.031,
        }
        if n > 1:
            metrics["live"] = {"name": f"{name}@{n - 1}", "macro_f1": score - 0.012}
        gate = {
            "passed": n != 5,
            "compared_with": f"{name}@{n - 1}" if n > 1 else "TF-IDF + linear SVM",
            "reason": "slice refunds: macro F1 0.71 against 0.79, worse by more than its noise"
            if n == 5
            else None,
        }
        return {
            "ref": f"{name}@{n}",
            "recipe_hash": None,
            "data_hash": None,
            "kind": "bundle",
            "created": text_of(NOW - timedelta(days=9 - n)),
            "live": n == app.state.live,
            "gate": gate,
            "metrics": metrics,
            "parents": {"model": f"{name}-model@{n}", "index": f"{name}-index@{n + 2}"},
            "curves": kept_curves(),
            "evaluation": evaluation(n) if name != "support" else many_labels(n),
        }

    @app.get("/v1/models")
    async def listed(authorization: str | None = Header(None)) -> Any:
        who(authorization)
        models = [bundle(n) for n in range(6, 0, -1)]
        return {
            "models": models,
            "live": f"{name}@{app.state.live}",
            "rollback_to": f"{name}@3",
            "history": [],
            "next": None,
        }

    @app.get("/v1/models/{ref}")
    async def one(ref: str, authorization: str | None = Header(None)) -> Any:
        who(authorization)
        n = int(ref.rpartition("@")[2])
        told = {"of": f"{name}-model@{n}", "card": model_card(f"{name}-model") if n > 1 else None}
        return {**bundle(n), **told, "compressed": compressed() if n > 2 else None, "recipe": recipe(n)}

    @app.get("/v1/drift")
    async def drift(authorization: str | None = Header(None)) -> Any:
        who(authorization)
        return drifted(name)

    @app.get("/v1/runs")
    async def runs(authorization: str | None = Header(None)) -> Any:
        who(authorization)
        return {"runs": [run(name, n) for n in range(6, 0, -1)], "next": None}

    @app.post("/v1/models/promote")
    async def promote(body: dict[str, Any], authorization: str | None = Header(None)) -> Any:
        if f"{name}:admin" not in PEOPLE[who(authorization)]:
            return problem(403, "Not allowed", f"this needs the role {name}:admin")
        app.state.live = int(body["ref"].rpartition("@")[2])
        return {"live": f"{name}@{app.state.live}", "before": None}

    @app.post("/v1/models/rollback")
    async def rollback() -> Any:
        app.state.live -= 1
        return {"live": f"{name}@{app.state.live}", "before": None}


def drifted(name: str) -> dict[str, Any]:
    head = "intent" if name == "support" else "sentiment"
    figures = [
        {"what": "labels", "head": head, "figure": "psi", "value": 0.2841, "p_value": 0.002, "moved": True},
        {
            "what": "confidence",
            "head": head,
            "figure": "ks",
            "value": 0.0712,
            "p_value": 0.31,
            "moved": False,
        },
        {"what": "length", "head": None, "figure": "ks", "value": 0.0523, "p_value": 0.482, "moved": False},
        {
            "what": "vector",
            "head": None,
            "figure": "energy",
            "value": 0.0071,
            "p_value": 0.002,
            "moved": True,
        },
    ]
    if name == "recommender":  # its encoder gives vectors alone
        figures = [one for one in figures if one["what"] in ("length", "vector")]
    told = {"live": f"{name}@4", "model": f"{name}-model@4", "reference": 412, "current": 500, "fewest": 30}
    return {**told, "moved": True, "figures": figures}


def evaluation(n: int) -> dict[str, Any]:
    labels = ["negative", "neutral", "positive"]
    bins = [
        {
            "from": c / 10,
            "to": c / 10 + 0.1,
            "rows": 20.0 + 10 * c,
            "confidence": c / 10 + 0.05,
            "accuracy": min(1.0, c / 10 + 0.03 + 0.002 * n),
        }
        for c in range(3, 10)
    ]
    matrix = [[180, 21, 4], [17, 402, 12], [2, 19, 155]]
    return {"sentiment": {"macro_f1": 0.9, "labels": labels, "confusion": matrix, "reliability": bins}}


TOPICS_ASKED = "card pin transfer refund limit fee top-up rate address login".split()


def many_labels(n: int) -> dict[str, Any]:
    """The evaluation of a head with 70 labels, some of them hostile or Chinese."""
    labels = [f"{what}_{why}" for what in TOPICS_ASKED for why in "lost late wrong new how why cost".split()]
    labels[3], labels[8] = f"card {SCRIPT}", "密码忘了"
    rng = random.Random(n)
    matrix = [[0] * len(labels) for _ in labels]
    for i, row in enumerate(matrix):
        row[i] = 30 + rng.randrange(10)
        for _ in range(3):
            row[(i + rng.choice((1, 2, 7, 8))) % len(labels)] += rng.randrange(4)
    sets = {"promised": 0.9, "coverage": 0.912, "size": 1.34}
    kept = evaluation(n)["sentiment"]
    about = {"ece": 0.021, "ece_before": 0.064, "temperature": 0.81, "sets": sets}
    return {"intent": {**kept, **about, "labels": labels, "confusion": matrix}}


def kept_curves(n: int = 4) -> dict[str, Any]:
    losses = [{"step": 10 * k, "loss": 0.15 + 0.02 * n + 0.95 * 0.9**k} for k in range(1, 37)]
    epochs = [
        {"step": 60 * e, "epoch": e, "loss": 0.2 + 0.9 * 0.6**e, "score": score, "sentiment": score}
        for e in range(1, 7)
        for score in [0.88 + 0.005 * n - 0.5 * 0.5**e]
    ]
    return {"losses": losses, "epochs": epochs}


def recipe(n: int) -> dict[str, Any]:
    return {
        "base": "all-MiniLM-L6-v2",
        "heads": {"intent": {"kind": "classify", "data": "tickets", "labels": []}},
        "method": {"kind": "full"} if n % 2 else {"kind": "lora", "rank": 8, "alpha": 16.0},
        "train": {"epochs": 4 + n, "rate": 5e-5, "batch": 32, "contrast": 0.5 if n > 3 else 0.0, "seed": n},
    }


def run(name: str, n: int) -> dict[str, Any]:
    def figure(value: float) -> list[float]:
        return [round(v, 4) for v in (value, value - 0.013, value + 0.012)]

    score = 0.868 + n / 100
    told = {"accuracy": figure(score + 0.01), "macro_f1": figure(score), "ece": figure(0.05 - n / 200)}
    return {
        "ref": f"{name}-model@{n}",
        "kind": "model",
        "created": text_of(NOW - timedelta(days=9 - n)),
        "recipe": recipe(n),
        "recipe_hash": f"{n}" * 64,
        "data_hash": f"{n // 3}f3" * 20,
        "metrics": {},
        "curves": kept_curves(n),
        "evaluation": {"intent": {"rows": 812, "intervals": told}},
        "test": {"accuracy": figure(score), "mcc": figure(score - 0.01)} if n > 2 else None,
        "seconds": 120.0 + n,
        "bundles": [f"{name}@{n}"],
    }


GRAPH, PART = "onnx/model.onnx", "slots/onnx-int8-part/model.onnx"


def compressed() -> dict[str, Any]:
    def row(name: str, latency: float, batch: float, loss: float) -> dict[str, Any]:
        engine, precision = name.split()[:2]
        heads = {
            "intent": {"metric": "accuracy", "loss": loss / 9},
            "embed": {"metric": "top-10 agreement", "loss": loss},
        }
        times = {"latency_ms": latency, "batch_ms": batch, "within": loss <= 0.05}
        path = {"onnx int8": "slots/onnx-int8/model.onnx", "onnx int8 in part": PART}
        about = {"name": name, "engine": engine, "precision": precision, "path": path.get(name, GRAPH)}
        return {**about, "heads": heads, **times}

    table = [
        row("onnx fp32", 3.1, 2.4, 0.0),
        row("onnx int8", 1.2, 1.22, 0.083),
        row("onnx int8 in part", 1.5, 1.4, 0.041),
        row("openvino fp32", 3.0, 1.9, 0.0),
        row("openvino bf16", 2.3, 0.96, 0.008),
        {
            "name": "openvino int8",
            "engine": "openvino",
            "precision": "int8",
            "why": 'int8 needs nncf; install the extra "compress"',
        },
    ]
    slots = {
        "interactive": {
            "engine": "onnx",
            "precision": "int8",
            "path": PART,
            "threads": 2,
        },
        "bulk": {"engine": "openvino", "precision": "bf16", "path": GRAPH, "threads": 2},
    }
    return {"slots": slots, "table": table}


def model_card(name: str) -> str:
    return f"""# {name}

A text encoder tuned from **all-MiniLM-L6-v2** (licence of the weights: Apache-2.0).

- `intent` (classify) gives one of 70 labels with a probability: card_lost, {SCRIPT}, {IMAGE}, …
- `embed` (embed) gives a vector of length 1

384 numbers a vector (mean pooling); texts are cut at 256 tokens. Fingerprint `4f1c2ab09d3e7788`.

## Training

Method full; epochs 6, rate 5e-05, batch 32, precision bf16, seed 0.

## Test figures

| metric | value | 95 % interval |
|---|---|---|
| accuracy | 0.9312 | 0.924 to 0.939 |
| macro_f1 | 0.9301 | 0.922 to 0.938 |

## Validation of `intent`

Most frequent confusions:

| truth | said | rows |
|---|---|---|
| card_lost | card\\|late | 7 |
| 密码忘了 | login_new | 4 |

## Limits

- It knows labels, languages and kinds of text of its training rows; nothing else was measured.

## Use

```bash
trillium predict {name} FILE
```
"""


async def serve(first: int) -> None:
    """Serve the three at the ports `first` and the two after it, or at free ones for 0; print the addresses."""
    listeners = []
    for n in range(3):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", first + n if first else 0))
        listener.listen()
        listeners.append(listener)
    print(*(f"http://127.0.0.1:{each.getsockname()[1]}" for each in listeners), flush=True)
    options = [uvicorn.Config(create(name), log_level="warning") for name in NAMES]
    running = zip(options, listeners, strict=True)
    await asyncio.gather(*(uvicorn.Server(option).serve(sockets=[each]) for option, each in running))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
