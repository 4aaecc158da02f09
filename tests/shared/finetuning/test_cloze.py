"""Labels that are words are known before any row is seen, where the base finds hidden words."""

import pytest
import torch
import transformers
from torch.nn import functional

from shared.errors import BadInput
from shared.finetuning.backbone import load_encoder
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune, open_training
from shared.finetuning.word_head import MaskedWords, remember, stored
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_bert

GOOD, BAD = ("loved", "praised", "enjoyed"), ("hated", "blamed", "cursed")
THINGS = ("film", "song", "meal", "train", "phone", "chair", "game", "coat")
BEHIND, BEFORE = "{text} . it was {mask}", "{mask} : {text}"


def rows(template):
    """Rows with a text and its label; `said` is the whole sentence, the label in its gap."""
    return [
        {"text": text, "label": label, "said": template.format(text=text, mask=label)}
        for label, verbs in (("good", GOOD), ("bad", BAD))
        for verb in verbs
        for thing in THINGS
        for text in (f"they {verb} the {thing}", f"the {thing} they {verb} today")
    ]


@pytest.fixture(scope="module", params=[BEHIND, BEFORE])
def read(request, tmp_path_factory):
    """A template, and a masked language model that knows which word belongs into its gap."""
    folder = tmp_path_factory.mktemp("read")
    base = tiny_bert(folder / "base", [row["said"] for row in rows(f"{BEHIND} {BEFORE}")])
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM.from_pretrained(base)
    every = rows(request.param)
    hidden = [request.param.format(text=row["text"], mask="[MASK]") for row in every]
    fed = tokenizer(hidden, padding=True, return_tensors="pt")
    words = torch.tensor([tokenizer.convert_tokens_to_ids(row["label"]) for row in every])
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        said = model(**fed).logits[fed["input_ids"] == tokenizer.mask_token_id]
        optimiser.zero_grad()
        functional.cross_entropy(said, words).backward()
        optimiser.step()
    model.save_pretrained(folder / "read")
    tokenizer.save_pretrained(folder / "read")
    return request.param, folder / "read"


def asked(base, template, *, words=None, method="full", **train):
    tree = {"epochs": 1, "rate": 1e-3, "batch": 8, "precision": "fp32", **train}
    return Recipe.parse(
        {
            "base": str(base),
            "data": {"rows": {}},
            "heads": {"tone": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}},
            "method": {"kind": method},
            "train": tree,
            "cloze": {"template": template, "words": words or {}},
        }
    )


def opened(recipe, place):
    return open_training(recipe, {"rows": Rows(rows(BEHIND))}, home=place, work=place, progress=False)


def share_right(model, some):
    said = model.run([row["text"] for row in some]).probabilities["tone"].argmax(1)
    labels = model.heads["tone"].labels
    return sum(labels[at] == row["label"] for at, row in zip(said, some, strict=True)) / len(some)


def test_two_rows_are_enough_where_the_words_are_known(read, tmp_path):
    template, base = read
    every = rows(template)
    some = [every[0], every[-1]]
    finetune(asked(base, template), {"rows": Rows(some)}, tmp_path / "out", home=tmp_path, progress=False)
    model = TextModel.load(tmp_path / "out")
    assert share_right(model, every) > 0.95
    turned = asked(base, template, words={"good": "bad", "bad": ["good", "good"]}, steps=1, rate=1e-6)
    finetune(turned, {"rows": Rows(some)}, tmp_path / "turned", home=tmp_path, progress=False)
    assert share_right(TextModel.load(tmp_path / "turned"), every) < 0.05  # it is the words that know


def test_the_frame_stays_around_a_text_that_is_cut_and_torch_reads_it_too(read, tmp_path):
    template, base = read
    some = Rows(rows(template)[::5])
    finetune(asked(base, template), {"rows": some}, tmp_path / "out", home=tmp_path, progress=False)
    served = TextModel.load(tmp_path / "out")
    texts = ["they loved it", "a longer text that they hated " * 40]
    for encoding in served.encode(texts):
        assert encoding.tokens.count("[MASK]") == 1
        assert encoding.tokens[served.card.gap] == "[MASK]"
        assert (encoding.tokens[0], encoding.tokens[-1]) == ("[CLS]", "[SEP]")
    assert len(served.encode(texts)[1].ids) == served.max_tokens
    by_torch = TextModel.load(tmp_path / "out", engine="torch")
    assert by_torch.logits(texts)["tone"] == pytest.approx(served.logits(texts)["tone"], abs=1e-4)
    # It reads texts otherwise than its base does, so a training can't begin with it unknowingly.
    with pytest.raises(BadInput, match="use its own base"):
        opened(asked(tmp_path / "out", template), tmp_path)


def test_frozen_fits_a_regression_on_the_gap(read, tmp_path):
    template, base = read
    every = rows(template)
    recipe = asked(base, template, method="frozen")
    finetune(recipe, {"rows": Rows(every[::4])}, tmp_path / "out", home=tmp_path, progress=False)
    assert share_right(TextModel.load(tmp_path / "out"), every) > 0.95


@pytest.mark.parametrize(
    ("words", "template", "says"),
    [
        ({"fine": "good"}, BEHIND, "has no such label"),
        ({"good": "zzz"}, BEHIND, "no word that the tokenizer knows"),
        ({}, "{text} " + "it was " * 20 + "{mask}", "takes 43 of 64 tokens"),
    ],
)
def test_words_and_templates_that_can_t_be_read_are_refused(read, tmp_path, words, template, says):
    _, base = read
    with pytest.raises(BadInput, match=says):
        opened(asked(base, template, words=words), tmp_path)


def test_a_base_without_hidden_words_is_refused(tmp_path):
    base = tiny_bert(tmp_path / "base", [row["said"] for row in rows(BEHIND)])
    with pytest.raises(BadInput, match="first train one on your texts with --task mlm"):
        opened(asked(base, BEHIND), tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cloze": {"template": "it was {mask}"}}, "needs {text} once"),
        ({"cloze": {"template": "{mask} {text} {mask}"}}, "needs {mask} once"),
        ({"heads": {"tone": {"kind": "multilabel", "data": "rows"}}}, "one classify head"),
        ({"method": {"kind": "prefix"}}, "moves the gap"),
        ({"base": "auto"}, "name one in the place"),
        ({"train": {"pairs": 2}}, "train.pairs fits its heads anew"),
    ],
)
def test_what_cloze_does_not_go_with_is_refused(changes, says):
    tree = asked("base", BEHIND).model_dump(exclude_unset=True)
    with pytest.raises(BadInput, match=says):
        Recipe.parse({**tree, **changes})


SMALL = {"vocab_size": 40, "max_position_embeddings": 40}
WIDTHS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
FAMILIES = {
    "bert": ("Bert", SMALL | WIDTHS),
    "roberta": ("Roberta", SMALL | WIDTHS),
    "mpnet": ("MPNet", SMALL | WIDTHS),
    "albert": ("Albert", SMALL | WIDTHS | {"embedding_size": 8, "hidden_act": "gelu_new"}),
    "distilbert": ("DistilBert", SMALL | {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}),
    "modernbert": ("ModernBert", SMALL | WIDTHS | {"pad_token_id": 0, "norm_bias": False}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_hidden_words_of_published_models_are_read_as_they_are(family, tmp_path):
    name, sizes = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**sizes)
    whole = getattr(transformers, f"{name}ForMaskedLM")(config).eval()
    for parameter in whole.parameters():  # biases and norms too, which begin at 0 and 1
        torch.nn.init.normal_(parameter, std=0.3)
    whole.save_pretrained(tmp_path)
    ids = torch.arange(4, 16).view(1, -1)
    with torch.inference_mode():
        wanted = whole(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        encoder = load_encoder(tmp_path).eval()
        head = MaskedWords(encoder, config.hidden_size)
        remember(head, stored(tmp_path))
        rows = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        got = head(rows, torch.zeros_like(ids))
    assert functional.cosine_similarity(got, wanted[0], dim=-1).min() > 0.9999
    assert torch.allclose(got, wanted[0], atol=5e-3)


def test_another_activation_is_not_read(tmp_path):
    config = transformers.BertConfig(**SMALL, **WIDTHS, hidden_act="relu")
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    assert stored(tmp_path) is None
