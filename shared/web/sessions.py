"""Signed session tokens: who it is and until when. What they may is read anew for each request."""

import hashlib
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer

from shared.clock import Clock, SystemClock, to_text
from shared.errors import Damaged, Unauthenticated
from shared.settings import Settings

_SALT = "trillium session 1"
_SHORTEST = 32  # characters of a secret that was made here


class Sessions:
    """Issues and reads the tokens of one deployment; the secret is read at the first use."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._made: URLSafeSerializer | None = None

    def issue(self, name: str) -> tuple[str, datetime]:
        """Return a token for the person `name` and when it ends."""
        expires = self._clock.now() + timedelta(hours=self._settings.auth.session_hours)
        expires = expires.replace(microsecond=0)
        return str(self._signer.dumps({"name": name, "until": int(expires.timestamp())})), expires

    def verify(self, token: str) -> str:
        """Return the person of a token; raises Unauthenticated for a forged or an expired one."""
        try:
            content = self._signer.loads(token)
            name, until = str(content["name"]), datetime.fromtimestamp(int(content["until"]), UTC)
        except (BadSignature, KeyError, TypeError, ValueError, UnicodeError) as error:
            raise Unauthenticated("the token is not one of ours; sign in again, or check the key") from error
        if self._clock.now() >= until:
            raise Unauthenticated(f"the session ended at {to_text(until)}; sign in again")
        return name

    @property
    def _signer(self) -> URLSafeSerializer:
        if self._made is None:
            given = self._settings.auth.secret
            secret = given.get_secret_value() if given else kept_secret(self._settings.home)
            self._made = URLSafeSerializer(
                secret, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256}
            )
        return self._made


def kept_secret(home: Path) -> str:
    """Return the signing secret under `home`, made with mode 0600 when it is not there yet.

    Of several processes that start at once one makes it and all use that one.
    """
    path = home / "auth" / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.with_name(f".secret.{secrets.token_hex(6)}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            aside.unlink()
    secret = path.read_text("ascii", "replace").strip()
    if len(secret) < _SHORTEST:
        raise Damaged(f"{path} holds no secret; remove it (everybody signs in again) or restore a backup")
    return secret
