"""What finds hidden words: made fresh, or as a pre-training left it beside its encoder."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from shared.finetuning.collate import IGNORED
from shared.finetuning.weights import read_config, weight_files

FILE = "mlm.safetensors"  # of our own pre-training, beside the encoder
# Where families of models keep the layer, its norm, and the bias of the words.
_LAYOUTS = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"),  # BERT
    ("lm_head.dense", "lm_head.layer_norm", "lm_head"),  # RoBERTa, XLM-R, MPNet
    ("vocab_transform", "vocab_layer_norm", "vocab_projector"),  # DistilBERT
    ("head.dense", "head.norm", "decoder"),  # ModernBERT
    ("predictions.dense", "predictions.LayerNorm", "predictions"),  # ALBERT
)
FAMILIES = "BERT, RoBERTa, XLM-R, MPNet, DistilBERT, ModernBERT and ALBERT"
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python")


class WordLayer(nn.Module):
    """From a token's row to a vector that words are compared with."""

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, words)
        self.norm = nn.LayerNorm(words)

    def read(self, rows: Tensor) -> Tensor:
        """Return (n, width of the words) of token rows (n, width)."""
        found: Tensor = self.norm(functional.gelu(self.dense(rows)))
        return found


class MaskedWords(WordLayer):
    """The hidden words of a masked language model; its last layer is the encoder's own table of words.

    With `following` it also says whether the second of two texts goes on where the first ends.
    """

    def __init__(self, encoder: nn.Module, width: int, *, following: bool = False) -> None:
        table = encoder.get_input_embeddings().weight  # type: ignore[operator]
        super().__init__(width, table.shape[1])
        self.following = nn.Linear(width, 2) if following else None
        self.bias = nn.Parameter(torch.zeros(table.shape[0]))
        self._table = [table]  # in a list: the encoder owns it, this head neither saves nor steps it

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return logits (hidden words, vocabulary) of the places whose label is not -100, row by row."""
        return functional.linear(self.read(tokens[labels != IGNORED]), self._table[0], self.bias).float()

    def followed(self, tokens: Tensor, follows: Tensor) -> Tensor:
        """Return the cross-entropy of "the second text follows" (1) or not (0), read from the first token,
        summed over rows; -100 leaves a row out."""
        if self.following is None:
            raise ValueError("this head was made without next_sentence")
        logits = self.following(tokens[:, 0]).float()
        return functional.cross_entropy(logits, follows, ignore_index=IGNORED, reduction="sum")


class Gap(WordLayer):
    """What one place of a text is taken for: token `at` from the start or, below 0, from the text's end."""

    def __init__(self, width: int, at: int) -> None:
        super().__init__(width, width)
        self.at = at

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Return (rows, width) of token rows (rows, tokens, width) and their mask."""
        if self.at >= 0:
            return self.read(tokens[:, self.at])
        place = (attention_mask.sum(1) + self.at).view(-1, 1, 1).expand(-1, 1, tokens.shape[2])
        return self.read(tokens.gather(1, place).squeeze(1))

    @property
    def length(self) -> float:
        """How long its vectors are, about: those of a normalised layer."""
        return float(torch.cat([self.norm.weight, self.norm.bias]).detach().norm())


def stored(folder: Path) -> dict[str, Tensor] | None:
    """Return the weights of `MaskedWords` that stand with an encoder: `dense.*`, `norm.*`, `bias`, and
    `following.*` of our own with next_sentence.

    Found in the file of our own pre-training, else among the weights of a masked language model of one of
    FAMILIES. None where there is none, or one that ends otherwise: with a word table of its own or
    another activation.
    """
    if (folder / FILE).is_file():
        return {name.split(".", 1)[1]: weight for name, weight in load_file(folder / FILE).items()}
    config = read_config(folder)
    activation = config.get(
        "classifier_activation", config.get("hidden_act", config.get("activation", "gelu"))
    )
    if activation not in _ACTIVATIONS or config.get("tie_word_embeddings") is False:
        return None
    places: dict[str, Path] = {}
    for file in weight_files(folder):
        with safe_open(file, "pt") as weights:
            places |= dict.fromkeys(weights.keys(), file)
    for layout in _LAYOUTS:
        if f"{layout[0]}.weight" in places and f"{layout[1]}.weight" in places:
            return _named(layout, places)
    return None


def _named(layout: tuple[str, str, str], places: Mapping[str, Path]) -> dict[str, Tensor]:
    dense, norm, words = layout
    wanted = {
        "dense.weight": [f"{dense}.weight"],
        "dense.bias": [f"{dense}.bias"],
        "norm.weight": [f"{norm}.weight"],
        "norm.bias": [f"{norm}.bias"],
        "bias": [f"{words}.bias", f"{words}.decoder.bias"],
    }
    found = {}
    for name, candidates in wanted.items():
        there = [one for one in candidates if one in places]
        if there:
            with safe_open(places[there[0]], "pt") as weights:
                found[name] = weights.get_tensor(there[0]).float()
    return found


def remember(layer: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set a layer of hidden words to stored weights; what is not stored keeps its start, and a missing bias
    becomes 0."""
    own = layer.state_dict()
    state = {name: torch.zeros_like(own[name]) for name in ("dense.bias", "norm.bias", "bias") if name in own}
    layer.load_state_dict(state | {n: w for n, w in weights.items() if n in own}, strict=False)
