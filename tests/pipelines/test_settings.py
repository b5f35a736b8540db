"""Settings come from one file, the environment wins, and mistakes are named."""

from __future__ import annotations

import pytest

from pipelines.settings import Settings, SettingsError, load_settings, write_default_settings
from pipelines.workspace import Workspace


def test_default_file_holds_every_setting_and_changes_nothing(tmp_path):
    """The commented default file names every key and loads as the defaults."""
    path = tmp_path / "huika.toml"
    write_default_settings(path)
    assert load_settings(path) == Settings()
    text = path.read_text()
    assert all(f"[{name}]" in text for name in ("storage", "costs", "decision", "price", "training"))
    assert "# handling_cny = 2.0" in text


def test_file_values_are_read_and_the_environment_wins(tmp_path, monkeypatch):
    """A value of the file is used; the same key in the environment overrides it."""
    path = tmp_path / "huika.toml"
    path.write_text(
        'profile = "small"\n[costs]\nhandling_cny = 3.5\nreview_cny = 20\n[price.categories.fuel]\nmax_rate = 0.9\n'
    )
    assert load_settings(path).costs.handling_fen == 350
    monkeypatch.setenv("HUIKA_COSTS__HANDLING_CNY", "4")
    settings = load_settings(path)
    assert settings.costs.handling_cny == 4
    assert settings.costs.review_cny == 20
    assert settings.profile == "small"
    assert settings.price.categories["fuel"].max_rate == 0.9


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[costs]\nhandling_cny = 'much'\n", "costs.handling_cny"),
        ("[costs]\nhandling = 2\n", "costs.handling"),
        ("[cost]\nhandling_cny = 2\n", "cost"),
        ("[costs\n", "TOML"),
        ("profile = 'huge'\n", "profile"),
        ("[price]\nexploration_half_width = 0.5\n", "exploration_half_width"),
    ],
)
def test_mistakes_are_named(tmp_path, text, named):
    """A wrong value, an unknown key or broken TOML is refused with the key's name."""
    path = tmp_path / "huika.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=named):
        load_settings(path)


def test_workspace_is_created_with_its_settings_file(tmp_path):
    """The first command that needs a workspace makes it, settings file included."""
    workspace = Workspace.open(tmp_path / "new")
    assert (workspace.home / "huika.toml").exists()
    assert workspace.tables.rows("trades") == 0
