from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.errors import Reason
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors

ERRORS = ProviderErrors("fake")


def wait(said: str) -> float | None:
    return ERRORS.status(429, ErrorBody(), headers={"retry-after": said}).retry_after


@pytest.mark.parametrize("zone", ["-2359", "+2359", "GMT", "-0000"])
def test_a_date_beyond_all_calendars_is_as_long_as_is_believed_or_nothing(zone: str) -> None:
    assert wait(f"Fri, 31 Dec 9999 23:59:59 {zone}") in {3600.0, None}
    assert wait(f"Mon, 01 Jan 0001 00:00:00 {zone}") in {0.0, None}


@pytest.fixture
def _far_from_greenwich() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
@pytest.mark.parametrize("zone", ["+0000", "-0000", "GMT"])
def test_a_date_whose_zone_is_not_said_is_in_universal_time(zone: str) -> None:
    then = datetime.now(UTC) + timedelta(seconds=1800)
    said = wait(then.strftime(f"%a, %d %b %Y %H:%M:%S {zone}"))
    assert said is not None
    assert 600 < said <= 1800


DATES = st.from_regex(r"(Fri, )?[0-9]{1,4} (Dec|Jan) [0-9]{1,5} [0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})? [+-][0-9]{1,6}")


@given(st.text(max_size=40) | DATES | st.floats().map(str))
def test_whatever_a_provider_says_of_when_to_come_back_is_a_wait_within_bounds(said: str) -> None:
    seconds = wait(said)
    assert seconds is None or 0 <= seconds <= 3600


def google(delay: str) -> ErrorBody:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    return ErrorBody.of([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}])


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after-ms": "1250"}, ErrorBody(), 1.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, ErrorBody(), 0.25),
        ({"retry-after-ms": "soon", "retry-after": "3"}, ErrorBody(), 3.0),
        ({"retry-after-ms": "-5"}, ErrorBody(), 0.0),
        ({}, google("34.074824224s"), 34.074824224),
        ({}, google("9999999s"), 3600.0),
        ({}, google("soon"), None),
        ({"retry-after": "2"}, google("34s"), 2.0),
    ],
)
def test_when_to_come_back_is_read_wherever_a_provider_says_it(
    headers: dict[str, str], body: ErrorBody, seconds: float | None
) -> None:
    for status in (429, 503):
        assert ERRORS.status(status, body, headers=headers).retry_after == seconds
    if not headers:
        assert ERRORS.in_stream(body).retry_after == seconds


@pytest.mark.parametrize(
    "message",
    [
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "This model's maximum prompt length is 131072 but the request contains 531168 tokens.",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4200 `inputs` tokens",
    ],
)
def test_a_prompt_that_does_not_fit_is_one_in_whatever_words_a_provider_says_it(message: str) -> None:
    body = ErrorBody(message=message, type="invalid_request_error")
    assert ERRORS.status(400, body).reason is Reason.CONTEXT_TOO_LARGE
    assert ERRORS.in_stream(body).reason is Reason.CONTEXT_TOO_LARGE


@pytest.mark.parametrize("code", ["invalid_prompt", "invalid_image_format", "image_too_large"])
def test_what_is_wrong_with_a_prompt_is_a_refusal_in_a_stream_too(code: str) -> None:
    assert ERRORS.in_stream(ErrorBody(code=code)).reason is Reason.PROVIDER_REJECTED
