"""Which methods and options of a recipe can't go together."""

from collections.abc import Collection
from typing import Any

from shared.finetuning.options import PROMPTED, Method, Train
from shared.models.heads import PAIRED


def refuse_pairs(method: Method, train: Train, heads: Collection[str]) -> None:
    """Raise ValueError for a method and options that can't work together on heads of these kinds."""
    used = _used(train)
    if method.depth == "auto" and not {"tag", "entity"} & set(heads):
        raise ValueError(
            f'method.depth "auto" compares layers for tag and entity heads, not for {", ".join(heads)}; '
            "give a number"
        )
    if method.kind == "frozen" and used:
        raise ValueError(
            f"method frozen trains no weight of the body: drop train.{used[0]}, or use full or lora"
        )
    if method.kind == "frozen" and train.rate == "auto":
        raise ValueError('method frozen has no rate to find: drop train.rate "auto", or use full or lora')
    for name in ("layer_decay", "unfreeze"):
        if name in used and method.kind != "full":
            raise ValueError(f"train.{name} needs method full; {method.kind} leaves the layers as they are")
    if method.kind in PROMPTED:
        pairs = sorted(set(heads) & set(PAIRED))
        if pairs:
            raise ValueError(
                f"method {method.kind} can't tell two texts apart, which {pairs[0]} needs; use lora or full"
            )
        if method.kind == "prefix" and train.checkpointing:
            raise ValueError(
                "method prefix hands keys to every layer, which train.checkpointing drops; use one"
            )
    if train.mixup and "classify" not in heads:
        raise ValueError("train.mixup mixes the labels of classify heads, and there is none; drop it")
    if train.hide and "mlm" in heads:
        raise ValueError(
            "train.hide hides words from heads that need them, an mlm head hides its own; drop it"
        )
    if train.rdrop and not {"classify", "multilabel"} & set(heads):
        raise ValueError("train.rdrop compares classify and multilabel heads, and there is none; drop it")
    if train.blends and (method.kind != "full" or train.start != "frozen" or train.fsdp):
        raise ValueError(
            'train.blend mixes tuned and start weights: use method full, start "frozen" and no fsdp'
        )
    if train.pairs and ([kind for kind in heads if kind != "embed"] != ["classify"]):
        raise ValueError(
            "train.pairs pairs the rows of one classify head; give a recipe with that head alone"
        )
    if train.pairs and train.minutes:
        raise ValueError("train.pairs is one pass over the pairs, which train.minutes can't bound; use steps")
    idle = train.rdrop or train.mixup or train.unfreeze or train.contrast or train.blends
    if train.pairs and (idle or train.schedule == "plateau"):
        raise ValueError(
            "train.pairs learns from pairs in one pass: drop rdrop, mixup, unfreeze, contrast, blend, plateau"
        )
    if train.refit and (train.schedule == "plateau" or train.fsdp):
        raise ValueError("train.refit has no validation rows: use another schedule than plateau, and no fsdp")
    if train.fsdp and (method.kind != "full" or train.average):
        raise ValueError("train.fsdp spreads whole models: use method full, without train.average")


def _used(train: Train) -> list[str]:
    names = (
        "adversarial",
        "average",
        "layer_decay",
        "unfreeze",
        "rdrop",
        "mixup",
        "noise",
        "hide",
        "mix",
        "weighting",
        "checkpointing",
        "fsdp",
        "pairs",
        "start_rows",
    )
    defaults: dict[str, Any] = {name: Train.model_fields[name].default for name in names}
    return [name for name in names if getattr(train, name) != defaults[name]]
