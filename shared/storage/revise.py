"""For developers: `python -m shared.storage.revise support services.support.store:Base "add votes"`."""

import importlib
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from shared.errors import UsageError
from shared.storage.engine import Database
from shared.storage.migrate import config_for, upgrade


def revise(name: str, base: str, message: str) -> list[Path]:
    """Write the revision that brings database `name` to the tables of `base` (module:class).

    The difference is taken on a fresh SQLite database. Read it before it lands: Alembic sees no
    renames. Raises UsageError for a `base` without metadata.
    """
    module, _, attribute = base.partition(":")
    metadata = getattr(getattr(importlib.import_module(module), attribute, None), "metadata", None)
    if metadata is None:
        raise UsageError(f"{base!r} has no metadata; give module:class, such as services.support.store:Base")
    with (
        tempfile.TemporaryDirectory() as folder,
        Database(f"sqlite:///{folder}/new.sqlite", name=name, metadata=metadata) as db,
    ):
        config = config_for(db)
        number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
        if number > 1:
            upgrade(db)
        with db.engine.begin() as connection:
            config.attributes["connection"] = connection
            made = command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")
    scripts = made if isinstance(made, list) else [made]
    return [Path(script.path) for script in scripts if script]


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in revise(*sys.argv[1:4]))
