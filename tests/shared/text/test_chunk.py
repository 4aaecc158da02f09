import itertools

import pytest

from shared.text.chunk import chunk
from shared.text.words import words

TEXT = " ".join(f"Sentence number {i} is here." for i in range(40))


@pytest.mark.parametrize("max_words, overlap", [(20, 6), (20, 0), (5, 4), (180, 30), (7, 5)])
def test_chunks_cover_the_text_within_their_limits(max_words, overlap):
    chunks = chunk("Title", TEXT, max_words=max_words, overlap=overlap)
    assert chunks[0].start == 0
    assert chunks[-1].end == len(TEXT)
    assert [piece.id_suffix for piece in chunks] == [str(i) for i in range(len(chunks))]
    covered = {i for piece in chunks for i in range(piece.start, piece.end)}
    assert all(word.start in covered for word in words(TEXT))
    for piece in chunks:
        assert piece.text == "Title\n" + TEXT[piece.start : piece.end]
        assert len(words(TEXT[piece.start : piece.end])) <= max_words
        assert TEXT[piece.end - 1] == "."
    for before, after in itertools.pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        assert len(words(TEXT[after.start : before.end])) <= overlap


def test_a_sentence_without_end_is_cut_between_words():
    text = " ".join(["word"] * 50)
    chunks = chunk("", text, max_words=20, overlap=5)
    assert [len(words(text[piece.start : piece.end])) for piece in chunks] == [20, 20, 10]
    assert chunks[0].text == text[: chunks[0].end]


def test_signs_count_as_words():
    text = "退款需要三到五天。" * 30
    assert all(len(words(text[piece.start : piece.end])) <= 40 for piece in chunk("退款", text, max_words=40))


def test_a_document_without_words_is_found_by_its_title():
    assert [piece.text for piece in chunk("Title", " \n")] == ["Title"]
    assert chunk(" ", "") == []


def test_an_overlap_that_never_ends_is_refused():
    with pytest.raises(ValueError, match="below max_words"):
        chunk("t", "x", max_words=5, overlap=5)
