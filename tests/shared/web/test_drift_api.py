import shutil

import pytest

from shared.artifacts.live import BUNDLE
from shared.errors import Unavailable
from shared.models.card import CARD, GRAPH, SELF_TEST, ModelCard, Slot
from shared.models.reference import FILE, Profile
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_rows
from shared.testing.tiny_trained import tiny_trained
from shared.web.client import ServiceClient

USUAL = [row["text"] for row in tiny_rows()]
OTHER = ["the rate of the rate today sir and again the rate"] * 40


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_trained(tmp_path_factory.mktemp("drift"))


@pytest.fixture
def viewer(world):
    return ServiceClient("http://testserver", token=world.keys["viewer"], http=world.client)


@pytest.fixture
def live(world, folder):
    def publish(reference, **slots):
        with world.store.create("app-model", "model") as draft:
            shutil.copytree(folder, draft.path, dirs_exist_ok=True)
            (draft.path / FILE).unlink(missing_ok=True)
            if reference:
                model = TextModel.load(folder, threads=1)
                heads = [head for head in model.heads.values() if head.kind in ("classify", "embed")]
                Profile.of(heads, reference, model.raw(model.encode(reference))).save(draft.path)
            card = ModelCard.read(draft.path).model_copy(update={"slots": slots})
            (draft.path / CARD).write_text(card.model_dump_json())
        with world.store.create("app", BUNDLE, parents={"model": draft.artifact.ref}) as bundle:
            pass
        admin = ServiceClient("http://testserver", token=world.keys["admin"], http=world.client)
        admin.promote(str(bundle.artifact.ref))

    return publish


def test_before_anything_is_live_it_says_so(viewer):
    with pytest.raises(Unavailable, match="no live bundle"):
        viewer.drift()


def test_usual_texts_are_steady_and_others_have_moved(world, viewer, live):
    live(USUAL)
    world.texts[:] = USUAL[::-1]
    found = viewer.drift()
    assert (found["live"], found["model"]) == ("app@1", "app-model@1")
    assert (found["reference"], found["current"], found["moved"]) == (60, 60, False)
    assert {one["what"] for one in found["figures"]} == {"labels", "confidence", "length", "vector"}
    world.texts[:] = OTHER
    found = viewer.drift()
    assert found["moved"]
    assert {one["what"] for one in found["figures"] if one["moved"]} >= {"length", "vector"}


def test_an_engine_with_a_calibration_of_its_own_is_no_drift(world, viewer, live):
    slot = Slot(
        engine="onnx",
        precision="fp32",
        path=GRAPH,
        threads=1,
        self_test=SELF_TEST,
        tolerance=1e-3,
        temperatures={"intent": 5.0},
    )
    live(USUAL, interactive=slot)
    served = TextModel.load(world.store.open("app-model").path)
    plain = TextModel.load(world.store.open("app-model").path, engine="onnx")
    chances = [one.run(USUAL).probabilities["intent"].max(1).mean() for one in (served, plain)]
    assert chances[0] < chances[1] - 0.1
    world.texts[:] = USUAL
    assert not viewer.drift()["moved"]


def test_few_texts_and_a_model_without_a_reference_give_no_figure(world, viewer, live):
    live(USUAL)
    world.texts[:] = USUAL[:7]
    found = viewer.drift()
    assert (found["reference"], found["current"], found["figures"]) == (60, 7, [])
    live(None)
    world.texts[:] = USUAL
    found = viewer.drift()
    assert (found["model"], found["reference"], found["figures"]) == ("app-model@2", 0, [])


def test_the_model_runs_again_only_for_other_texts(world, viewer, live, monkeypatch):
    live(USUAL)
    loads, load = [], TextModel.load
    monkeypatch.setattr(TextModel, "load", lambda *a, **o: loads.append(a) or load(*a, **o))
    world.texts[:] = USUAL
    assert viewer.drift() == viewer.drift()
    world.texts[:] = OTHER
    viewer.drift()
    assert len(loads) == 2


def test_a_service_without_recent_texts_has_no_such_route(world):
    from shared.settings import load_settings
    from shared.web.service import create_service

    app = create_service(
        "app",
        load_settings({"home": "unused"}, env={}),
        routers=[],
        ready=lambda: None,
        store=world.store,
        ladder=("app:viewer", "app:editor", "app:admin"),
    )
    assert "/v1/drift" not in {route.path for route in app.state.routes}
