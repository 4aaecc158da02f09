"""Settings: order of sources, unknown names, secrets as files."""

from pathlib import Path

import pytest

from shared.errors import UsageError
from shared.settings import find_apps, load_settings


def test_arguments_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "trillium.toml"
    file.write_text('home = "from-file"\n[kafka]\nbootstrap = "file:1"\n[support]\nport = 1\n')
    env = {
        "TRILLIUM_SETTINGS": str(file),
        "TRILLIUM_KAFKA__BOOTSTRAP": "env:2",
        "TRILLIUM_SUPPORT__PORT": "2",
    }
    settings = load_settings({"support": {"port": 3}}, env)
    assert (str(settings.home), settings.kafka.bootstrap, settings.app("support").port) == (
        "from-file",
        "env:2",
        3,
    )


@pytest.mark.parametrize(
    "env, told",
    [
        ({"TRILLIUM_KAFKA__BOOTSTRAPP": "x"}, "TRILLIUM_KAFKA__BOOTSTRAP"),
        ({"TRILLIUM_SUPORT__PORT": "1"}, "TRILLIUM_SUPPORT__PORT"),
        ({"TRILLIUM_HOEM": "/x"}, "TRILLIUM_HOME"),
        ({"TRILLIUM_SUPPORT__PORT": "many"}, "port"),
        ({"TRILLIUM_KAFKA__PARTITIONS": "0"}, "kafka.partitions"),
        ({"TRILLIUM_AUTH__SECRET_FILE": "/nowhere"}, "can't be read"),
        ({"TRILLIUM_SETTINGS": "/nowhere"}, "can't be read"),
    ],
)
def test_what_is_wrong_is_named(env: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_settings(env=env)


def test_an_unknown_name_in_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("[kafka]\nbootstrp = 'x'\n")
    with pytest.raises(UsageError, match="kafka__bootstrap"):
        load_settings(env={"TRILLIUM_SETTINGS": str(tmp_path / "t.toml")})


def test_a_secret_comes_from_a_file_and_is_not_printed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    settings = load_settings(env={"TRILLIUM_AUTH__SECRET_FILE": str(tmp_path / "secret")})
    assert settings.auth.secret is not None
    assert settings.auth.secret.get_secret_value() == "hush"
    assert "hush" not in repr(settings)


def test_addresses_follow_the_port_unless_a_url_is_set() -> None:
    settings = load_settings(env={"TRILLIUM_SUPPORT__PORT": "9", "TRILLIUM_SENTIMENT__URL": "http://far:1/"})
    assert settings.url("support") == "http://127.0.0.1:9"
    assert settings.url("sentiment") == "http://far:1"
    with pytest.raises(UsageError, match="recommender, sentiment, support"):
        settings.url("nope")


def test_applications_are_found_by_name() -> None:
    assert find_apps() == ["recommender", "sentiment", "support"]
