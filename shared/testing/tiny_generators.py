"""A Llama and a T5 of two layers and 32 numbers a word, made in a moment: real code, no weights to fetch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def tiny_llama(folder: Path, texts: Iterable[str], *, chat: bool = True, seed: int = 0) -> Path:
    """Write an untrained causal model into `folder` (made if needed) and return it.

    Its tokenizer is byte-level BPE with at most 400 pieces learnt from `texts`, so every text can be
    written; with `chat` it has a chat template with one special token a role and `<|end|>`. The weights
    follow from `seed`. It reads 256 tokens at most.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _byte_level(texts, ["<s>", "</s>", "<pad>", *(_ROLES if chat else [])])
    if chat:
        tokenizer.chat_template = _TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_t5(folder: Path, texts: Iterable[str], *, seed: int = 0) -> Path:
    """Write an untrained encoder-decoder into `folder` (made if needed) and return it.

    Its tokenizer is byte-level, as `tiny_llama`'s, and ends every text with `</s>`; dropout is 0, so that
    two runs can be compared. The weights follow from `seed`.
    """
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = _byte_level(texts, ["<pad>", "</s>", "<s>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _byte_level(texts: Iterable[str], special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106  # no password
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        clean_up_tokenization_spaces=False,
    )


TINY_REPLIES = (
    ("Where is my card?", "Your card is on its way and comes within five days."),
    ("How do I send money?", "Choose the account, write the sum and press send."),
    ("What is the rate today?", "The rate of today stands on the first page."),
    ("我的卡在哪里？", "您的卡正在路上，五天内到。"),
)


def tiny_replies() -> list[dict[str, Any]]:
    """Return 20 rows `{question, reply, context}`, every second with a source."""
    return [
        {
            "question": f"{question} {ending}",
            "reply": reply,
            "context": f"{reply} Ask {ending} if not." if n % 2 else "",
        }
        for question, reply in TINY_REPLIES
        for n, ending in enumerate(("please", "now", "today", "again", "sir"))
    ]
