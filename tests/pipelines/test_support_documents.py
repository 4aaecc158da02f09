import json

import pytest

from pipelines.answering import documents
from pipelines.answering.documents import read_documents
from shared.errors import BadInput, NotFound

LONG = "a line that was wrapped by an editor at its seventy-second column or so"


def read(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_documents(folder, folder / ".home")
    return {one.id: one for one in found.documents}, dict(found.rejected)


@pytest.mark.parametrize(
    ("name", "content", "id_", "title", "text"),
    [
        ("a.md", "# Fees\n\nIt **costs** [5](http://x.example).", "a.md", "Fees", "It costs 5."),
        ("my-page_2.md", "No title here.", "my-page_2.md", "My page 2", "No title here."),
        ("b.md", "---\nid: b7\ntitle: Mine\n---\n# Other\nText.", "b7", "Mine", "Text."),
        ("s/c.html", "<title>T</title><h1>Head</h1><script>x</script><p>Body", "s/c.html", "Head", "Body"),
        ("d.txt", f"{LONG}\nand goes on.", "d.txt", "D", f"{LONG} and goes on."),
        ("e.json", '{"id": 7, "title": "T", "content": "C."}', "7", "T", "C."),
        ("f.json", '{"text": "# T\\n\\n- one"}', "f.json", "T", "- one"),
        ("g.jsonl", '{"id": "x", "title": "T", "text": "C."}\n', "x", "T", "C."),
        ("h.md", "\ufeff# Bom\n\nText.", "h.md", "Bom", "Text."),
        ("i.MD", "# Größe 退款\n\nText.", "i.MD", "Größe 退款", "Text."),
    ],
)
def test_every_kind_of_file(tmp_path, name, content, id_, title, text):
    found, rejected = read(tmp_path, {name: content})
    assert rejected == {}
    (one,) = found.values()
    assert (one.id, one.title, one.text) == (id_, title, text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "---\ngroups: [staff, finance]\nurl: http://x.example\n---\nText."),
        ("a.json", '{"text": "Text.", "groups": ["staff", "finance"], "url": "http://x.example"}'),
        ("a.jsonl", '{"text": "Text.", "groups": ["staff", "finance"], "url": "http://x.example"}\n'),
        ("a.jsonl", '{"text": "Text.", "Groups": "staff, finance", "url": "http://x.example"}\n'),
    ],
)
def test_groups_and_address_are_kept(tmp_path, name, content):
    (one,) = read(tmp_path, {name: content})[0].values()
    assert (sorted(one.groups), one.url) == (["finance", "staff"], "http://x.example")


def test_ids_are_paths_relative_to_what_was_given(tmp_path):
    found, _ = read(tmp_path, {"a/x.md": "One.", "b/x.md": "Two.", ".git/x.md": "Three.", "c.png": b"\x89"})
    assert set(found) == {"a/x.md", "b/x.md"}
    (one,) = read_documents(tmp_path / "a" / "x.md", tmp_path).documents
    assert one.id == "x.md"


def test_a_bad_file_is_told_and_the_others_are_read(tmp_path):
    found, rejected = read(
        tmp_path,
        {
            "good.md": "Fine.",
            "empty.md": "",
            "latin.txt": "Größe".encode("latin-1"),
            "broken.json": "{",
            "list.json": "[1]",
            "bare.json": '{"title": "T"}',
            "rows.jsonl": '{"text": "Fine too.", "id": "r1"}\nnot json\n{"title": "no text"}\n',
            "huge.txt": b"x" * (documents.LARGEST + 1),
        },
    )
    assert set(found) == {"good.md", "r1"}
    says = {
        "empty.md": "no text",
        "latin.txt": "UTF-8",
        "broken.json": "no JSON",
        "list.json": "object",
        "bare.json": "it has title",
        "rows.jsonl": "2 rows were rejected, first line 2",
        "huge.txt": "5,000,001 bytes",
    }
    assert set(rejected) == set(says)
    for name, words in says.items():
        assert words in rejected[name], (name, rejected[name])
    (kept,) = (tmp_path / ".home" / "rejected").iterdir()
    assert [json.loads(line)["line"] for line in kept.read_text().splitlines()] == [2, 3]


def test_two_documents_with_one_id_are_refused(tmp_path):
    with pytest.raises(BadInput, match="'x'"):
        read(tmp_path, {"a.json": '{"id": "x", "text": "A."}', "b.json": '{"id": "x", "text": "B."}'})


def test_nothing_there(tmp_path):
    with pytest.raises(NotFound, match="gone"):
        read_documents(tmp_path / "gone", tmp_path)
    with pytest.raises(BadInput, match="holds no document"):
        read_documents(tmp_path, tmp_path)


def test_nul_bytes_and_hostile_markup_become_plain_text(tmp_path):
    found, rejected = read(
        tmp_path, {"a.md": "Te\x00xt <img src=http://evil.example onerror=x>\n\n<script>x</script>"}
    )
    assert rejected == {}
    assert found["a.md"].text == "Text"
