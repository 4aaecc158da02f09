"""What the bot says in its own words, in the language of the question."""

import re

# Han without kana: Japanese is written with both, and gets English until it has phrases of its own.
_HAN, _KANA = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"), re.compile("[\u3040-\u30ff]")

_SAID = {
    "sorry": {
        "en": "I don't know the answer to this. I am handing you over to a person.",
        "zh": "这个问题我不知道答案，现在为您转接人工客服。",
    },
    "which": {"en": "Which of these do you mean?", "zh": "您指的是哪一个？"},
}


def language_of(text: str) -> str:
    """Return "zh" for a text with Chinese characters, else "en"."""
    return "zh" if _HAN.search(text) and not _KANA.search(text) else "en"


def phrase(name: str, question: str) -> str:
    """Return the phrase `name` ("sorry", "which") in the language of `question`."""
    return _SAID[name][language_of(question)]
