"""People and keys: who may call, with which roles and groups. One database for all services."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import JSON, String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.clock import Clock, SystemClock, to_text
from shared.errors import BadInput, Conflict, NotFound, Unauthenticated
from shared.storage.engine import Database
from shared.storage.types import UtcDateTime, new_metadata
from shared.web.principal import Principal

MIN_PASSWORD = 10
KEY_PREFIX = "trk_"  # lets a secret scanner find a leaked key
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class Base(DeclarativeBase):
    """The tables of the accounts database."""

    metadata = new_metadata()


class Person(Base):
    """Somebody who signs in with a password."""

    __tablename__ = "people"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(300))
    roles: Mapped[list[str]] = mapped_column(JSON)
    groups: Mapped[list[str]] = mapped_column(JSON)
    disabled: Mapped[bool]
    created: Mapped[datetime] = mapped_column(UtcDateTime)


class Key(Base):
    """A machine's access; the key itself is known to its holder only."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    roles: Mapped[list[str]] = mapped_column(JSON)
    groups: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Accounts:
    """The people and keys of one deployment. Wrong or revoked credentials raise Unauthenticated."""

    def __init__(self, db: Database, clock: Clock | None = None) -> None:
        self._db = db
        self._clock = clock or SystemClock()
        self._hasher = PasswordHasher()

    def add_user(self, name: str, password: str, roles: Iterable[str], groups: Iterable[str] = ()) -> None:
        """Add a person; raises Conflict for a taken name, BadInput for a name or password that won't do."""
        if len(password) < MIN_PASSWORD:
            raise BadInput(f"the password has {len(password)} characters; give at least {MIN_PASSWORD}")
        person = Person(
            name=_checked_name(name),
            password_hash=self._hasher.hash(password),
            roles=sorted(set(roles)),
            groups=sorted(set(groups)),
            disabled=False,
            created=self._clock.now(),
        )
        try:
            with self._db.write() as session:
                session.add(person)
        except IntegrityError as error:
            raise Conflict(f"there is already a person {name!r}; choose another name") from error

    def change_user(
        self,
        name: str,
        *,
        roles: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        disabled: bool | None = None,
    ) -> dict[str, Any]:
        """Replace what is given and return the person as `list_users` shows them; raises NotFound.

        The next request of an open session goes by the new roles and groups.
        """
        with self._db.write() as session:
            person = session.get(Person, name)
            if person is None:
                raise NotFound(f"there is no person {name!r}; `trillium user list` shows all")
            person.roles = person.roles if roles is None else sorted(set(roles))
            person.groups = person.groups if groups is None else sorted(set(groups))
            person.disabled = person.disabled if disabled is None else disabled
            return _person_shown(person)

    def verify(self, name: str, password: str) -> Principal:
        """Return who signed in; the error does not tell a wrong name from a wrong password."""
        with self._db.read() as session:
            person = session.get(Person, name)
        # An unknown name costs the same time, so that names can't be found by the clock.
        stored = person.password_hash if person else self._nobody()
        try:
            self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            person = None
        if person is None or person.disabled:
            raise Unauthenticated("name and password don't match; check both, or ask an administrator")
        return _principal(person)

    def principal_named(self, name: str) -> Principal:
        """Return the person of a session as they are now; a removed one raises Unauthenticated."""
        with self._db.read() as session:
            person = session.get(Person, name)
        if person is None or person.disabled:
            raise Unauthenticated(f"the account {name!r} is gone; sign in with another")
        return _principal(person)

    def list_users(self) -> list[dict[str, Any]]:
        """Return all people by name: {person, roles, groups, disabled, created}."""
        with self._db.read() as session:
            return [_person_shown(one) for one in session.scalars(select(Person).order_by(Person.name))]

    def create_key(self, name: str, roles: Iterable[str], groups: Iterable[str] = ()) -> tuple[str, str]:
        """Return a new key as (id, key); the key can't be read again."""
        secret, id_ = KEY_PREFIX + secrets.token_urlsafe(32), f"k_{secrets.token_hex(6)}"
        row = Key(
            id=id_,
            name=_checked_name(name),
            secret_hash=_digest(secret),
            roles=sorted(set(roles)),
            groups=sorted(set(groups)),
            created=self._clock.now(),
        )
        with self._db.write() as session:
            session.add(row)
        return id_, secret

    def revoke_key(self, id_: str) -> None:
        """Refuse this key from the next request on; raises NotFound. Revoking twice changes nothing."""
        with self._db.write() as session:
            key = session.get(Key, id_)
            if key is None:
                raise NotFound(f"there is no key {id_!r}; `trillium key list` shows all")
            key.revoked = key.revoked or self._clock.now()

    def list_keys(self) -> list[dict[str, Any]]:
        """Return all keys, oldest first: {id, name, roles, groups, created, revoked: time or None}."""
        with self._db.read() as session:
            return [_key_shown(one) for one in session.scalars(select(Key).order_by(Key.created, Key.id))]

    def principal_for_key(self, secret: str) -> Principal:
        """Return whose key this is."""
        # Found by digest: what an attacker can time is the search for a hash they can't steer.
        with self._db.read() as session:
            key = session.scalar(select(Key).where(Key.secret_hash == _digest(secret)))
        if key is None:
            raise Unauthenticated("the key is not known here; make one with `trillium key create`")
        if key.revoked:
            raise Unauthenticated(f"the key {key.id} is revoked; make one with `trillium key create`")
        return Principal(key.name, frozenset(key.roles), frozenset(key.groups))

    def _nobody(self) -> str:
        if not hasattr(self, "_nobody_hash"):
            self._nobody_hash = self._hasher.hash(secrets.token_hex(16))
        return self._nobody_hash


def _principal(person: Person) -> Principal:
    return Principal(person.name, frozenset(person.roles), frozenset(person.groups))


def _person_shown(one: Person) -> dict[str, Any]:
    return {
        "person": one.name,
        "roles": one.roles,
        "groups": one.groups,
        "disabled": one.disabled,
        "created": to_text(one.created),
    }


def _key_shown(one: Key) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "roles": one.roles,
        "groups": one.groups,
        "created": to_text(one.created),
        "revoked": to_text(one.revoked) if one.revoked else None,
    }


def _digest(secret: str) -> str:
    # Keys hold 256 random bits: a slow hash would add nothing against guessing.
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"name {name!r} won't do; use up to 100 of A-Z a-z 0-9 . _ @ + -, a letter or digit first"
        )
    return name
