"""Typed calls of the support API."""

from urllib.parse import quote

from services.support.contract import (
    AskRequest,
    AskResponse,
    DocumentPage,
    DocumentRemoved,
    DocumentText,
    DocumentWrite,
)
from shared.web.client import ServiceClient


class SupportClient(ServiceClient):
    """The support service; every method raises the error class of the status that came back."""

    def ask(self, question: str, conversation_id: str | None = None) -> AskResponse:
        """Return the answer to `question` (1 to 4,000 characters)."""
        request = AskRequest(question=question, conversation_id=conversation_id)
        return AskResponse.model_validate(self.post("/v1/ask", json=request.model_dump(exclude_none=True)))

    def documents(self, *, next: str | None = None, limit: int = 50) -> DocumentPage:  # noqa: A002 the contract's word
        """Return one page of the documents that the caller may read, by id."""
        params: dict[str, str | int] = {"limit": limit} | ({"next": next} if next else {})
        return DocumentPage.model_validate(self.get("/v1/documents", params=params))

    def document(self, document_id: str) -> DocumentText:
        """Return a document with its text; raises NotFound, also where the caller may not read it."""
        return DocumentText.model_validate(self.get(_path(document_id)))

    def put_document(self, document_id: str, document: DocumentWrite) -> DocumentText:
        """Write a document (editors); the next question sees it."""
        return DocumentText.model_validate(self.put(_path(document_id), json=document.model_dump()))

    def delete_document(self, document_id: str) -> DocumentRemoved:
        """Delete a document (editors); the next question no longer sees it."""
        return DocumentRemoved.model_validate(self.delete(_path(document_id)))


def _path(document_id: str) -> str:
    return f"/v1/documents/{quote(document_id, safe='/')}"
