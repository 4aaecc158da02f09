"""From a recipe to its techniques, in the order in which they change the model."""

from collections.abc import Sequence

from torch import nn

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.adversarial import Attack
from shared.finetuning.methods.average import Averaged
from shared.finetuning.methods.ewc import Consolidated
from shared.finetuning.methods.lean import AdaLora, Lean
from shared.finetuning.methods.regular import Mixup, RDrop
from shared.finetuning.methods.taught import Consistent, Taught
from shared.finetuning.methods.technique import Technique
from shared.finetuning.methods.uncertainty import Uncertainty
from shared.finetuning.methods.unfreeze import Unfreeze
from shared.finetuning.preparing import PREVIOUS, TEACHERS
from shared.finetuning.recipe import Recipe
from shared.finetuning.unlabelled import PSEUDO


def techniques(
    recipe: Recipe, *, steps: int, earlier: Sequence[Example] = (), feed: Feed | None = None
) -> list[Technique]:
    """Return what the recipe asks for; `steps` is how many the whole training takes, `earlier` are rows that
    were learnt before and `feed` reads them.

    What replaces the body's parts comes first, the average last, when it is known what is trained.
    """
    options = recipe.train
    found: list[Technique] = []
    if options.dropout is not None:
        found.append(Dropout(options.dropout))
    if options.checkpointing:
        found.append(Checkpointing())
    if recipe.method.kind not in ("full", "frozen"):
        found.append((AdaLora if recipe.method.kind == "adalora" else Lean)(steps))
    if options.adversarial:
        found.append(Attack(options.adversarial))
    if options.rdrop:
        found.append(RDrop(options.rdrop))
    if options.mixup:
        found.append(Mixup(options.mixup))
    if options.weighting == "uncertainty":
        found.append(Uncertainty())
    found += _lessons(recipe)
    if recipe.continual and recipe.continual.ewc and feed:
        found.append(Consolidated(recipe.continual.ewc, recipe.continual.fisher_rows, earlier, feed))
    if options.unfreeze:
        found.append(Unfreeze(options.unfreeze))
    if options.average:
        found.append(Averaged(options.average))
    return found


def _lessons(recipe: Recipe) -> list[Technique]:
    found: list[Technique] = []
    if recipe.distil:
        found.append(Taught(TEACHERS, recipe.distil.weight, recipe.distil.temperature))
    if recipe.continual and recipe.continual.distil:
        found.append(Taught(PREVIOUS, recipe.continual.distil, recipe.continual.temperature))
    if recipe.unlabelled and "pseudo" in recipe.unlabelled.kinds:
        found.append(Taught(PSEUDO, recipe.unlabelled.weight))
    if recipe.unlabelled and "consistency" in recipe.unlabelled.kinds:
        own = recipe.unlabelled
        found.append(Consistent(own.weight, own.confidence, own.sharpen))
    return found


class Dropout(Technique):
    """Another dropout than the base's own, in all its layers."""

    def __init__(self, share: float) -> None:
        self._share = share

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Set it; some architectures hold that of their attention as a number."""
        for module in model.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = self._share
            if isinstance(getattr(module, "attention_dropout", None), float):
                module.attention_dropout = self._share  # type: ignore[assignment]


class Checkpointing(Technique):
    """Activations are computed again on the way back: less memory, a third more time."""

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Switch it on in the encoder."""
        model.encoder.activation_checkpointing_enable()  # type: ignore[operator]

    def finish(self, model: HeadedModel) -> None:
        """Switch it off, for the export."""
        model.encoder.activation_checkpointing_disable()  # type: ignore[operator]
