from pathlib import Path

import pytest

from shared.testing.tiny_trained import tiny_trained


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with one head of each kind, whose base has a query prefix."""
    return tiny_trained(tmp_path_factory.mktemp("trained"))
