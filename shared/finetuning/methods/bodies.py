"""Bodies at rest with few trained weights beside them: LoRA, AdaLoRA, prefix, prompt, bottleneck adapters."""

import math
import warnings
from typing import Any

from torch import nn

from shared.errors import BadInput
from shared.finetuning.methods.bottleneck import add_bottlenecks
from shared.finetuning.options import PROMPTED, Method

ROOM = 10  # steps that AdaLoRA needs to share out its ranks


def dress(encoder: nn.Module, method: Method, *, steps: int) -> nn.Module:
    """Return the encoder with the method's weights added; they alone are trainable.

    The encoder itself is changed. At the start LoRA, AdaLoRA and bottlenecks give what it gave without
    them. `steps` is how many the training will take; raises BadInput when AdaLoRA has too few, or peft
    does not know where a method goes in this architecture.
    """
    if method.kind == "adapter":
        add_bottlenecks(encoder, method.width)
        return encoder
    import peft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft reads a name that transformers has replaced
            dressed: nn.Module = peft.get_peft_model(encoder, _config(method, steps))
    except ValueError as error:
        raise BadInput(f"method {method.kind} does not fit this base: {error}") from error
    if method.kind in PROMPTED:
        dressed.register_forward_hook(_cut, with_kwargs=True)
        # peft names the word embeddings a second time, and a file of weights has each tensor once.
        vars(dressed)["word_embeddings"] = dressed._modules.pop("word_embeddings", None)
    return dressed


def _config(method: Method, steps: int) -> Any:
    import peft

    common: dict[str, Any] = {"task_type": "FEATURE_EXTRACTION"}
    if method.kind == "prefix":
        return peft.PrefixTuningConfig(**common, num_virtual_tokens=method.tokens)
    if method.kind == "prompt":
        return peft.PromptTuningConfig(**common, num_virtual_tokens=method.tokens)
    common |= {
        "lora_alpha": method.alpha,
        "lora_dropout": method.dropout,
        "target_modules": "all-linear" if method.targets == "all" else None,
    }
    if method.kind == "lora":
        return peft.LoraConfig(**common, r=method.rank)
    if steps < ROOM:
        raise BadInput(
            f"method adalora shares out its ranks over at least {ROOM} steps and this training has {steps}; "
            "give more rows or epochs, a smaller batch, or use lora"
        )
    return peft.AdaLoraConfig(
        **common,
        init_r=math.ceil(1.5 * method.rank),
        target_r=method.rank,
        tinit=steps // 10,
        tfinal=steps // 3,
        deltaT=max(1, steps // 100),
        total_step=steps,
    )


def _cut(module: nn.Module, inputs: Any, named: dict[str, Any], output: Any) -> Any:
    # The rows of the trained vectors are no words: nothing may pool or tag them.
    output.last_hidden_state = output.last_hidden_state[:, -named["input_ids"].shape[1] :]
    return output


def length(encoder: nn.Module, method: Method, tokens: int) -> int:
    """Return at how many tokens texts are cut: vectors before the text take positions of their own."""
    if method.kind not in PROMPTED:
        return tokens
    config: Any = encoder.config
    places = int(getattr(config, "max_position_embeddings", 0) or tokens + method.tokens)
    if "roberta" in config.model_type:
        places -= 2  # its positions begin behind the padding's
    left = min(tokens, places - method.tokens)
    if left < 8:
        raise BadInput(
            f"method.tokens {method.tokens} leave {left} of {places} positions to the text; give fewer"
        )
    return left
