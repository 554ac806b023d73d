import argparse
from typing import Any

import pytest

from judge_service.cli.serve import SAGEMAKER_PORT, chosen
from judge_service.errors import SettingsError
from judge_service.settings import Settings


def arguments(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"host": None, "port": None, "workers": None, **given})


def test_without_flags_the_settings_decide() -> None:
    assert chosen(Settings(), arguments()) == Settings()


def test_a_flag_beats_the_settings_and_sagemaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SAGEMAKER_PORT, "9001")

    assert chosen(Settings(), arguments()).service.port == 9001
    assert chosen(Settings(), arguments(port=0)).service.port == 0


@pytest.mark.parametrize("given", [{"port": 65_536}, {"port": -1}, {"workers": 0}, {"workers": 65}])
def test_what_is_out_of_range_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=str(next(iter(given.values())))):
        chosen(Settings(), arguments(**given))


def test_a_port_of_sagemakers_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SAGEMAKER_PORT, "http")

    with pytest.raises(SettingsError, match=SAGEMAKER_PORT):
        chosen(Settings(), arguments())
