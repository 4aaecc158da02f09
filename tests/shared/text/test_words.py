import pytest

from shared.text.words import sentences, words


@pytest.mark.parametrize(
    "text, expected",
    [
        ("it's Wi-Fi, 2.4GHz!", ["it's", "Wi-Fi", "2.4GHz"]),
        ("我的Wi-Fi坏了", ["我", "的", "Wi-Fi", "坏", "了"]),
        ("カード a_b", ["カ", "ー", "ド", "a", "b"]),
        ("인터넷 요금", ["인터넷", "요금"]),
        ("… --- !", []),
    ],
)
def test_words(text, expected):
    found = words(text)
    assert [word.text for word in found] == expected
    assert all(text[word.start : word.end] == word.text for word in found)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("It costs 5.50 a month. Pay early!", ["It costs 5.50 a month.", "Pay early!"]),
        ("Use a cable, e.g. the grey one. Done.", ["Use a cable, e.g. the grey one.", "Done."]),
        ("Ask J. Smith or Dr. Lee. Thanks", ["Ask J. Smith or Dr. Lee.", "Thanks"]),
        ("1. Open the app.\n2. Tap it.", ["1. Open the app.", "2. Tap it."]),
        ("Heading\n\nText", ["Heading", "Text"]),
        ("你好。我要退款！多少钱？", ["你好。", "我要退款！", "多少钱？"]),
        ('He said "Stop." Then left', ['He said "Stop."', "Then left"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text, expected):
    assert [text[start:end] for start, end in sentences(text)] == expected
