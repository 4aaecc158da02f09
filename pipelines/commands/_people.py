"""What `user` and `key` share: the accounts database and the roles there are."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.errors import BadInput, UsageError
from shared.settings import find_apps, load_settings

if TYPE_CHECKING:
    from shared.web.accounts import Accounts


@contextmanager
def accounts() -> "Iterator[Accounts]":
    """Give the accounts database of these settings, its schema checked."""
    from shared.storage.engine import ACCOUNTS, database_for
    from shared.storage.migrate import open_checked
    from shared.web.accounts import Accounts, Base

    with database_for(load_settings(), ACCOUNTS, Base.metadata) as db:
        yield Accounts(open_checked(db))


def known_roles() -> list[str]:
    """Return the roles of all applications, each application's lowest first."""
    return [role for app in find_apps() for role in importlib.import_module(f"services.{app}.settings").ROLES]


def checked_roles(roles: Sequence[str]) -> list[str]:
    """Return `roles`; raises UsageError without any and BadInput for one that no application has."""
    known = known_roles()
    if not roles:
        raise UsageError(f"give at least one --role; there are {', '.join(known)}")
    for role in roles:
        if role not in known:
            raise BadInput(f"there is no role {role!r}; there are {', '.join(known)}")
    return list(roles)
