"""Labels read from a hidden word: each text stands in a sentence with a gap, and words fill it.

With few rows a base that was trained to find hidden words knows something of labels that are words (Schick
and Schütze 2021, Exploiting Cloze Questions for Few-Shot Text Classification; Gao et al. 2021, Making
Pre-trained Language Models Better Few-shot Learners). The sentence becomes the tokenizer's own frame of
marks, and the vector of a text is what the head of hidden words makes of the gap; so a label's row begins as
its words' row in the table of words, and all else is as for any other model.
"""

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from shared.errors import BadInput
from shared.finetuning import word_head
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.bases import Base
from shared.finetuning.label_names import words as words_of
from shared.finetuning.options import MASK, TEXT, Cloze
from shared.models.heads import HeadSpec


@dataclass(frozen=True)
class Frame:
    """The marks and words that stand around every text, as tokens, and the gap's place among them."""

    before: list[int]
    after: list[int]
    at: int


def frame(tokenizer: PreTrainedTokenizerBase, template: str) -> Frame:
    """Return the template's tokens with the tokenizer's own marks; raises BadInput for a tokenizer without a
    token for hidden words."""
    if tokenizer.mask_token_id is None:
        raise BadInput("this base's tokenizer has no token for a hidden word, which cloze needs")
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    marked = tokenizer("a")["input_ids"]
    begin = next(i for i in range(len(marked)) if marked[i : i + len(alone)] == alone)
    left, right = (_tokens(tokenizer, part) for part in template.split(TEXT))
    before, after = [*marked[:begin], *left], [*right, *marked[begin + len(alone) :]]
    gap = tokenizer.mask_token_id
    return Frame(before, after, before.index(gap) if gap in before else after.index(gap) - len(after))


def _tokens(tokenizer: PreTrainedTokenizerBase, literal: str) -> list[int]:
    found: list[int] = []
    for place, part in enumerate(literal.split(MASK)):
        found += [int(tokenizer.mask_token_id)] if place else []
        # Tokenizers that write blanks down would make a token of one that ends a part.
        found += tokenizer(part.rstrip(), add_special_tokens=False)["input_ids"] if part.strip() else []
    return found


def put(tokenizer: PreTrainedTokenizerBase, around: Frame, max_tokens: int) -> None:
    """Make the tokenizer frame every text so, in training and in the file that serving reads.

    Texts are cut to fit. Raises BadInput where the frame takes more than half of `max_tokens`.
    """
    size = len(around.before) + len(around.after)
    if size > max_tokens // 2:
        raise BadInput(
            f"cloze.template takes {size} of {max_tokens} tokens; a shorter one leaves room for texts"
        )
    parts = {"before": around.before, "after": around.after}
    special = [
        {"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)}
        for name, ids in parts.items()
    ]
    backend = tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(
        single="before:0 $A:0 after:0", special_tokens=[one for one in special if one["ids"]]
    )


def begin(model: HeadedModel, base: Base, cloze: Cloze, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Set a model's gap to the base's head of hidden words, and each label's row to the mean of its words'
    rows in the table of words; returns the classify heads that begin so.

    Raises BadInput for a base without such a head, for words of labels that are not there, and for labels
    without a word that the tokenizer knows.
    """
    weights = word_head.stored(base.path)
    if weights is None:
        raise BadInput(
            f"base {base.name} has no head of hidden words, which cloze reads; give a masked language model "
            f"({word_head.FAMILIES}), or first train one on your texts with --task mlm"
        )
    table: Tensor = model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    if model.gap is None or table.shape[1] != model.width:
        raise BadInput(f"base {base.name} has words of another width than its own, which cloze can't read")
    word_head.remember(model.gap, weights)
    bias = weights.get("bias", torch.zeros(len(table)))
    begun = [spec for spec in model.specs.values() if spec.kind == "classify"]
    for spec in begun:
        _fill(model.heads[spec.name], spec, cloze, table * model.gap.length, bias, tokenizer)
    return [spec.name for spec in begun]


def _fill(
    head: Any, spec: HeadSpec, cloze: Cloze, rows: Tensor, bias: Tensor, tokenizer: PreTrainedTokenizerBase
) -> None:
    unknown = sorted(set(cloze.words) - set(spec.labels))
    if unknown:
        raise BadInput(
            f"cloze.words names {', '.join(unknown)}, and head {spec.name} has no such label; "
            f"its labels: {', '.join(spec.labels)}"
        )
    for place, label in enumerate(spec.labels):
        ids = [_ids(tokenizer, word) for word in cloze.words_of(label) or [words_of(label)]]
        if not all(ids):
            raise BadInput(f"cloze.words: label {label!r} has no word that the tokenizer knows; give one")
        with torch.no_grad():
            head.weight[place] = torch.stack([rows[one].mean(0) for one in ids]).mean(0)
            head.bias[place] = torch.stack([bias[one].mean() for one in ids]).mean()


def _ids(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int]:
    # As it stands in a sentence: behind a blank, which some tokenizers write down.
    ids: list[int] = tokenizer(f" {word.strip()}", add_special_tokens=False)["input_ids"]
    return [one for one in ids if one != tokenizer.unk_token_id]
