"""The torch runtime of generators: writes replies with a tuned folder, on a GPU where there is one.

Nothing imports this module statically where models are served: it is loaded by name, so that serving
stays free of torch unless the settings ask for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import GenerationConfig

from shared.errors import BadInput, TooLarge
from shared.finetuning.generating import folder as folders
from shared.finetuning.generating.encoding import Encoding
from shared.finetuning.generating.writing import Chance, Watch
from shared.finetuning.hardware import Precision
from shared.models.generator_card import GeneratorCard
from shared.models.prompting import Message, messages


@dataclass(frozen=True)
class Usage:
    """Tokens read and written, a reply's end counted."""

    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True)
class Generation:
    """A reply without blanks around it. `finish_reason` is stop (it ended by itself) or length (cut)."""

    text: str
    usage: Usage
    finish_reason: Literal["stop", "length"]


class Generator:
    """A model that writes replies. One object serves several threads."""

    def __init__(self, model: Any, encoding: Encoding, card: GeneratorCard) -> None:
        self.card, self.encoding = card, encoding
        self.model = model.eval()
        # The base's own may sample or punish repetition; here the caller says what is wanted.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=card.end_ids,
            pad_token_id=self._pad,
            bos_token_id=encoding.tokenizer.bos_token_id,
            decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        )

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        home: Path | None = None,
        threads: int | None = None,
        precision: Precision = "fp32",
    ) -> "Generator":
        """Load and self-test a folder that `finetune_generator` wrote.

        `home` is where the base of an adapter is looked for; `threads` holds for the whole process, as
        torch has it. With bf16, set after the self-test, writing is half as fast again where the processor
        computes in it, and now and then another word is chosen. Raises NotFound, and Damaged when
        weights, tokenizer and card don't belong together.
        """
        if threads:
            torch.set_num_threads(threads)
        model, encoding, card = folders.read(path, home)
        made = cls(model.to("cuda" if torch.cuda.is_available() else "cpu"), encoding, card)
        folders.check(path, made.foretold)
        if precision == "bf16":
            made.model.bfloat16()
        return made

    def generate(
        self,
        prompt: str | Sequence[Message],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        seed: int = 0,
        stream: Callable[[str], None] | None = None,
    ) -> Generation:
        """Write on from `prompt`: turns, or a text as the model reads it.

        At temperature 0 the likeliest token is taken, else one is drawn, the same for the same seed. The
        reply ends before the first of `stop` or the card's stop strings. `stream` is handed the pieces
        as they come, on this thread; together they are the reply's text. What it raises ends the writing.
        Raises TooLarge when the prompt leaves no room for a reply.
        """
        if temperature < 0:
            raise BadInput(f"temperature is {temperature}; it must be 0 or more")
        ids = self._ids(prompt)
        most = self._room(len(ids), max_new_tokens)
        stops = [*self.card.stops, *stop]
        processors = [Chance(temperature, seed)] if temperature else []
        rows, watch = self._write([ids], most, stops, processors, stream)
        text, count, ended = watch.finish(rows[0])
        watch.flush(text)
        return Generation(text, Usage(len(ids), count), "stop" if ended else "length")

    def reply(self, question: str, passages: Sequence[str] = (), **options: Any) -> Generation:
        """Answer a question as the model was tuned to, from the passages where there are any.

        Options are those of `generate`.
        """
        return self.generate(messages(question, passages), **options)

    def replies(
        self,
        questions: Sequence[tuple[str, Sequence[str]]],
        *,
        batch: int = 8,
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """Return the likeliest reply to each (question, passages), in order; too long sources are cut.

        Rows are read in batches of like length, padded on the left.
        """
        prompts = [self.encoding.prompt(*one) for one in questions]
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
        most = min(max_new_tokens or self.card.max_reply_tokens, self.card.max_reply_tokens)
        said = [""] * len(prompts)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            rows, watch = self._write([prompts[n] for n in part], most, self.card.stops, [], None)
            for n, row in zip(part, rows, strict=True):
                said[n] = watch.finish(row)[0]
        return said

    @torch.inference_mode()
    def foretold(self, prompt: str) -> torch.Tensor:
        """Return the logits of the token behind a text as the model reads it, (vocabulary,) float32."""
        ids = torch.tensor([self._ids(prompt)], device=self.model.device)
        fed = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.card.kind == "seq2seq":
            start = self.model.generation_config.decoder_start_token_id
            fed["decoder_input_ids"] = torch.tensor([[start]], device=ids.device)
        return self.model(**fed).logits[0, -1].float().cpu()  # type: ignore[no-any-return]

    @property
    def _pad(self) -> int:
        known = self.encoding.tokenizer.pad_token_id
        return int(self.encoding.tokenizer.eos_token_id if known is None else known)

    def _ids(self, prompt: str | Sequence[Message]) -> list[int]:
        if isinstance(prompt, str):
            return list(self.encoding.tokenizer(prompt)["input_ids"])
        return self.encoding.ids(self.encoding.text(prompt))

    def _room(self, prompt: int, wanted: int | None) -> int:
        most = wanted or self.card.max_reply_tokens
        if most < 1:
            raise BadInput(f"max_new_tokens is {wanted}; it must be 1 or more")
        if self.card.kind == "seq2seq":
            return most
        positions = getattr(self.model.config, "max_position_embeddings", None) or self.card.max_tokens
        if prompt >= positions:
            raise TooLarge(
                f"the prompt has {prompt} tokens; this model reads {positions}, the reply included"
            )
        return min(most, positions - prompt)

    @torch.inference_mode()
    def _write(
        self,
        prompts: Sequence[Sequence[int]],
        most: int,
        stops: Sequence[str],
        processors: list[Any],
        stream: Callable[[str], None] | None,
    ) -> tuple[torch.Tensor, Watch]:
        longest = max(map(len, prompts))
        fills = [longest - len(ids) for ids in prompts]
        rows = [[self._pad] * fill + list(ids) for fill, ids in zip(fills, prompts, strict=True)]
        mask = [[0] * fill + [1] * (longest - fill) for fill in fills]
        begin = longest if self.card.kind == "causal" else 1  # the decoder's start token is there already
        watch = Watch(self.encoding.tokenizer, begin, self.card.end_ids, stops, stream)
        written = self.model.generate(
            input_ids=torch.tensor(rows, device=self.model.device),
            attention_mask=torch.tensor(mask, device=self.model.device),
            max_new_tokens=most,
            logits_processor=processors,
            stopping_criteria=[watch],
        )
        return written, watch
