"""The model as trained: an encoder, a pooling, and one linear layer per head that has labels."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from shared.finetuning.collate import KEPT
from shared.finetuning.losses import (
    head_loss,
    matryoshka_loss,
    mean_by_row,
    rows_of,
    supervised_contrastive_loss,
)
from shared.finetuning.passes import in_passes, tokens_held
from shared.finetuning.quiet import quiet
from shared.finetuning.recipe import Head
from shared.finetuning.word_head import Gap, MaskedWords
from shared.models.heads import BY_TOKEN, HeadSpec

_APART = ("mlm", "similarity")  # kinds that the graph gives nothing for
FLAT = 0.1  # the least slope of a similarity head: nearer vectors never belong together less


class HeadedModel(nn.Module):
    """Encoder -> token rows and a pooled unit vector -> heads. `forward` of a batch returns `{"loss"}`.

    Heads of a text read the unit vector, so that what a head learns and what an index compares is one
    thing; heads of tokens read the token rows, `entity` the unit vector beside them. With `gap` the vector is
    what a hidden word at that place is taken for (see `cloze`), whatever the pooling.
    """

    # The Trainer then passes the rows of the whole step, over all its micro-batches and processes, and
    # leaves the scaling to us. A head that drops that number gets a gradient too large by the number of
    # micro-batches (huggingface/transformers 47688).
    accepts_loss_kwargs = True

    def __init__(
        self,
        encoder: nn.Module,
        pooling: str,
        specs: list[HeadSpec],
        recipes: Mapping[str, Head],
        *,
        label_smoothing: float = 0.0,
        contrast: float = 0.0,
        gap: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.specs = {spec.name: spec for spec in specs}
        # Heads that begin with something known: an earlier model, the words of their labels.
        self.inherited: set[str] = set()
        self.fresh: dict[str, list[int]] = {}  # of those, the labels that it did not know
        self.recipes = dict(recipes)
        self.label_smoothing = label_smoothing
        self.contrast = contrast
        self.width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.gap = None if gap is None else Gap(self.width, gap)
        # A training batch, on CPU, into passes of texts of like length; what that is worth to heads that read
        # the tokens is not measured. `whole` says that somebody looks at one pass a batch.
        self.divides = all(spec.kind not in (*BY_TOKEN, "mlm") for spec in specs)
        self.whole = False
        self.balance: nn.Module | None = None  # weighs the heads' losses against each other while training
        self.heads = nn.ModuleDict({s.name: self._head(s) for s in specs if s.kind != "embed"})

    def _head(self, spec: HeadSpec) -> nn.Module:
        if spec.kind == "mlm":
            head = self.recipes.get(spec.name)
            return MaskedWords(self.encoder, self.width, following=head is not None and head.next_sentence)
        if spec.kind == "similarity":
            return Similarity()
        return nn.Linear(self.width * (2 if spec.kind == "entity" else 1), spec.width(self.width))

    def fitted(self, spec: HeadSpec) -> HeadSpec:
        """Return the spec as it is served: a similarity head's line is in no graph."""
        if spec.kind != "similarity":
            return spec
        slope, bias = self.heads[spec.name].line()  # type: ignore[operator]
        return spec.model_copy(update={"centre": -bias / slope, "spread": 1 / slope})

    @property
    def typed(self) -> bool:
        """Whether the encoder is told which of two texts a token belongs to."""
        return int(getattr(self.encoder.config, "type_vocab_size", 0) or 0) > 1

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings: the Trainer puts its noise there, adversarial training its moves."""
        found: nn.Module = self.encoder.get_input_embeddings()  # type: ignore[operator]
        return found

    def tokens(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return the token rows (rows, tokens, width) of token ids and mask, both (rows, tokens)."""
        typed = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found: Tensor = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, **typed
        ).last_hidden_state
        return found

    def _by_length(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> Tensor:
        mask, config = attention_mask, self.encoder.config
        if self.whole or not self.divides or mask.device.type != "cpu" or not bool(mask[:, 0].all()):
            return self.tokens(input_ids, attention_mask, token_type_ids)
        held = tokens_held(int(getattr(config, "num_hidden_layers", 0) or 0), self.width)
        return in_passes(self.tokens, input_ids, attention_mask, token_type_ids, held=held)

    def pooled(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unit vectors (rows, width) of token rows."""
        if self.gap is not None:
            pooled = self.gap(tokens, attention_mask)
        elif self.pooling == "cls":
            pooled = tokens[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
            pooled = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return functional.normalize(pooled.float(), dim=-1)

    def vectors(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return unit vectors (rows, width) of token ids and mask, both (rows, tokens)."""
        return self.pooled(self.tokens(input_ids, attention_mask, token_type_ids), attention_mask)

    def outputs(self, tokens: Tensor, vectors: Tensor) -> dict[str, Tensor]:
        """Return one output per served head: the vectors for embed, (rows, width) for heads of a text,
        (rows, tokens, width) for those of tokens."""
        return {n: self._output(n, tokens, vectors) for n, s in self.specs.items() if s.kind not in _APART}

    def _output(self, name: str, tokens: Tensor, vectors: Tensor) -> Tensor:
        kind = self.specs[name].kind
        if kind == "embed":
            return vectors
        if kind == "entity":
            # Linear over a span's mean is the mean of linear over its tokens: spans are pooled later.
            beside = vectors.unsqueeze(1).expand(-1, tokens.shape[1], -1).to(tokens.dtype)
            tokens = torch.cat([tokens, beside], dim=-1)
        found: Tensor = self.heads[name](tokens if kind in BY_TOKEN else vectors)
        return found

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        targets: Mapping[str, Mapping[str, Tensor]],
        labels: Tensor,
        token_type_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        lessons: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the sum of all rows' losses over the rows of the step; a row without a head adds none.

        `labels` has one 1 per row: it is what the Trainer counts. A row's loss is the mean over its tokens,
        spans or windows. Contrastive negatives come from the micro-batch; their sum over anchors is
        scaled like the others. A batch with `lessons` also returns `said`, what heads of a text say of all
        rows: techniques compare it with them.
        """
        tokens = self._by_length(input_ids, attention_mask, token_type_ids)
        vectors = self.pooled(tokens, attention_mask)
        loss = vectors.sum() * 0.0
        for name, target in targets.items():
            found = self._kept(vectors, target) if name == KEPT else self._loss(name, tokens, vectors, target)
            if self.balance is not None and name != KEPT:
                found = self.balance(name, found, rows_of(target))
            loss = loss + found
        told = {"said": self._said(vectors)} if lessons else {}
        return {"loss": loss / (len(labels) if num_items_in_batch is None else num_items_in_batch), **told}

    def _said(self, vectors: Tensor) -> dict[str, Tensor]:
        # Not through the layers' hooks: those tell techniques of the rows that have targets.
        return {
            name: vectors if spec.kind == "embed" else self.heads[name].forward(vectors).float()
            for name, spec in self.specs.items()
            if spec.kind not in (*BY_TOKEN, *_APART)
        }

    def _kept(self, vectors: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        # 1 - cosine: both sides are unit length.
        keep = max(recipe.keep for recipe in self.recipes.values())
        return keep * (1 - (vectors[target["rows"]] * target["kept"]).sum(-1)).sum()

    def _loss(self, name: str, tokens: Tensor, vectors: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        spec, recipe = self.specs[name], self.recipes[name]
        if spec.kind == "embed":
            return recipe.weight * matryoshka_loss(vectors, target, recipe.scale, [*recipe.sizes, self.width])
        rows = target["rows"]
        if spec.kind == "similarity":
            said = self.heads[name]((vectors[rows] * vectors[target["others"]]).sum(-1, keepdim=True))
            return recipe.weight * head_loss(spec.kind, said, target, self.label_smoothing)
        if spec.kind == "mlm":
            words = self.heads[name](tokens[rows], target["labels"])
            hidden = mean_by_row(words, target["labels"], 0.0)
            if "follows" in target:
                hidden = hidden + self.heads[name].followed(tokens[rows], target["follows"])  # type: ignore[operator]
            return recipe.weight * hidden
        logits = self._output(name, tokens[rows], vectors[rows]).float()
        loss = head_loss(spec.kind, logits, target, self.label_smoothing)
        if self.contrast and spec.kind == "classify":
            loss = loss + self.contrast * supervised_contrastive_loss(vectors[rows], target["labels"])
        return recipe.weight * loss


class Similarity(nn.Linear):
    """The log-odds that two texts belong together: a rising line of their vectors' cosine."""

    STEEP = 20.0  # of an unfitted one, which is even at the cosine .75

    def __init__(self) -> None:
        super().__init__(1, 1)
        with torch.no_grad():
            self.weight.fill_(self.STEEP)
            self.bias.fill_(-0.75 * self.STEEP)

    def forward(self, cosines: Tensor) -> Tensor:
        """Return log-odds (n, 1) of cosines (n, 1)."""
        return functional.linear(cosines, self.weight.clamp(min=FLAT), self.bias)

    def line(self) -> tuple[float, float]:
        """Return slope, above 0, and bias."""
        return max(self.weight.item(), FLAT), self.bias.item()


def load_encoder(folder: Path) -> nn.Module:
    """Load a Hugging Face encoder in float32, without the pooler that no head reads."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    options: dict[str, Any] = {"config": config, "local_files_only": True, "use_safetensors": True}
    kind = AutoModel._model_mapping[type(config)]
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        options["add_pooling_layer"] = False
    with quiet():
        encoder: nn.Module = AutoModel.from_pretrained(folder, dtype=torch.float32, **options)
    return encoder
