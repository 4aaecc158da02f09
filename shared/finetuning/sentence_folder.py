"""The files by which sentence-transformers reads a folder as the same encoder, with the same vectors."""

from pathlib import Path

from shared.artifacts.files import write_json

MODULES = ("Transformer", "Pooling", "Normalize")


def write(folder: Path, *, pooling: str, width: int, max_tokens: int, query_prefix: str = "") -> None:
    """Write them beside the encoder's own files.

    Texts are cut at `max_tokens`, pooled ("mean" or "cls") and made unit length. Without these files a folder
    is read with mean pooling, whatever the encoder was trained with. The prefix of questions is the prompt
    "query".
    """
    places = ("", "1_Pooling", "2_Normalize")
    listed = [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{module}"}
        for i, (place, module) in enumerate(zip(places, MODULES, strict=True))
    ]
    for place in places[1:]:
        (folder / place).mkdir(exist_ok=True)
    told = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
    }
    write_json(folder / "1_Pooling" / "config.json", told)
    write_json(folder / "2_Normalize" / "config.json", {})  # an empty folder gets lost in archives
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    prompts = {"query": query_prefix} if query_prefix else {}
    write_json(
        folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None}
    )
    write_json(folder / "modules.json", listed)
