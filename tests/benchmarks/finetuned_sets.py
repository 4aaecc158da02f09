"""The public data sets that `trillium finetune` is measured on, written as the files that it reads."""

import csv
import gzip
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDS = 5
FOREIGN = "oos"
PARTS = 10  # the share of one in so many

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One split: rows to learn from, to choose on where the set has such, and to be scored on.

    `subset` marks test rows that are reported once more, alone.
    """

    name: str
    train: list[Row]
    test: list[Row]
    valid: list[Row] = field(default_factory=list)
    subset: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Set:
    """A set: what it is for `finetune`, its columns, and its splits for a seed."""

    task: str
    parts: Callable[[int], Iterator[Part]]
    base: str = "bge-small-en-v1.5"
    columns: tuple[str, ...] = ("text", "label")
    options: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)


def normal(text: str) -> str:
    """Return the text as copies are known by: composed, lower case, blanks folded."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def draw(text: str, salt: str, parts: int) -> int:
    """Return the part of 0 to parts - 1 that a text, and every copy of it, falls into."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{normal(text)}".encode()).digest()[:8]) % parts


def _csv(path: Path, text: str, label: str) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{"text": row[text].strip(), "label": row[label]} for row in csv.DictReader(file)]


def _banking(name: str) -> list[Row]:
    return _csv(DATA / "support" / "banking77" / name, "text", "category")


def banking77(seed: int) -> Iterator[Part]:
    """The official files."""
    yield Part("official test", _banking("train.csv"), _banking("test.csv"))


def _few(shots: int) -> Callable[[int], Iterator[Part]]:
    def parts(seed: int) -> Iterator[Part]:
        folder = DATA / "support" / "banking77" / "fewshot" / f"train_{shots}"
        texts, labels = ((folder / name).read_text("utf-8").splitlines() for name in ("seq.in", "label"))
        train = [{"text": t.strip(), "label": label} for t, label in zip(texts, labels, strict=True)]
        yield Part("official test", train, _banking("test.csv"))

    return parts


def heldout27(seed: int) -> Iterator[Part]:
    """50 intents are known; the test rows of the other 27 are foreign, no training row is."""
    unknown = json.loads((DATA / "support" / "banking77" / "heldout27_intents.json").read_text("utf-8"))
    names = set(unknown["intents"])
    train = [row for row in _banking("train.csv") if row["label"] not in names]
    test = [
        {**row, "label": FOREIGN if row["label"] in names else row["label"]} for row in _banking("test.csv")
    ]
    yield Part("official test", train, test)


def clinc150(seed: int) -> Iterator[Part]:
    """The full file; foreign rows stand beside the others on every side."""
    told = json.loads((DATA / "support" / "clinc150" / "data_full.json").read_text("utf-8"))

    def side(name: str) -> list[Row]:
        return [{"text": t.strip(), "label": label} for t, label in (*told[name], *told[f"oos_{name}"])]

    yield Part("official test", side("train"), side("test"), side("val"))


def _phrasebank(agreement: str) -> Callable[[int], Iterator[Part]]:
    def parts(seed: int) -> Iterator[Part]:
        path = DATA / "sentiment" / "financial_phrasebank" / f"Sentences_{agreement}.txt"
        lines = [line for line in path.read_text("latin-1").splitlines() if line.strip()]
        rows = [dict(zip(("text", "label"), line.rsplit("@", 1), strict=True)) for line in lines]
        folds = [draw(row["text"], f"fold-{seed}", FOLDS) for row in rows]
        for fold in range(FOLDS):
            train = [row for row, f in zip(rows, folds, strict=True) if f != fold]
            test = [row for row, f in zip(rows, folds, strict=True) if f == fold]
            yield Part(f"fold {fold + 1}", train, test)

    return parts


def twitter_topic(seed: int) -> Iterator[Part]:
    """The files as they are; the subset are test rows whose text, links aside, no training row has."""
    folder = DATA / "sentiment" / "twitter_financial_topic"
    train, test = (_csv(folder / f"{name}_data.csv", "text", "label") for name in ("train", "valid"))
    seen = {_unlinked(row["text"]) for row in train}
    yield Part("valid file", train, test, subset=[_unlinked(row["text"]) not in seen for row in test])


def _unlinked(text: str) -> str:
    return normal(re.sub(r"https?://\S+", " ", text))


_KINDS = {"PERSON": "person", "ORGANIZATION": "organisation", "GPE": "place"}
_WORD = re.compile(r"\w+|[^\w\s]")


def names(seed: int) -> Iterator[Part]:
    """Persons, organisations and places of the synthetic sentences; a template is on one side only."""
    path = DATA / "support" / "presidio_synth" / "data" / "synth_dataset_v2.json"
    rows = json.loads(path.read_text("utf-8"))
    sides: dict[bool, list[Row]] = {True: [], False: []}
    for row in rows:
        held = draw(str(row["template_id"]), f"template-{seed}", 4) == 0
        sides[held].append(_tagged(row["full_text"], row["spans"]))
    yield Part("templates held out", sides[False], sides[True])


def _tagged(text: str, spans: Sequence[Row]) -> Row:
    found = [
        (span["start_position"], span["end_position"], _KINDS[span["entity_type"]])
        for span in spans
        if span["entity_type"] in _KINDS
    ]
    words = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    tags = ["O"] * len(words)
    for start, end, kind in found:
        inside = [i for i, (a, b) in enumerate(words) if a >= start and b <= end]
        for place, i in enumerate(inside):
            tags[i] = f"{'I' if place else 'B'}-{kind}"
    return {"tokens": [text[a:b] for a, b in words], "tags": tags}


def _chinese(folder: str, text: str, train: Sequence[str], test: str) -> Callable[[int], Iterator[Part]]:
    def parts(seed: int) -> Iterator[Part]:
        rows = [row for name in train for row in _csv(DATA / "zh" / folder / name, text, "label")]
        yield Part("test file", rows, _csv(DATA / "zh" / folder / test, text, "label"))

    return parts


def bustm(seed: int) -> Iterator[Part]:
    """Pairs of short questions; 1 where they mean the same."""

    def read(name: str) -> list[Row]:
        with (DATA / "zh" / "bustm" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [{"query": r["q1"], "text": r["q2"], "label": float(r["label"])} for r in rows]

    train = [row for name in ("train_few_all.csv", "dev_few_all.csv") for row in read(name)]
    yield Part("test file", train, read("test_public.csv"))


def chinese_news(seed: int) -> Iterator[Part]:
    """Company headlines, split by date as the file says."""
    with (DATA / "zh" / "fin_news_dated" / "news.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sides: dict[str, list[Row]] = {}
    for row in rows:
        sides.setdefault(row["split"], []).append({"text": row["title"], "label": row["label"]})
    train, valid, test = (sides[name] for name in ("train", "dev", "test"))
    yield Part("later dates", train, test, valid)


def reuters_topics(seed: int) -> Iterator[Part]:
    """The ModApte split by time: items with a topic, of the 90 topics that stand on both sides."""
    path = DATA / "sentiment" / "reuters21578" / "derived_dated_stream.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["topics_flag"] == "YES" and row["topics"]]
    sides = {name: [row for row in rows if row["lewissplit"] == name] for name in ("TRAIN", "TEST")}
    topics = {name: {t for row in own for t in row["topics"].split("|")} for name, own in sides.items()}
    known = topics["TRAIN"] & topics["TEST"]

    def written_out(name: str) -> list[Row]:
        told = [(f"{row['title']}\n{row['body']}".strip(), row["topics"].split("|")) for row in sides[name]]
        return [
            {"text": text, "label": sorted(known.intersection(labels))}
            for text, labels in told
            if text and known.intersection(labels)
        ]

    yield Part("ModApte", written_out("TRAIN"), written_out("TEST"))


def faq(seed: int) -> Iterator[Part]:
    """People's own wordings of a question and the first answer to it; half of the threads are held out."""
    path = DATA / "support" / "stackfaq" / "data" / "StackFAQ" / "stackExchange-FAQ.json"
    threads = json.loads(path.read_text("utf-8"))["root"]["qapair"]
    sides: dict[bool, list[Row]] = {True: [], False: []}
    for thread in threads:
        answer = thread["answer"] if isinstance(thread["answer"], str) else thread["answer"][0]
        held = draw(thread["question"], f"thread-{seed}", 2) == 0
        for words in dict.fromkeys((word or "").strip("* ") for word in thread["rephr"]):
            if words:
                sides[held].append({"anchor": words, "positive": answer})
    yield Part("threads held out", sides[False], sides[True])


_FEW = ("train_few_all.csv", "dev_few_all.csv")
_ZH = "bge-small-zh-v1.5"
SETS: dict[str, Set] = {
    "banking77": Set("classify", banking77, seeds=(0,)),
    "banking77-10": Set("classify", _few(10)),
    "banking77-5": Set("classify", _few(5)),
    "banking77-heldout27": Set("classify", heldout27, options=("--out-of-scope", FOREIGN), seeds=(0,)),
    "clinc150": Set("classify", clinc150, options=("--out-of-scope", FOREIGN), seeds=(0,)),
    "phrasebank": Set("classify", _phrasebank("50Agree"), seeds=(0,)),
    "phrasebank-all-agree": Set("classify", _phrasebank("AllAgree"), seeds=(0,)),
    "twitter-topic": Set("classify", twitter_topic, seeds=(0,)),
    "names": Set("tag", names, columns=("tokens", "tags")),
    "reuters-topics": Set("multilabel", reuters_topics, seeds=(0,)),
    "faq": Set("embed", faq, columns=("anchor", "positive")),
    "zh-reviews": Set("classify", _chinese("eprstmt", "text", _FEW, "test_public.csv"), base=_ZH),
    "zh-topics": Set("classify", _chinese("tnews", "title", _FEW, "test_public.csv"), base=_ZH),
    "zh-posts": Set("classify", _chinese("finfe", "text", ("train.csv",), "eval.csv"), base=_ZH, seeds=(0,)),
    "zh-news": Set("classify", chinese_news, base=_ZH, seeds=(0,)),
    "zh-pairs": Set("score", bustm, base=_ZH, columns=("query", "text", "label")),
}


def written(rows: Sequence[Row], path: Path) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path
