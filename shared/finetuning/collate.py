"""Examples become one padded batch: the texts of all of a row's heads go through the encoder together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from shared.errors import BadInput
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Fed, Feed
from shared.finetuning.following import drawn
from shared.models.heads import BY_TOKEN, HeadSpec
from shared.models.spans import first_tokens, tokens_of

TWINS = "twins"  # among a batch's lessons: rows and the other wordings of their texts
KEPT = "kept"  # among a batch's targets: how near the vectors stay to the base's
IGNORED = -100
MASKED_SHARE = 0.15


def masker(tokenizer: PreTrainedTokenizerBase, seed: int | None = None) -> DataCollatorForLanguageModeling:
    """Return what hides whole words, 15 % of them; with a seed the same ones at each new start.

    Raises ValueError for a tokenizer without a mask token.
    """
    return DataCollatorForLanguageModeling(
        tokenizer,
        whole_word_mask=True,
        mlm_probability=MASKED_SHARE,
        mask_replace_prob=1.0,
        random_replace_prob=0.0,
        seed=seed,
    )


def hidden(ids: Tensor, share: float, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return `ids` (rows, tokens) with some tokens behind the mask, none of a row's marks and padding.

    Each row has a share of its own, drawn between 0 and twice `share`, so that rows with all their words are
    seen too. A tokenizer without a mask token hides them behind its token of unknown words; raises BadInput
    for one without either.
    """
    mask = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    if mask is None:
        raise BadInput("train.hide needs a tokenizer with a mask or unknown token, and this base has none")
    shares = 2 * share * torch.rand(len(ids), 1)
    words = ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    return ids.masked_fill((torch.rand(ids.shape) < shares) & words, mask)


class Collator:
    """Turns examples into one padded batch and the targets of each head, as `HeadedModel` reads them.

    The rows' own texts come first, in order; where a passage is too long for one row its windows follow
    each other. `hide` is what an mlm head learns from, `hidden_share` that of the tokens which no head sees.
    """

    def __init__(
        self,
        specs: Sequence[HeadSpec],
        feed: Feed,
        hide: DataCollatorForLanguageModeling | None = None,
        hidden_share: float = 0.0,
    ) -> None:
        self._specs, self._hidden_share = specs, hidden_share
        self._feed = feed
        self._hide = hide
        self._windows = any(spec.kind == "span" for spec in specs)
        self._offsets = any(spec.kind in (*BY_TOKEN, "mlm") for spec in specs)

    def __call__(self, batch: Sequence[Example]) -> dict[str, Any]:
        """Return the encoder's inputs, `targets` and `labels`, a 1 for each row: the Trainer counts by it.

        Where rows have some there are `lessons`: by lesson and head `rows` and what is `taught`, and by
        `TWINS` the `rows` that have a twin and where the `twins` lie, behind the rows.
        """
        texts = [example.text for example in batch]
        paired = batch[0].pair is not None
        pairs = [str(example.pair) for example in batch] if paired else None
        targets: dict[str, dict[str, Tensor]] = {}
        chosen = {s.name: [i for i, e in enumerate(batch) if s.name in e.targets] for s in self._specs}
        for spec in self._specs:
            values = [batch[i].targets[spec.name] for i in chosen[spec.name]]
            if spec.kind == "embed" and values:
                targets[spec.name] = _pairs(chosen[spec.name], values, texts)
            if spec.kind == "similarity" and values:
                targets[spec.name] = _compared(chosen[spec.name], values, texts)
            if spec.kind == "mlm" and values:
                targets[spec.name] = {"rows": torch.tensor(_hidden_rows(spec.name, chosen, batch, texts))}
                if any(isinstance(value, tuple) for value in values):
                    texts, pairs, follows = drawn(texts, values)
                    known = [IGNORED if one is None else one for one in follows]
                    targets[spec.name]["follows"] = torch.tensor(known)
        lessons = _lessons(batch, texts)
        both: Any = "both" if pairs is not None and not paired else self._offsets
        fed = self._feed(texts, pairs, windows=self._windows, offsets=both)
        if self._hidden_share:
            ids, tokenizer = fed.tensors["input_ids"], self._feed.tokenizer
            fed.tensors["input_ids"] = hidden(ids, self._hidden_share, tokenizer)
        for spec in self._specs:
            rows = chosen[spec.name]
            if rows and spec.kind == "mlm":
                targets[spec.name]["labels"] = self._masked(fed, targets[spec.name]["rows"])
            elif rows and spec.kind not in ("embed", "similarity"):
                targets[spec.name] = _target(spec, fed, rows, [batch[i].targets[spec.name] for i in rows])
        kept = [i for i, example in enumerate(batch) if example.kept is not None]
        if kept:
            vectors = torch.from_numpy(np.stack([batch[i].kept for i in kept]))  # type: ignore[misc]
            targets[KEPT] = {"rows": torch.tensor(kept), "kept": vectors}
        ones = torch.ones(len(batch), dtype=torch.long)
        told = {"lessons": lessons} if lessons else {}
        return {**fed.tensors, "targets": targets, "labels": ones, **told}

    def _masked(self, fed: Fed, rows: Tensor) -> Tensor:
        if self._hide is None:
            raise ValueError("an mlm head needs a masker")
        width = fed.tensors["input_ids"].shape[1]
        offsets = np.asarray([list(fed.offsets[int(i)]) for i in rows]).reshape(len(rows), width, 2)
        hidden, labels = self._hide.torch_mask_tokens(
            fed.tensors["input_ids"][rows].clone(),
            special_tokens_mask=fed.marks[rows] if fed.marks is not None else None,
            offset_mapping=torch.from_numpy(offsets),
        )
        fed.tensors["input_ids"][rows] = hidden
        found: Tensor = labels
        return found


def _lessons(batch: Sequence[Example], texts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for lesson, name in dict.fromkeys(
        (one, name) for e in batch for one in e.lessons for name in e.lessons[one]
    ):
        rows = [i for i, e in enumerate(batch) if name in e.lessons.get(lesson, {})]
        taught = torch.from_numpy(np.stack([batch[i].lessons[lesson][name] for i in rows]))
        found.setdefault(lesson, {})[name] = {"rows": torch.tensor(rows), "taught": taught}
    twins = [i for i, e in enumerate(batch) if e.twin is not None]
    if twins:
        behind = torch.arange(len(texts), len(texts) + len(twins))
        texts += [str(batch[i].twin) for i in twins]
        found[TWINS] = {"rows": torch.tensor(twins), "twins": behind}
    return found


def _hidden_rows(
    name: str, chosen: dict[str, list[int]], batch: Sequence[Example], texts: list[str]
) -> list[int]:
    # A row that other heads read keeps its words: what is hidden is a copy behind the batch.
    rows = []
    for i in chosen[name]:
        alone = len(batch[i].targets) == 1
        rows.append(i if alone else len(texts))
        if not alone:
            texts.append(batch[i].text)
    return rows


def _target(spec: HeadSpec, fed: Fed, rows: list[int], values: list[Any]) -> dict[str, Tensor]:
    if spec.kind == "tag":
        return _tags(fed, rows, values)
    if spec.kind == "entity":
        return _entities(fed, rows, values)
    if spec.kind == "span":
        return _answers(fed, rows, values)
    kind = torch.long if spec.kind == "classify" else torch.float32
    return {"rows": torch.tensor(rows), "labels": torch.tensor(values, dtype=kind)}


def _tags(fed: Fed, rows: list[int], values: list[list[tuple[int, int, int]]]) -> dict[str, Tensor]:
    labels = torch.full((len(rows), fed.tensors["input_ids"].shape[1]), IGNORED)
    for place, (row, words) in enumerate(zip(rows, values, strict=True)):
        first = first_tokens(fed.offsets[row], [(start, end) for start, end, _ in words])
        for at, (_, _, label) in zip(first, words, strict=True):
            if at is not None:
                labels[place, at] = label
    return {"rows": torch.tensor(rows), "labels": labels}


def _entities(fed: Fed, rows: list[int], values: list[list[tuple[int, int, int]]]) -> dict[str, Tensor]:
    at, labels, shares, places = [], [], [], []
    for row, spans in zip(rows, values, strict=True):
        found = [(tokens_of(fed.offsets[row], start, end), label) for start, end, label in spans]
        seen = [(tokens, label) for tokens, label in found if tokens]
        for tokens, label in seen:
            at.append(row)
            labels.append(label)
            shares.append(1 / len(seen))
            places.append(tokens)
    mask = torch.zeros((len(at), fed.tensors["input_ids"].shape[1]))
    for place, tokens in enumerate(places):
        mask[place, tokens] = 1 / len(tokens)
    return {
        "rows": torch.tensor(at, dtype=torch.long),
        "labels": torch.tensor(labels, dtype=torch.long),
        "shares": torch.tensor(shares, dtype=torch.float32),
        "mask": mask,
    }


def _answers(fed: Fed, rows: list[int], values: list[tuple[int, int]]) -> dict[str, Tensor]:
    """A window that holds the whole answer learns it; any other learns "none", its first token."""
    answers, count = dict(zip(rows, values, strict=True)), fed.origin
    at, starts, ends = [], [], []
    for window, row in enumerate(count):
        if row not in answers:
            continue
        start, end = answers[row]
        tokens = tokens_of(fed.offsets[window], start, end) if end > start else []
        whole = (
            bool(tokens)
            and fed.offsets[window][tokens[0]][0] <= start
            and fed.offsets[window][tokens[-1]][1] >= end
        )
        at.append(window)
        starts.append(tokens[0] if whole else 0)
        ends.append(tokens[-1] if whole else 0)
    shares = [1 / count.count(count[window]) for window in at]
    return {
        "rows": torch.tensor(at),
        "starts": torch.tensor(starts),
        "ends": torch.tensor(ends),
        "shares": torch.tensor(shares, dtype=torch.float32),
    }


def _compared(rows: list[int], values: list[tuple[str, float]], texts: list[str]) -> dict[str, Tensor]:
    others = torch.arange(len(texts), len(texts) + len(rows))
    texts += [other for other, _ in values]
    grades = torch.tensor([grade for _, grade in values], dtype=torch.float32)
    return {"rows": torch.tensor(rows), "others": others, "labels": grades}


def _pairs(rows: list[int], values: list[tuple[str, str, str]], texts: list[str]) -> dict[str, Tensor]:
    # Anchors of one group (the same label, else the same positive) are no negatives of each other.
    groups: dict[str, int] = {}
    anchor_groups = [groups.setdefault(group, len(groups)) for _, _, group in values]
    candidate_groups = list(anchor_groups)
    candidates = []
    for positive, _, _ in values:
        candidates.append(len(texts))
        texts.append(positive)
    for _, negative, _ in values:
        if negative.strip():
            candidates.append(len(texts))
            texts.append(negative)
            candidate_groups.append(groups.setdefault(negative, len(groups)))
    return {
        "anchors": torch.tensor(rows),
        "candidates": torch.tensor(candidates),
        "anchor_groups": torch.tensor(anchor_groups),
        "candidate_groups": torch.tensor(candidate_groups),
    }
