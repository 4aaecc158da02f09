"""Prompts for replies: one wording for training and for serving, with or without retrieved sources."""

from collections.abc import Sequence
from typing import TypedDict

VERSION = 1  # of the wording; a model answers best in the one that it was tuned with
STOPS = ("\nQuestion:", "\nSource 1:")  # a plain prompt's next turn: the reply ended before it
_ASKED = "Question: "
_GROUNDED = "Answer the question from the sources. When they do not help, say so."


class Message(TypedDict):
    """One turn: `role` is system, user or assistant."""

    role: str
    content: str


def messages(question: str, passages: Sequence[str] = ()) -> list[Message]:
    """Return the turns that ask `question`, with the passages as "Source 1:", "Source 2:" … before it.

    Blank passages are left out, so numbers count those that are shown. Without any the question stands
    alone.
    """
    shown = [passage.strip() for passage in passages if passage.strip()]
    blocks = [f"Source {n}:\n{text}" for n, text in enumerate(shown, 1)]
    asked = question.strip()
    content = "\n\n".join([_GROUNDED, *blocks, _ASKED + asked]) if blocks else asked
    return [{"role": "user", "content": content}]


def plain(turns: Sequence[Message]) -> str:
    """Return the prompt for a model without a chat template: "Question: …", then "Answer:" to go on from."""
    lines = []
    for turn in turns:
        text = turn["content"]
        if turn["role"] == "assistant":
            lines.append(f"Answer: {text}")
        elif turn["role"] == "system" or text.startswith(_GROUNDED):
            lines.append(text)
        else:
            lines.append(_ASKED + text)
    return "\n".join([*lines, "Answer:"])
