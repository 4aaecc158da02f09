"""A model as a service holds it: what people ask shares passes and is remembered."""

from collections.abc import Sequence

from shared.models.heads import FloatArray
from shared.models.memo import Memo, RememberingModel
from shared.models.micro_batcher import MicroBatcher
from shared.models.text_model import Outputs, TextModel
from shared.settings import Runtime
from shared.telemetry import caller


class SharedModel:
    """A text model for many threads, with the same interface and, to 1e-5, the same answers.

    Questions (`query`) of all threads share passes and are kept for when they come again; callers take
    turns by `shared.telemetry.caller`. Texts of documents go to the model as they are: they come in bulk, in
    the background, and once.
    """

    def __init__(self, model: TextModel, runtime: Runtime) -> None:
        self.model = model
        self.fingerprint, self.dim, self.heads = model.fingerprint, model.dim, model.heads
        self._timeout_s = runtime.timeout_s
        self._batcher = MicroBatcher(model, wait_ms=runtime.wait_ms, room=runtime.queue_texts)
        self.memo = Memo(runtime.memo_bytes)
        self._questions = RememberingModel(model, self.memo, run=self._pass)

    def run(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> Outputs:
        """Answer all heads as `TextModel.run` does.

        For questions raises Unavailable too, with the seconds to wait, when too many wait already.
        """
        return (self._questions if query else self.model).run(texts, pairs=pairs, query=query)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return unit-length vectors (n, dim); raises Conflict when the model has no embed head."""
        return (self._questions if query else self.model).embed(texts, query=query)

    def _pass(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> Outputs:
        if pairs is not None and self.model.compares:
            return self.model.run(texts, pairs=pairs, query=query)
        return self._batcher.run(
            texts, pairs=pairs, query=query, caller=caller.get(), timeout_s=self._timeout_s
        )
