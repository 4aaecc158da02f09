import json

import pytest

from shared.artifacts.live import BUNDLE
from shared.artifacts.manifest import ASKED
from shared.errors import BadInput, NotFound
from shared.web.client import ServiceClient


@pytest.fixture
def admin(world):
    return ServiceClient("http://testserver", token=world.keys["admin"], http=world.client)


def train(world, *, passed=True):
    world.clock.forward(minutes=1)
    with world.store.create("app-model", "model", recipe_hash="r1") as model:
        (model.path / "curves.json").write_text(json.dumps({"loss": [2, 1]}))
        model.metrics, model.extra = {"f1": 0.9}, {"recipe": {"base": "tiny"}}
    world.clock.forward(minutes=1)
    with world.store.create("app", BUNDLE, parents={"model": model.artifact.ref}) as bundle:
        bundle.extra["gate"] = {
            "passed": passed,
            "compared_with": "app@1",
            "reason": None if passed else "worse",
        }
    return str(bundle.artifact.ref)


def test_without_artifacts_the_lists_are_empty(admin):
    assert admin.models() == {"models": [], "live": None, "rollback_to": None, "history": [], "next": None}
    assert admin.runs() == {"runs": [], "next": None}


def test_versions_show_gate_live_parents_and_curves(world, admin):
    first, second = train(world), train(world, passed=False)
    with world.store.create("another-app", BUNDLE):
        pass
    assert admin.promote(first) == {"live": first, "before": None}
    page = admin.models()
    assert [one["ref"] for one in page["models"]] == ["app@2", "app-model@2", "app@1", "app-model@1"]
    refused, model, live, _ = page["models"]
    assert refused["gate"] == {"passed": False, "compared_with": "app@1", "reason": "worse"}
    assert (live["live"], refused["live"], live["parents"]) == (True, False, {"model": "app-model@1"})
    assert (model["curves"], model["metrics"], model["evaluation"]) == ({"loss": [2, 1]}, {"f1": 0.9}, None)
    assert (page["live"], page["rollback_to"]) == (first, None)
    assert admin.promote(second) == {"live": second, "before": first}
    assert admin.models()["rollback_to"] == first
    assert admin.rollback() == {"live": first, "before": second}
    assert [move["by"] for move in admin.models()["history"]] == ["admin"] * 3


def test_runs_name_recipe_and_bundles(world, admin):
    train(world)
    (run,) = admin.runs()["runs"]
    assert (run["ref"], run["bundles"], run["recipe"], run["recipe_hash"]) == (
        "app-model@1",
        ["app@1"],
        {"base": "tiny"},
        "r1",
    )


def test_who_may_move_live_also_sees_what_was_tuned_for_no_application(world, admin):
    train(world)
    world.clock.forward(minutes=1)
    with world.store.create("tickets-classify", "model") as tuned:
        (tuned.path / "test.json").write_text(json.dumps({"accuracy": [0.9, 0.8, 1.0]}))
        tuned.extra = {ASKED: "r2", "seconds": 7.0}
    with world.store.create("another-model", "model"):
        pass
    assert [run["ref"] for run in admin.runs()["runs"]] == ["tickets-classify@1", "app-model@1"]
    assert admin.runs()["runs"][0]["test"] == {"accuracy": [0.9, 0.8, 1.0]}
    page = admin.runs(limit=1)
    assert [run["ref"] for run in admin.runs(limit=1, next=page["next"])["runs"]] == ["app-model@1"]
    reader = ServiceClient("http://testserver", token=world.keys["viewer"], http=world.client)
    assert [run["ref"] for run in reader.runs()["runs"]] == ["app-model@1"]


def test_lists_page_by_next(world, admin):
    for _ in range(3):
        train(world)
    seen, cursor = [], None
    while True:
        page = admin.models(next=cursor, limit=4)
        seen += [one["ref"] for one in page["models"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [one["ref"] for one in admin.models(limit=100)["models"]]
    assert len(seen) == 6


@pytest.mark.parametrize("content", ["{broken", "x" * 2_000_001])
def test_a_file_that_can_not_be_shown_hides_only_itself(world, admin, content):
    with world.store.create("app-model", "model") as model:
        (model.path / "curves.json").write_text(content)
    (shown,) = admin.models()["models"]
    assert shown["curves"] is None


def test_a_part_can_not_be_live(world, admin):
    train(world)
    from shared.errors import BadInput

    with pytest.raises(BadInput):
        admin.promote("app-model@1")


def described(world):
    world.clock.forward(minutes=1)
    with world.store.create("app-model", "model") as model:
        for name in ("curves", "evaluation", "test", "recipe", "compress"):
            (model.path / f"{name}.json").write_text(json.dumps({name: [1, 0, 2]}))
        (model.path / "card.md").write_text("# app-model\n", "utf-8")
        model.extra = {"seconds": 3.5}
    with world.store.create("app", BUNDLE, parents={"model": model.artifact.ref}) as bundle:
        pass
    return str(bundle.artifact.ref)


def test_one_version_tells_all_that_its_model_s_folder_holds(world, admin):
    ref = described(world)
    found = admin.model(ref)
    assert (found["ref"], found["of"], found["live"]) == (ref, "app-model@1", False)
    assert found["card"] == "# app-model\n"
    assert found["compressed"] == {"compress": [1, 0, 2]}
    told = ("curves", "evaluation", "test", "recipe")
    assert {name: found[name] for name in told} == {name: {name: [1, 0, 2]} for name in told}
    assert admin.model("app-model@1")["of"] == "app-model@1"
    (run,) = admin.runs()["runs"]
    assert (run["test"], run["evaluation"], run["seconds"]) == (
        {"test": [1, 0, 2]},
        {"evaluation": [1, 0, 2]},
        3.5,
    )


def test_a_version_that_is_not_this_application_s_is_not_found(world, admin):
    described(world)
    with world.store.create("another-model", "model"):
        pass
    for ref in ("app@9", "another-model@1"):
        with pytest.raises(NotFound, match="GET /v1/models lists"):
            admin.model(ref)
    for ref in ("app", "../app@1", "app@0"):
        with pytest.raises((BadInput, NotFound)):
            admin.model(ref)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 2_000_001])
def test_a_card_that_can_not_be_read_is_not_shown(world, admin, content):
    with world.store.create("app-model", "model") as model:
        (model.path / "card.md").write_bytes(content)
    assert admin.model("app-model@1")["card"] is None


def test_the_contract_names_what_a_version_tells(world):
    schema = world.client.get("/openapi.json").json()
    assert {"of", "recipe", "test", "compressed", "card"} <= schema["components"]["schemas"]["Detail"][
        "properties"
    ].keys()
    assert "get" in schema["paths"]["/v1/models/{ref}"]
