"""What a linear head tells of words behind the layers of a frozen base: entity F1 on new sentences.

    python tests/benchmarks/word_depths.py [--base bge-small-en-v1.5]

The rows are those from which `finetuned.py --set names --seed 0` learns, a quarter held out by family,
so that its test templates take no part.
"""

import argparse

from finetuned_sets import names

from pipelines.tuning.sides import hold_out
from pipelines.tuning.tasks import TASKS
from shared.finetuning import bases, depth, token_probe
from shared.finetuning.backbone import load_encoder
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.finetuning.validate import validate
from shared.settings import load_settings


def main() -> None:
    """Print a line a depth, from the top down."""
    parser = argparse.ArgumentParser(description="Entity F1 of a linear head behind the layers of a base.")
    parser.add_argument("--base", default="bge-small-en-v1.5")
    home = load_settings().home
    base = bases.resolve(parser.parse_args().base, home=home, fetch=True)
    (part,) = names(0)
    data = {"rows": Rows(*hold_out(TASKS["tag"], part.train, 0.25))}
    print(
        f"{base.name}: {len(data['rows'].train)} rows learnt, {len(data['rows'].valid)} held out", flush=True
    )
    for layers in range(depth.layers(load_encoder(base.path)), 0, -1):
        tree = {"heads": {"name": {"kind": "tag", "data": "rows"}}, "method": {"depth": layers}}
        recipe = Recipe.parse({"base": base.name, **tree})
        specs = head_specs(recipe, data)
        model, tokenizer, longest = load(base, recipe, specs)
        feed = Feed(tokenizer, longest)
        token_probe.fit(model, feed, examples(recipe, specs, data, "train"), seed=0)
        told = validate(model, feed, examples(recipe, specs, data, "valid"), "fp32")
        print(f"behind {layers:>2} layers: entity F1 {told['name']:.3f}", flush=True)


if __name__ == "__main__":
    main()
