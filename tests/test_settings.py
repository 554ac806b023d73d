"""Settings: every mistake is one sentence that names the key and the mend."""

from pathlib import Path

import pytest

from judge_service.errors import SettingsError
from judge_service.settings import Settings, keys, load_settings


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "judge.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load_settings() == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\ntokens_per_minute = 10\nrequests_per_minute = 5")

    settings = load_settings(path, {"JUDGE_LIMITS_TOKENS_PER_MINUTE": "20"})

    assert settings.limits.tokens_per_minute == 20
    assert settings.limits.requests_per_minute == 5


def test_a_dash_in_the_environment_unsets() -> None:
    assert load_settings(None, {"JUDGE_TEMPERATURE": "-"}).temperature is None


def test_a_rubric_is_found_beside_the_file_that_names_it(tmp_path: Path) -> None:
    path = written(tmp_path, 'rubric = "mine.toml"')

    assert load_settings(path).rubric == str(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('modle = "x"', "there is no setting `modle`; did you mean `model`?"),
        ("[limits]\ntoken_per_minute = 3", "did you mean `limits.tokens_per_minute`?"),
        ("tokens_per_minute = 3", "did you mean `limits.tokens_per_minute`?"),
        ("[nonsense]\na = 1", "there is no setting `nonsense`"),
        ("[limits]\ntokens_per_minute = 0", "`limits.tokens_per_minute`: must be a number > 0.0"),
        ("[limits]\ntokens_per_minute = -3", "`limits.tokens_per_minute`"),
        ("[limits]\ntokens_per_minute = nan", "`limits.tokens_per_minute`"),
        ("[limits]\ntokens_per_minute = inf", "`limits.tokens_per_minute`"),
        ("[limits]\ntokens_per_minute = 1e300", "`limits.tokens_per_minute`"),
        (
            "[limits]\nmax_in_flight = 2.5",
            "`limits.max_in_flight`: must be a whole number, not a number with a fraction",
        ),
        ("limits = 3", "`limits`: must be a section, not a whole number"),
        ('backend = "bedrok"', "`backend`: Invalid enum value 'bedrok'; use one of"),
        ('backend = "bedrock"', "`model` is empty"),
        ('[unscored]\npolicy = "zero"', "it takes `group_mean` (mean of"),
        ('temperature = "hot"', "`temperature`: must be a number or unset, not text"),
        ("rubric = 3", "`rubric`: must be text, not a whole number"),
        ("[limit]\nstore = 'file'", "there is no setting `limit`; did you mean `limits`?"),
        ('[unscored]\npolicy = "value:2"', "outside the wire range 0..1"),
        ("a = ", "is not TOML"),
        ("\x00", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        load_settings(path)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("JUDGE_MODLE", "x", "did you mean `JUDGE_MODEL`?"),
        ("JUDGE_LIMITS_MAX_IN_FLIGHT", "many", "JUDGE_LIMITS_MAX_IN_FLIGHT"),
        ("JUDGE_DEADLINE_S", "0", "JUDGE_DEADLINE_S: must be a number > 0.0"),
        ("JUDGE_DEADLINE_S", "nan", "JUDGE_DEADLINE_S"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    variable: str, text: str, says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {variable: text})

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "variables", "says"),
    [
        ('model = "us.amazon.nova-lite-v1:0"', {}, '`backend` to one of "bedrock", "sagemaker", "openai"'),
        ("", {"JUDGE_MODEL": "m"}, "`model` is `m`, but `backend` is `local`"),
        ('[bedrock]\nregion = "us-east-1"', {}, 'write `backend = "bedrock"`'),
        ("", {"JUDGE_OPENAI_BASE_URL": "http://h/v1"}, 'write `backend = "openai"`'),
        ('backend = "bedrock"\nmodel = "m"\n[openai]\nlogprobs = 5', {}, "but `backend` is `bedrock`"),
        ('backend = "bedrock"\nmodel = "m"', {"JUDGE_BACKEND": "local"}, "`model` is `m`"),
    ],
)  # fmt: skip
def test_settings_of_a_judge_that_is_not_asked_are_refused(
    tmp_path: Path, text: str, variables: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, text), variables)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'backend = "local"',
        'model = ""\n[bedrock]',
        'grader = "mine:score"\nmodel = "m"',
        'backend = "openai"\nmodel = "m"\n[openai]\nlogprobs = 5',
    ],
)
def test_settings_of_the_judge_that_is_asked_are_not(tmp_path: Path, text: str) -> None:
    load_settings(written(tmp_path, text), {"JUDGE_BEDROCK_REGION": "-"})


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file; name one with --config"):
        load_settings(tmp_path / "judge.toml")


def test_every_setting_has_a_description_a_default_and_a_variable() -> None:
    for key in keys():
        assert key.description, key.name
        assert key.variable == key.variable.upper()
    assert len({key.variable for key in keys()}) == len(list(keys()))
