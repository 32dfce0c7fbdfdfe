from __future__ import annotations

import pytest

from headwater_server.outgoing.endpoints import api_key_of, model_path, path_segment, with_version, without_version


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://x", "https://x/v1"),
        ("https://x/v1", "https://x/v1"),
        ("https://x/v1beta", "https://x/v1beta"),
        ("https://x/api/v2alpha1", "https://x/api/v2alpha1"),
        ("https://x/v1/proxy", "https://x/v1/proxy/v1"),
    ],
)
def test_a_version_is_added_where_there_is_none(base_url: str, expected: str) -> None:
    assert with_version(base_url, "v1") == expected


def test_a_segment_cannot_leave_its_place() -> None:
    assert path_segment("a/b?c#d%2F e") == "a%2Fb%3Fc%23d%252F%20e"
    for text in ("", ".", ".."):
        with pytest.raises(ValueError, match="URL"):
            path_segment(text)


def test_a_model_is_among_the_models_unless_its_name_says_where() -> None:
    assert model_path("x") == "models/x"
    assert model_path("models/x") == "models/x"
    assert model_path("tunedModels/x") == "tunedModels/x"
    with pytest.raises(ValueError, match="cannot stand in a URL"):
        model_path("x/..")


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://x", "https://x"),
        ("https://x/v1", "https://x"),
        ("https://x/v2", "https://x"),
        ("https://x/v1beta", "https://x"),
        ("https://x/v1/proxy", "https://x/v1/proxy"),
    ],
)
def test_a_version_is_taken_off_the_end(base_url: str, expected: str) -> None:
    assert without_version(base_url) == expected


def test_a_key_is_the_settings_or_the_environments() -> None:
    assert api_key_of(" sk-1\n", "", environ={}) == "sk-1"
    assert api_key_of("", "KEY", environ={"KEY": "sk-2\r\n"}) == "sk-2"
    assert api_key_of("", "", environ={}) == ""


@pytest.mark.parametrize(
    "key", ["sk-canary-é", "sk-canary\nx-other: y", "sk-canary\x7f", "sk-canary\u2028x", "sk-canary\0"]
)
def test_a_key_that_no_header_can_hold_is_refused_without_being_repeated(key: str) -> None:
    for setting, name, environ in ((key, "", {}), ("", "KEY", {"KEY": key})):
        with pytest.raises(ValueError, match="holds a character that no key has") as raised:
            api_key_of(setting, name, environ=environ)
        assert not isinstance(raised.value, UnicodeError)
        assert "canary" not in repr(raised.value)
        assert raised.value.__cause__ is None
