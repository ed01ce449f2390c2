"""Settings: precedence, types, refusals."""

from __future__ import annotations

import pytest

from headstart.config import FitConfig, parse_duration, resolve
from headstart.errors import UsageError


def test_arguments_beat_environment_beats_toml_beats_defaults(tmp_path):
    toml = tmp_path / "headstart.toml"
    toml.write_text('[fit]\nseed = 1\nbudget = "1m"\nsource = "toml"\nmetric = "accuracy"\n')
    found = resolve(
        {"seed": 3, "label": None}, toml, {"HEADSTART_SEED": "2", "HEADSTART_BUDGET": "30s", "HEADSTART_CACHE": "/x"}
    )
    assert found == FitConfig(seed=3, budget=30.0, source="toml", metric="accuracy")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("30s", 30.0), ("2m", 120.0), (" 1.5 h ", 5400.0), (7, 7.0), (None, None)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "1d", "2 m 3", "1e3"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match="is not a duration. Examples: 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sorce": "a"}, "unknown setting 'sorce'; did you mean 'source'"),
        ({"seed": "x"}, "seed is 'x', which is not a number"),
        ({"seed": -1}, "seed is -1"),
        ({"test_share": 1.5}, "test_share is 1.5"),
        ({"budget": 0}, "budget is 0"),
        ({"problem": "clasification"}, "did you mean 'classification'"),
        ({"seed": 1.5}, "seed is 1.5, which is not a whole number"),
        ({"seed": True}, "seed is True, which is not a number"),
        ({"label": ["a"]}, r"label is \['a'\], which is not a text"),
        ({"augment": "perhaps"}, "augment is 'perhaps', which is not a switch; say true or false"),
        ({"augment": 2}, "augment is 2, which is not a switch"),
        ({"budget": "soon"}, "budget: 'soon' is not a duration"),
    ],
)
def test_refusals_say_what_is_valid(settings, message):
    with pytest.raises(UsageError, match=message):
        resolve(settings, environment={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\nsede = 1", "sede"),
        ("[fit", "not a TOML file"),
        (None, "cannot read the settings file"),
        ("fit = 3", r"must hold one table, \[fit\]"),
        ("seed = 3", r"must hold one table, \[fit\]"),
        ("[fit]\nseed = 'x'", "seed in .*x.toml is 'x'"),
    ],
)
def test_bad_settings_files(tmp_path, text, message):
    path = tmp_path / "x.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=message):
        resolve({}, path, {})


@pytest.mark.parametrize(("said", "found"), [("off", False), ("TRUE", True), (False, False), (0, False)])
def test_switches(said, found):
    assert resolve({"augment": said}, environment={}).augment is found


def test_a_switch_in_a_file_and_in_the_environment(tmp_path):
    toml = tmp_path / "x.toml"
    toml.write_text("[fit]\naugment = false\n")
    assert resolve({}, toml, {}).augment is False
    assert resolve({"augment": None}, toml, {"HEADSTART_AUGMENT": "yes"}).augment is True


def test_the_place_of_a_wrong_value_is_said():
    with pytest.raises(UsageError, match="HEADSTART_SEED is 'x'"):
        resolve({}, environment={"HEADSTART_SEED": "x"})


def test_names_may_be_a_list(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("[fit]\nsource = ['a', 'b']")
    assert resolve({"method": ("probe",)}, path, {}).source == "a,b"
    assert resolve({"method": ("probe",)}, path, {}).method == "probe"
