"""What a user asked of `finetune`, checked, and turned into a recipe and rows."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.tuning import generating
from pipelines.tuning.defaults import ROWS, default_recipe
from pipelines.tuning.earlier import with_folders
from pipelines.tuning.running import Made, Wanted, artifact_name, refuse_used, run
from pipelines.tuning.sources import Given, from_files, from_recipe, without_label
from pipelines.tuning.tasks import TASKS, Task, named, task_name
from shared.errors import BadInput, NotFound, UsageError
from shared.finetuning.comparing import Compared, choose, compare
from shared.finetuning.recipe import DEFAULT_BASE, Recipe
from shared.settings import Settings, load_settings

MINUTES = 30.0  # of training, where neither the user nor a recipe says more


@dataclass(frozen=True)
class Asked:
    """The options of the command, as they came."""

    task: str | None = None
    train: Path | None = None
    test: Path | None = None
    valid: Path | None = None
    recipe: Path | None = None
    base: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    out_of_scope: str | None = None
    keep: float = 0.94
    minutes: float | None = None
    threads: int | None = None
    seed: int | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Ready:
    """What was asked, read: the task's name ("several" for more than one head), recipe and rows."""

    task: str
    recipe: Recipe
    given: Given


def carry_out(asked: Asked, settings: Settings | None = None) -> Made:
    """Do what was asked; raises UsageError for options that don't go together."""
    settings = settings or load_settings()
    if asked.out is not None:
        refuse_used(asked.out)
    tree = _tree(asked.recipe)
    if not _has_files(tree):
        task = _task(asked)
        if task.name == "generate":
            return generating.run(asked, task, tree, settings)
    return run(_wanted(asked, read(asked, settings)), settings)


def read(asked: Asked, settings: Settings, *, test: bool = True) -> Ready:
    """Read the recipe and its rows, base "auto" chosen; without `test` the test files stay unread.

    Raises UsageError for options that don't go together.
    """
    tree = _tree(asked.recipe)
    if _has_files(tree):
        return _from_recipe(asked, tree, settings, test)
    task = _task(asked)
    if task.name == "generate":
        raise UsageError("--task generate has a recipe of its own; search-recipe is for the other tasks")
    _threads(asked.threads)
    given = _given(asked, task, settings, test)
    recipe = _recipe(asked, task, tree, given)
    beside = asked.recipe.absolute().parent if asked.recipe else Path.cwd()
    recipe = with_folders(recipe, beside, settings)
    _refuse_refit(recipe, asked)
    return Ready(task.name, choose(recipe, given.data, home=settings.home), given)


def search_table(path: Path | None) -> dict[str, Any] | None:
    """Return the `[search]` of a recipe file, None where it has none; raises NotFound or BadInput."""
    tree = _tree(path)
    return _tables(tree, "search") if "search" in tree else None


def _has_files(tree: Mapping[str, Any]) -> bool:
    return any(isinstance(part, Mapping) and part.get("files") for part in _tables(tree, "data").values())


def asked_recipe(asked: Asked, settings: Settings) -> Recipe:
    """Return the recipe that `carry_out` takes for a task and its files, before "auto" is settled."""
    task = _task(asked)
    return _recipe(asked, task, _tree(asked.recipe), _given(asked, task, settings))


def _given(asked: Asked, task: Task, settings: Settings, test: bool = True) -> Given:
    unseen = _files(asked.test) if test else []
    given = from_files(task, ROWS, _files(asked.train), _files(asked.valid), unseen, settings.home)
    if asked.out_of_scope is None:
        return given
    return without_label(given, ROWS, task.target[0], asked.out_of_scope)


def _task(asked: Asked) -> Task:
    if asked.task is None or asked.train is None:
        raise UsageError("give --task and --train, or a --recipe whose data.NAME has files")
    if asked.task not in TASKS:
        raise UsageError(f"--task {asked.task} is not one of {', '.join(TASKS)}")
    if asked.out_of_scope is not None and asked.task != "classify":
        raise UsageError(f"--out-of-scope belongs to --task classify, not to {asked.task}")
    return named(TASKS[asked.task], asked.text_column, asked.label_column)


def _from_recipe(asked: Asked, tree: dict[str, Any], settings: Settings, test: bool) -> Ready:
    given = {"--task": asked.task, "--train": asked.train, "--valid": asked.valid, "--test": asked.test}
    doubled = [name for name, value in given.items() if value is not None]
    columns = {"--text-column": asked.text_column, "--label-column": asked.label_column}
    doubled += [name for name, value in columns.items() if value is not None]
    if doubled:
        raise UsageError(
            f"the recipe names its own files; leave {', '.join(doubled)} out, or its data.NAME.files"
        )
    path = Path(str(asked.recipe))
    recipe = _overridden(Recipe.parse(tree, where=str(path)), asked)
    _refuse_refit(recipe, asked)
    _threads(asked.threads)
    rows = from_recipe(recipe if test else _untested(recipe), settings.home, path.absolute().parent)
    if asked.out_of_scope is not None:
        heads = [head for head in recipe.heads.values() if head.kind == "classify"]
        if len(heads) != 1 or len(recipe.data) != 1:
            raise UsageError("--out-of-scope needs a recipe with one classify head and one data source")
        rows = without_label(rows, str(heads[0].data), heads[0].target, asked.out_of_scope)
    recipe = with_folders(_absolute(recipe, path.absolute().parent), path.absolute().parent, settings)
    recipe = choose(recipe, rows.data, home=settings.home)
    tasks = [task_name(head.kind) for head in recipe.heads.values() if head.data]
    task = tasks[0] if len(tasks) == 1 else "several"
    return Ready(task, recipe, rows)


def _untested(recipe: Recipe) -> Recipe:
    sources = {name: source.model_copy(update={"test": []}) for name, source in recipe.data.items()}
    return recipe.model_copy(update={"data": sources})


def _refuse_refit(recipe: Recipe, asked: Asked) -> None:
    if asked.out_of_scope is not None and recipe.train.refit:
        raise UsageError(
            "--out-of-scope sets its threshold on validation rows, which train.refit has learnt; drop one"
        )


def _absolute(recipe: Recipe, beside: Path) -> Recipe:
    def placed(files: list[str]) -> list[str]:
        return [str(beside / file) for file in files]

    sources = {
        name: source.model_copy(
            update={"files": placed(source.files), "valid": placed(source.valid), "test": placed(source.test)}
        )
        for name, source in recipe.data.items()
    }
    return recipe.model_copy(update={"data": sources})


def _recipe(asked: Asked, task: Task, tree: dict[str, Any], given: Given) -> Recipe:
    rows = given.data[ROWS]
    # A threshold for foreign texts is set on validation rows, which must not be learnt then.
    refit = asked.out_of_scope is None
    own = default_recipe(
        task, [*rows.train, *rows.valid], base=DEFAULT_BASE, seed=asked.seed or 0, refit=refit
    )
    if asked.recipe is None:
        own["train"]["minutes"] = MINUTES
    heads = _tables(tree, "heads") or own["heads"]
    source = {
        **own["data"][ROWS],
        "files": _absolutes(asked.train),
        "valid": _absolutes(asked.valid),
        "test": _absolutes(asked.test),
    }
    merged = {
        **own,
        **tree,
        "train": _tables(tree, "train") if asked.recipe else own["train"],
        "data": {ROWS: source},
        # Whatever a recipe calls its data: it is these files.
        "heads": {
            name: {**head, "data": ROWS} if isinstance(head, dict) and head.get("data") else head
            for name, head in heads.items()
        },
    }
    return _overridden(Recipe.parse(merged, where=str(asked.recipe or "recipe")), asked)


def _overridden(recipe: Recipe, asked: Asked) -> Recipe:
    train = {"seed": asked.seed, "minutes": asked.minutes}
    tree = recipe.model_dump()
    tree["train"] |= {name: value for name, value in train.items() if value is not None}
    if asked.base:
        tree["base"] = asked.base
    return Recipe.parse(tree)


def _wanted(asked: Asked, ready: Ready) -> Wanted:
    name = artifact_name(ready.task, asked.train or asked.recipe)
    return Wanted(ready.task, ready.recipe, ready.given, name, asked.out, asked.out_of_scope, asked.keep)


def _absolutes(path: Path | None) -> list[str]:
    return [str(file.absolute()) for file in _files(path)]


def _files(path: Path | None) -> list[Path]:
    return [] if path is None else [path]


def _tree(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"there is no recipe {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} is no TOML recipe: {error}") from error


def _tables(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = tree.get(name, {})
    if not isinstance(found, dict):
        raise BadInput(f"recipe: {name} is {type(found).__name__}, not a table")
    return found


def _threads(count: int | None) -> None:
    import torch

    if count is not None:
        torch.set_num_threads(count)


def compared(
    task: str, train: Path, text_column: str | None, label_column: str | None, seed: int
) -> list[Compared]:
    """Return the frozen bases at hand on these rows, best first; raises UsageError for an unknown task."""
    settings = load_settings()
    asked = Asked(task=task, train=train, text_column=text_column, label_column=label_column, seed=seed)
    known = _task(asked)
    given = from_files(known, ROWS, [train], [], [], settings.home)
    return compare(_recipe(asked, known, {}, given), given.data, home=settings.home)
