"""A BERT of few layers and 32 numbers a word, made in a moment: real loading code, no weights to fetch."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORD = re.compile(r"\w+|[^\w\s]")


def tiny_bert(
    folder: Path, texts: Iterable[str], *, pooling: str = "mean", seed: int = 0, layers: int = 2
) -> Path:
    """Write a Hugging Face folder with an untrained BERT into `folder` (made if needed) and return it.

    It has `layers` layers. Its vocabulary is the lower-case words and single characters of `texts`, in order
    of first sight; the weights follow from `seed`. Dropout is 0, so that two runs can be compared. Texts are
    cut at 64 tokens.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower()))
    vocabulary = {word: i for i, word in enumerate((*_SPECIAL, *words))}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config, add_pooling_layer=False)
        # BERT's own 0.02 leaves two untrained texts nearly alike at this width.
        torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=0.5)
    model.save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(f'{{"pooling_mode": "{pooling}"}}', "utf-8")
    return folder


TINY_TEXTS = {
    "card": ("my card is lost", "where is my card", "the card did not come", "card not here"),
    "money": ("send money home", "the money is gone", "money did not arrive", "where is the money"),
    "rate": ("what is the rate", "the rate is bad", "which rate is used", "rate of today"),
}


def tiny_rows() -> list[dict[str, Any]]:
    """Return 60 rows `{text, label, tags}` over three labels that a few words tell apart."""
    return [
        {"text": f"{text} {ending}", "label": label, "tags": [label, "late"] if "not" in text else [label]}
        for label, texts in TINY_TEXTS.items()
        for text in texts
        for ending in ("please", "now", "today", "again", "sir")
    ]


TINY_SECOND = {  # words of `TINY_TEXTS` come again and stand for something else
    "app": (
        "my card app is shut",
        "where is the money app",
        "the rate app hangs",
        "the card app did not come",
    ),
    "pin": ("my card pin is gone", "what is the rate pin", "the money pin is bad", "which card pin is used"),
}


def tiny_second_rows() -> list[dict[str, Any]]:
    """Return 40 rows `{text, label}` of two other labels: a task that may follow that of `tiny_rows`."""
    return [
        {"text": f"{text} {ending}", "label": label}
        for label, texts in TINY_SECOND.items()
        for text in texts
        for ending in ("please", "now", "today", "again", "sir")
    ]
