"""Finds the pages: each section is a package here with a module `pages`, so that a new one edits no list."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboards.connect import Person


@dataclass(frozen=True)
class PageOf:
    """One page: `name` is its address and its text key (`page.<name>`), `icon` a Material symbol."""

    name: str
    icon: str
    run: Callable[[], None]


@dataclass(frozen=True)
class Section:
    """The pages of one audience. `app` is the application whose roles see it; None: any role does."""

    name: str
    order: int
    app: str | None
    pages: Sequence[PageOf]

    def open_to(self, person: Person, apps: Sequence[str]) -> bool:
        """Whether `person` sees this section when `apps` are shown."""
        if self.app is None:
            return any(person.sees(app) for app in apps)
        return self.app in apps and person.sees(self.app)


def sections() -> list[Section]:
    """Return every section, in the order of the navigation."""
    here = pkgutil.iter_modules([str(Path(__file__).parent)])
    found = [
        importlib.import_module(f"dashboards.{module.name}.pages").SECTION for module in here if module.ispkg
    ]
    return sorted(found, key=lambda section: section.order)
