import stat
import threading
from datetime import UTC, datetime

import pytest
from itsdangerous import URLSafeSerializer

from shared.errors import Damaged, Unauthenticated
from shared.settings import load_settings
from shared.web.sessions import Sessions, kept_secret


def sessions(home, **auth):
    return Sessions(load_settings({"home": str(home), "auth": auth}, env={}))


def test_the_secret_is_made_once_and_private(tmp_path):
    token, expires = sessions(tmp_path).issue("ann")
    assert sessions(tmp_path).verify(token) == "ann"
    path = tmp_path / "auth" / "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]
    assert expires > datetime.now(UTC)


def test_processes_that_start_together_agree_on_the_secret(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(kept_secret(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_secret_of_the_settings_leaves_no_file(tmp_path):
    token, _ = sessions(tmp_path, secret="x" * 40).issue("ann")
    assert not (tmp_path / "auth").exists()
    with pytest.raises(Unauthenticated):
        sessions(tmp_path, secret="y" * 40).verify(token)


@pytest.mark.parametrize("content", ["", "short"])
def test_an_empty_secret_is_damage_not_a_weak_key(tmp_path, content):
    (tmp_path / "auth").mkdir()
    (tmp_path / "auth" / "secret").write_text(content)
    with pytest.raises(Damaged, match="remove it"):
        sessions(tmp_path).issue("ann")


def test_a_token_of_another_kind_or_a_changed_one_is_refused(tmp_path):
    made = sessions(tmp_path)
    token, _ = made.issue("ann")
    other = URLSafeSerializer(kept_secret(tmp_path), salt="another purpose").dumps(
        {"name": "ann", "until": 1e12}
    )
    for bad in (token[:-2], "x" + token, other, "", "a.b", "ü.ü"):
        with pytest.raises(Unauthenticated):
            made.verify(bad)
