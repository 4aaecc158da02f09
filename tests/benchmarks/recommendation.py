"""nDCG@20 of the recommender's own flow on public data, beside plain methods over the same users.

    python tests/benchmarks/recommendation.py [--set NAME] [--method frozen|full] [--out FOLDER]

Full catalogue, users with a history only. Settings are chosen on the validation part; the test part
is judged once. Finished rows are kept in FOLDER/recommendation.jsonl and are not computed again.
"""

import argparse
import csv
import gzip
import json
import sys
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data" / "recommend"
TEST_FROM = datetime(2011, 11, 1, tzinfo=UTC)
VALID_FROM = datetime(2011, 10, 1, tzinfo=UTC)


def rows_of(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def write_rows(path, head, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return path


def online_retail(folder):
    """Purchases with a customer, quantity and price above 0 and a code that starts with five digits.

    A code's text is its most frequent description before the cut; one first seen later has its own.
    """
    texts, late, sold, bought = defaultdict(Counter), defaultdict(Counter), set(), []
    for row in rows_of(DATA / "online_retail" / "online_retail.csv.gz"):
        code = row["StockCode"].upper()
        if not code[:5].isdigit() or len(code) < 5:
            continue
        if row["Description"].strip():
            side = texts if row["InvoiceDate"] < "2011-11-01" else late
            side[code][row["Description"].strip()] += 1
        usable = row["CustomerID"] and not row["InvoiceNo"].startswith("C")
        if usable and int(row["Quantity"]) > 0 and float(row["UnitPrice"]) > 0:
            bought.append((row["CustomerID"], code, "buy", row["InvoiceDate"] + "Z"))
            sold.add(code)
    named = {code: (texts[code] or late[code]).most_common(1) for code in sold}
    items = [(code, named[code][0][0] if named[code] else code) for code in sorted(sold)]
    return (
        write_rows(folder / "items.csv", ["item_id", "title"], items),
        write_rows(folder / "events.csv", ["user_id", "item_id", "event", "ts"], bought),
    )


def goodbooks(folder):
    """Ratings in the order of the file; counts, averages and ids that tell the future are left out."""
    genres = {
        row["book_id"]: row["genres"] for row in rows_of(DATA / "goodbooks_5pct" / "book_genres.csv.gz")
    }
    books = [
        (
            row["book_id"],
            row["title"],
            f"{row['authors']}. {genres.get(row['book_id'], '').replace(',', ', ')}",
        )
        for row in rows_of(DATA / "goodbooks_5pct" / "books.csv.gz")
    ]
    rated = [
        (row["user_id"], row["book_id"], "comment", row["rating"])
        for row in rows_of(DATA / "goodbooks_5pct" / "ratings.csv.gz")
    ]
    return (
        write_rows(folder / "items.csv", ["item_id", "title", "description"], books),
        write_rows(folder / "events.csv", ["user_id", "item_id", "event", "value"], rated),
    )


# name -> (maker of the files, --like, fixed cuts, protocols: whether what was taken before is kept)
SETS = {
    "online_retail": (
        online_retail,
        None,
        (VALID_FROM, TEST_FROM),
        {"seen kept": True, "new to the user": False},
    ),
    "goodbooks": (goodbooks, "value>=4", None, {"rated left out": False}),
}


def rounded(values):
    return [round(value, 4) for value in values]


def measure_set(name, method, out):
    from pipelines.flow import workplace
    from pipelines.recommender import default_recipe
    from pipelines.recommending.cases import Cuts, cuts_by_share
    from pipelines.recommending.learning import Data, judge
    from pipelines.recommending.publishing import Inputs, catalogue_of, choose_encoder, store_items
    from pipelines.recommending.reading import read_events, read_items
    from services.recommender.events import Like
    from services.recommender.store import open_database, to_document
    from shared.evaluation.ranking import bootstrap_mean, paired_difference
    from shared.finetuning.recipe import Method, Recipe
    from shared.settings import load_settings
    from shared.storage.migrate import open_checked

    make, like, cuts, protocols = SETS[name]
    home = out / name
    items_path, events_path = make(home / "files")
    rule = Like.parse(like) if like else None
    recipe = Recipe.read(default_recipe()).model_copy(update={"method": Method(kind=method)})
    place = workplace(load_settings({"home": str(home)}, env={}), "recommender")
    started = time.monotonic()
    with open_checked(open_database(place.settings)) as db:
        items, _ = read_items(items_path, home)
        events = read_events(events_path, home, datetime.now(UTC))
        store_items(db, items_path, [to_document(item) for item in items])
        rows, _ = catalogue_of(db)
        data = Data(
            [row.id for row in rows], events.acts, Cuts(*cuts) if cuts else cuts_by_share(events.acts), rule
        )
        inputs = Inputs(items_path, events_path, rule, recipe)
        chosen = choose_encoder(place, db, rows, data, inputs, events, progress=True)
    for protocol, repeats in protocols.items():
        found = judge(data, chosen.ranking, chosen.candidate.vectors, repeats=repeats)
        plain = [n for n in found if not n.startswith(("product", "text"))]
        best = max(plain, key=lambda n: found[n].ndcg.mean())
        yield {
            "set": name,
            "method": method,
            "protocol": protocol,
            "items": len(rows),
            "users": len(found["product"].ndcg),
            "encoder": chosen.candidate.name,
            "validation": chosen.valid,
            "ranking": chosen.ranking.model_dump(),
            "seconds": round(time.monotonic() - started),
            "figures": {
                n: {
                    "ndcg_at_20": rounded(bootstrap_mean(m.ndcg)),
                    "recall_at_20": round(float(m.recall.mean()), 4),
                    "coverage": round(m.coverage, 3),
                }
                for n, m in found.items()
            },
            "product_minus_best_plain": [
                best,
                *rounded(paired_difference(found["product"].ndcg, found[best].ndcg)),
            ],
        }


def show(row):
    what = f"{row['users']} users, {row['items']} items, {row['encoder']} encoder"
    print(f"\n{row['set']}, {row['protocol']}: {what}")
    for name, figures in sorted(row["figures"].items(), key=lambda pair: -pair[1]["ndcg_at_20"][0]):
        mean, low, high = figures["ndcg_at_20"]
        rest = f"recall {figures['recall_at_20']:.3f}  coverage {figures['coverage']:.3f}"
        print(f"  {name:24} nDCG@20 {mean:.4f} [{low:.4f}, {high:.4f}]  {rest}")
    print("  product minus the best plain one:", *row["product_minus_best_plain"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=SETS, action="append")
    parser.add_argument("--method", choices=["frozen", "full"], default="full")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "benchmarks")
    given = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: the public data sets are not at {DATA}")
        return
    kept = given.out / "recommendation.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for name in given.set or SETS:
        rows = [row for row in done if (row["set"], row["method"]) == (name, given.method)]
        if len(rows) < len(SETS[name][3]):
            rows = list(measure_set(name, given.method, given.out))
            with kept.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        for row in rows:
            show(row)


if __name__ == "__main__":
    main()
