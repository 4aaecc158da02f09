"""Fewer words: tokens that a corpus never uses leave the tokenizer and the table of embeddings.

A text whose tokens are all kept is cut as before: longest match (WordPiece) finds the same piece among fewer,
the best path (Unigram) is still there, and of BPE every merge that leads to a kept token is kept.
"""

import json
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from shared.errors import BadInput

_CONTINUED = "##"  # how WordPiece writes a piece inside a word


def used(tokenizer: Any, texts: Iterable[str]) -> set[int]:
    """Return the numbers of the tokens that the texts come to; `tokenizer` is a tokenizers.Tokenizer."""
    tokenizer.no_truncation()
    return {token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids}


def pruned(content: str, kept: Collection[int]) -> tuple[str, list[int]]:
    """Return a tokenizer.json with fewer tokens, and the old numbers of the new ones 0, 1, …, in order.

    Special tokens stay, and so does every single character or byte, so that no text comes to nothing that
    could be read before. Raises BadInput for a kind of model that is not known here.
    """
    tree = json.loads(content)
    model = tree["model"]
    kind = model.get("type")
    words = _words(model)
    special = {token["id"] for token in tree.get("added_tokens", ())} | _named(model, words)
    keep = {i for word, i in words.items() if i in kept or i in special or _single(word)}
    if kind == "BPE":
        keep |= _sources(model["merges"], words, keep)
    elif kind not in ("WordPiece", "Unigram"):
        raise BadInput(f"a {kind} tokenizer can't be made smaller; WordPiece, Unigram and BPE can")
    beyond = {token["id"] for token in tree.get("added_tokens", ())} - set(words.values())
    order = sorted(keep | beyond)
    new = {old: at for at, old in enumerate(order)}
    if kind == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in order if old < len(model["vocab"])]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {word: new[i] for word, i in words.items() if i in keep}
    if kind == "BPE":
        model["merges"] = [m for m in model["merges"] if words.get("".join(_pair(m))) in keep]
    for token in tree.get("added_tokens", ()):
        token["id"] = new[token["id"]]
    for token in _template(tree):
        token["ids"] = [new[i] for i in token["ids"]]
    _renumber(tree.get("post_processor"), new)
    return json.dumps(tree, ensure_ascii=False), order


def shorten(encoder: nn.Module, order: list[int]) -> None:
    """Keep these rows of the table of words, in this order, and tell the config."""
    table = encoder.get_input_embeddings()  # type: ignore[operator]
    config: Any = encoder.config
    padding = order.index(table.padding_idx) if table.padding_idx in order else None
    smaller = nn.Embedding(len(order), table.embedding_dim, padding_idx=padding)
    with torch.no_grad():
        smaller.weight.copy_(table.weight[torch.tensor(order)])
    encoder.set_input_embeddings(smaller)  # type: ignore[operator]
    config.vocab_size = len(order)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        old = getattr(config, name, None)
        if isinstance(old, int):
            setattr(config, name, order.index(old) if old in order else None)


def _words(model: dict[str, Any]) -> dict[str, int]:
    if model.get("type") == "Unigram":
        return {word: i for i, (word, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _named(model: dict[str, Any], words: dict[str, int]) -> set[int]:
    unknown = model.get("unk_token")
    found = {words[unknown]} if unknown in words else set()
    return found | ({model["unk_id"]} if model.get("unk_id") is not None else set())


def _single(word: str) -> bool:
    bare = word.removeprefix(_CONTINUED)
    return len(bare) <= 1 or (len(bare) == 6 and bare.startswith("<0x"))  # sentencepiece writes bytes so


def _pair(merge: Any) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else list(merge)


def _sources(merges: list[Any], words: dict[str, int], kept: set[int]) -> set[int]:
    """Return the tokens from which merges make the kept ones, down to single characters."""
    found = set(kept)
    for merge in reversed(merges):  # what is made of others comes after them
        parts = _pair(merge)
        if words.get("".join(parts)) in found:
            found |= {words[part] for part in parts}
    return found


def _template(tree: dict[str, Any]) -> list[dict[str, Any]]:
    post = tree.get("post_processor") or {}
    steps = post.get("processors", [post])
    return [token for step in steps for token in (step.get("special_tokens") or {}).values()]


def _renumber(post: dict[str, Any] | None, new: dict[int, int]) -> None:
    for step in (post or {}).get("processors", [post or {}]):
        for name in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [text, number]
            if isinstance(step.get(name), list):
                step[name][1] = new[step[name][1]]
