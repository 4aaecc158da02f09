"""Questions and replies as token ids of one tokenizer, cut so that question and end survive."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from shared.models.generator_card import Kind
from shared.models.prompting import STOPS, Message, messages, plain

_MARK = "\u2042reply\u2042"  # no template writes it by itself


@dataclass(frozen=True)
class Encoding:
    """A tokenizer and the two lengths that it keeps to.

    `max_tokens` bounds prompt and reply together for causal models, the prompt alone for seq2seq.
    """

    tokenizer: PreTrainedTokenizerBase
    kind: Kind
    max_tokens: int
    max_reply_tokens: int

    @property
    def chat(self) -> bool:
        """Whether prompts are written by the tokenizer's chat template."""
        return self.kind == "causal" and bool(self.tokenizer.chat_template)

    @property
    def prompt_budget(self) -> int:
        """The most tokens that a prompt may have."""
        return self.max_tokens - (self.max_reply_tokens if self.kind == "causal" else 0)

    def text(self, turns: Sequence[Message]) -> str:
        """Return the prompt as the model reads it."""
        if not self.chat:
            return plain(turns)
        written = self.tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)
        return str(written)

    def ids(self, prompt: str) -> list[int]:
        """Return the ids of a prompt; a chat template has written its special tokens itself."""
        return list(self.tokenizer(prompt, add_special_tokens=not self.chat)["input_ids"])

    def prompt(self, question: str, passages: Sequence[str] = ()) -> list[int]:
        """Return the ids that ask `question`, at most `prompt_budget` of them.

        Where they are more, all passages lose the same share of their ends; only a question that is too
        long by itself loses its own.
        """
        ids = self.ids(self.text(messages(question, passages)))
        share = 1.0
        while len(ids) > self.prompt_budget:
            share *= 0.9 * self.prompt_budget / len(ids)
            if any(passage[: int(len(passage) * share)].strip() for passage in passages):
                kept = [passage[: int(len(passage) * share)] for passage in passages]
                ids = self.ids(self.text(messages(question, kept)))
            elif passages:
                passages, share = (), 1.0
                ids = self.ids(self.text(messages(question)))
            elif int(len(question) * share):
                ids = self.ids(self.text(messages(question[: int(len(question) * share)])))
            else:
                return ids[-self.prompt_budget :]
        return ids

    def reply(self, text: str) -> list[int]:
        """Return the ids of a reply with its end, or its first `max_reply_tokens` without one."""
        spaced = text.strip() if self.chat or self.kind == "seq2seq" else f" {text.strip()}"
        ids = list(self.tokenizer(spaced, add_special_tokens=False)["input_ids"])
        return [*ids, *self.end][: self.max_reply_tokens]

    @cached_property
    def end(self) -> list[int]:
        """The ids behind a reply: the one with which the template ends a turn, or the end of the text."""
        closing = _closing(self.tokenizer) if self.chat else ""
        ids = list(self.tokenizer(closing, add_special_tokens=False)["input_ids"]) if closing else []
        if ids and ids[0] in self._special:
            return ids[:1]
        return ids or [self.tokenizer.eos_token_id]

    @cached_property
    def end_ids(self) -> list[int]:
        """The ids at which writing stops."""
        return sorted({self.tokenizer.eos_token_id, *(i for i in self.end[:1] if i in self._special)})

    @cached_property
    def stops(self) -> list[str]:
        """The strings before which writing stops."""
        if not self.chat:
            return list(STOPS)
        closing = _closing(self.tokenizer).strip()
        return [] if not closing or self.end[0] in self._special else [closing]

    @cached_property
    def _special(self) -> set[int]:
        return {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}

    def example(self, question: str, passages: Sequence[str], reply: str) -> dict[str, Any]:
        """Return `{input_ids, labels}`; causal ones hold both, the prompt with labels -100."""
        prompt, said = self.prompt(question, passages), self.reply(reply)
        if self.kind == "seq2seq":
            return {"input_ids": prompt, "labels": said}
        return {"input_ids": prompt + said, "labels": [-100] * len(prompt) + said}


def _closing(tokenizer: PreTrainedTokenizerBase) -> str:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(_MARK)[2].rstrip()
