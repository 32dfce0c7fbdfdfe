from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import headwater
from headwater import _exceptions

EXPECTED = [
    "Aborted",
    "AbstainReason",
    "AccessDenied",
    "AlreadyExists",
    "Answer",
    "AnswerBusy",
    "AnswerChunk",
    "AnswerClosed",
    "AnswerDiverged",
    "AnswerNotFinished",
    "AnswerState",
    "ArgumentError",
    "Assistant",
    "AsyncAnswer",
    "AsyncClient",
    "CallCancelled",
    "CallError",
    "Chat",
    "ChatBusy",
    "ChatMessage",
    "Citation",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "ConnectionLost",
    "ContextTooLarge",
    "Corpus",
    "DataLoss",
    "DeadlineExceeded",
    "Document",
    "DocumentError",
    "DocumentTooLarge",
    "DocumentUnreadable",
    "DocumentUnsupported",
    "FailedPrecondition",
    "FieldViolation",
    "Filter",
    "FinishReason",
    "FirstTokenTimeout",
    "HeadwaterError",
    "ImportProgress",
    "InternalError",
    "InvalidRequest",
    "Limits",
    "NotFound",
    "NotImplementedByServer",
    "OutOfRange",
    "Overloaded",
    "OwnerLost",
    "PermissionDenied",
    "ProtocolError",
    "ProviderError",
    "ProviderProtocol",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderTruncated",
    "ProviderUnauthenticated",
    "ProviderUnavailable",
    "QuotaExceeded",
    "RequestIdReused",
    "ResourceExhausted",
    "RetrievalResult",
    "ServerDraining",
    "Source",
    "StreamConsumed",
    "StreamStalled",
    "TlsSettings",
    "Turn",
    "Unauthenticated",
    "Unavailable",
    "Usage",
    "UsageError",
    "__version__",
    "citation_span",
    "exception_table",
    "field",
    "metadata_dict",
    "render_citations",
    "render_with_citations",
]


def test_the_public_names_are_these() -> None:
    assert headwater.__all__ == EXPECTED


def test_every_public_name_is_there_and_the_wires_answer_is_not_among_them() -> None:
    for name in headwater.__all__:
        assert getattr(headwater, name) is not None
    assert headwater.Answer.__module__ == "headwater._answer"
    assert set(headwater.__all__) <= set(dir(headwater))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = headwater.Nothing  # type: ignore[attr-defined]  # that it is not there is what is tried


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert headwater.__version__ == project["version"]


def test_every_exception_stands_in_the_drawn_tree() -> None:
    tree = _exceptions.__doc__ or ""
    exceptions = [
        value for value in vars(_exceptions).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    for exception in exceptions:
        assert f" {exception.__name__} " in tree.replace("\n", " \n")
        assert issubclass(exception, headwater.HeadwaterError)
        assert exception.__name__ in headwater.__all__


def test_importing_the_package_imports_neither_grpc_nor_the_server() -> None:
    program = (
        "import sys, headwater; print([name for name in ('grpc', 'google', 'headwater_server') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_imports_only_what_a_bare_install_has() -> None:
    program = (
        "import sys, headwater; [getattr(headwater, name) for name in headwater.__all__];"
        "print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    third_party = {name for name in eval(done.stdout) if not name.startswith("_")}  # noqa: S307 (our own program's list)
    ours = {"buf", "google", "google_crc32c", "grpc", "headwater", "typing_extensions"}
    # grpc itself imports its sister packages where they are installed, and sitecustomize is the interpreter's.
    theirs = {"cython_runtime", "grpc_channelz", "grpc_health", "grpc_reflection", "sitecustomize"}
    assert third_party <= ours | theirs
