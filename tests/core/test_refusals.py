"""The one table of refusals: what providers say, and what follows. The words are theirs, with where they were seen."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batch_provider.core.errors import (
    AccountError,
    AuthenticationError,
    NotReadyError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)
from airflow_batch_provider.core.reconciling import absence, why_failed
from airflow_batch_provider.core.records import JobError, JobStatus, Refusal
from airflow_batch_provider.core.refusal_facts import CODES, GRPC, OWN, WORDS
from airflow_batch_provider.core.refusals import (
    NOT_READY_SECONDS,
    decided,
    error_of,
    pause_after,
    refusal_of,
    words_of,
)
from airflow_batch_provider.dialects.openai import error_line, read_line

REQUEST, ACCOUNT, PASSING = Refusal.REQUEST, Refusal.ACCOUNT, Refusal.PASSING
NOT_YET, FULL = Refusal.NOT_YET, Refusal.FULL

BODIES = [
    # ---- "You may not use it from here", in the words of issues that quote them; sources in the table
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "User location is not supported for the API use.",
                "status": "FAILED_PRECONDITION",
            }
        },
        ACCOUNT,
    ),
    (
        400,
        {
            "__type": "ValidationException",
            "message": "Access to Anthropic models is not allowed from unsupported countries, regions, or territories.",
        },
        ACCOUNT,
    ),
    (451, "Access to Anthropic models is not available in your region (IM)", ACCOUNT),
    # ---- no money: DeepSeek, Moonshot, Kimi, Mistral
    (
        402,
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "param": None,
                "code": "invalid_request_error",
            }
        },
        ACCOUNT,
    ),
    (
        None,
        {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}},
        ACCOUNT,
    ),
    (429, {"error": {"message": "You've reached your usage limit for this period"}}, ACCOUNT),
    (
        None,
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "invalid_request_error",
            "code": None,
        },
        PASSING,
    ),
    (401, {"detail": "Unauthorized"}, ACCOUNT),
    (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, ACCOUNT),
    (400, {"error": {"message": "API key expired. Please renew the API key."}}, ACCOUNT),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "exceeded your current token quota"}}, ACCOUNT),
    (429, {"error": {"message": "Your prepayment credits are depleted."}}, ACCOUNT),
    (400, {"error": {"code": "file_not_ready", "message": "m"}}, NOT_YET),
    (400, {"error": {"message": "File is still processing"}}, NOT_YET),
    (423, {}, PASSING),
    (449, {}, PASSING),
    # ---- OpenAI, Azure
    (
        429,
        {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}},
        ACCOUNT,
    ),
    (429, {"error": {"message": "m", "type": "insufficient_quota", "code": "project_spend_limit_exceeded"}}, ACCOUNT),
    (429, {"error": {"message": "Rate limit reached for gpt-4o on tokens per min", "type": "tokens"}}, PASSING),
    (429, {"error": {"message": "Request too large for gpt-4o on tokens per min (TPM)", "type": "tokens"}}, REQUEST),
    (503, {"error": {"message": "Slow down", "code": "slow_down"}}, PASSING),
    (400, {"error": {"message": "m", "code": "billing_hard_limit_reached"}}, ACCOUNT),
    (
        404,
        {"error": {"message": "The model `x` does not exist or you do not have access to it.", "code": None}},
        ACCOUNT,
    ),
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}, ACCOUNT),
    (404, {"error": {"code": "404", "message": "Resource not found"}}, REQUEST),
    (400, {"error": {"code": "content_filter", "message": "try again later with another prompt"}}, REQUEST),
    (400, {"error": {"message": "Invalid schema for response_format", "type": "invalid_request_error"}}, REQUEST),
    (500, {"error": {"message": "m", "type": "server_error"}}, PASSING),
    (424, {"error": {"message": "m", "code": "server_error"}}, PASSING),
    (400, {"error": {"code": "quotaExceeded", "message": "Quota exceeded for resource: 500 files"}}, ACCOUNT),
    # ---- API Management in front of Azure
    (401, {"statusCode": 401, "message": "Access denied due to invalid subscription key."}, ACCOUNT),
    (429, {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 21 seconds."}, PASSING),
    (403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 00:12:30."}, ACCOUNT),
    (None, {"statusCode": 503, "message": "x"}, PASSING),
    # ---- gateways
    (400, {"error": {"message": "Error code: 503 - no body", "type": "None", "code": "400"}}, PASSING),
    (
        500,
        {"error": {"message": "litellm.AuthenticationError: {'error': {'code': 'invalid_api_key'}}", "code": "500"}},
        ACCOUNT,
    ),
    (
        400,
        {"error": {"message": "ExceededBudget: User=u over budget", "type": "budget_exceeded", "code": "400"}},
        ACCOUNT,
    ),
    (429, {"error": {"message": "Batch enqueued token limit exceeded", "code": "429"}}, FULL),
    (500, {"status": "failure", "message": "fetch failed"}, PASSING),
    (400, '{"error": {"message": "{\\"error\\": {\\"code\\": \\"insufficient_quota\\"}}"}}', ACCOUNT),
    (502, "<html><h1>502 Bad Gateway</h1></html>", PASSING),
    # ---- Anthropic, also behind the clouds
    (
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}},
        ACCOUNT,
    ),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, PASSING),
    # ---- Amazon
    (400, {"errorCode": 400, "errorMessage": "Malformed input request"}, REQUEST),
    (None, {"errorCode": "ThrottlingException", "errorMessage": "m"}, PASSING),
    (400, {"__type": "x", "Message": "Operation not allowed"}, ACCOUNT),
    # ---- Google
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Service agents are being provisioned (x).",
                    "status": "FAILED_PRECONDITION",
                }
            }
        ],
        NOT_YET,
    ),
    (
        429,
        {
            "error": {
                "code": 429,
                "message": "Resource exhausted. Please try again later.",
                "status": "RESOURCE_EXHAUSTED",
            }
        },
        PASSING,
    ),
    (429, {"error": {"code": 429, "message": "You exceeded your current quota. Please retry in 23.5s."}}, PASSING),
    (
        403,
        {
            "error": {
                "code": 403,
                "message": "This API method requires billing to be enabled",
                "status": "PERMISSION_DENIED",
            }
        },
        ACCOUNT,
    ),
    (None, {"error": {"code": 14, "message": "m"}}, PASSING),
    (None, {"error": {"code": 13, "message": "m"}}, PASSING),
    (None, {"error": {"code": 8, "message": "m"}}, FULL),
    (None, {"error": {"code": 7, "message": "m"}}, ACCOUNT),
    (None, {"error": {"code": 3, "message": "m"}}, REQUEST),
    (None, "RESOURCE_EXHAUSTED", FULL),
    (None, "UNAVAILABLE: the service", PASSING),
    (None, "4: Deadline expired before operation could complete.", PASSING),
    (None, "503 The service has been away", PASSING),
    # ---- a file or a queue
    (
        400,
        {"error": {"message": "The file file-abc is still being processed", "type": "invalid_request_error"}},
        NOT_YET,
    ),
    (
        400,
        {"error": {"message": "Cannot find file file-V5, or organization org-R does not have access to it."}},
        NOT_YET,
    ),
    (400, {"error": {"message": "pending"}}, NOT_YET),
    (400, {"error": {"message": "Enqueued token limit reached for gpt-4o-mini in organization org-1."}}, FULL),
    # ---- the status alone
    (402, "", ACCOUNT),
    (401, {}, ACCOUNT),
    (403, "no", ACCOUNT),
    (404, "no", REQUEST),
    (422, "no", REQUEST),
    # In no standard, so nobody knows whether the request is at fault: no round sends it again, and no row is lost.
    (418, "teapot", ACCOUNT),
    (460, {}, PASSING),
    (499, {}, PASSING),
    (424, {}, PASSING),
    (407, {}, ACCOUNT),
    (451, {}, ACCOUNT),
    (409, {}, PASSING),
    (0, {}, PASSING),
    (None, "nobody knows", ACCOUNT),
]


LANGUAGES = (
    "Vous avez dépassé votre quota actuel, vérifiez votre forfait et vos informations de facturation.",
    "您的账户余额不足,请充值后重试。",
    "Ihr Kontingent ist erschöpft. Bitte prüfen Sie Ihre Zahlungsdaten.",
    "Ha superado su cuota actual; revise su plan y los datos de facturación.",
    "現在のクォータを超過しました。プランと請求の詳細を確認してください。",
)


@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize("status", [None, 200, 400, 403, 429, 500])
def test_a_code_needs_no_language(said, status):
    """A5: what a code says is said in every language, whatever the status, also inside a gateway's message."""
    coded = {"error": {"message": said, "code": "insufficient_quota"}}
    for body in (coded, {"message": f"upstream: {json.dumps(coded)}"}):
        words = words_of(body)
        assert refusal_of(words.codes, words.message, status) is ACCOUNT


@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize(
    ("status", "refusal"),
    [(429, PASSING), (402, ACCOUNT), (403, ACCOUNT), (401, ACCOUNT), (400, REQUEST), (500, PASSING), (None, ACCOUNT)],
)
def test_without_a_code_the_status_decides_in_every_language(said, status, refusal):
    """A5: words that are not read change nothing. A 429 that is meant for the account is sent again after ever longer
    pauses with one upload (test_growing_pauses), and its words are in the error at the deadline."""
    words = words_of({"error": {"message": said, "type": None, "code": None}})
    assert refusal_of(words.codes, words.message, status) is refusal


@pytest.mark.parametrize(("status", "body", "refusal"), BODIES)
def test_what_providers_say(status, body, refusal):
    """A4, A12, B12: code before words before status."""
    words = words_of(body)
    assert refusal_of(words.codes, words.message, status) is refusal


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (429, "insufficient_quota", "m", AccountError),
        (403, "insufficient_quota", "m", AccountError),
        (402, None, "m", AccountError),
        (401, None, "m", AuthenticationError),
        (401, "rate_limit_exceeded", "m", AuthenticationError),
        (403, None, "may not", AuthenticationError),
        (403, None, "User rate limit exceeded", RateLimitedError),
        (429, None, "m", RateLimitedError),
        (400, None, "the file is pending", NotReadyError),
        (400, "token_limit_exceeded", "m", QuotaError),
        (400, None, "m", RequestRejectedError),
        (418, "x", "m", AccountError),
    ],
)
def test_errors_of_calls(status, code, message, kind):
    """A5, A11: the same classes for calls."""
    words = words_of({"error": {"code": code, "message": message}})
    assert type(error_of("text", words, status, 7.0)) is kind


def test_growing_pauses():
    """A5, A11, X26: longer and longer, never shorter than asked, and an end for account and file."""
    account, file = AccountError("x"), NotReadyError("x")
    assert [pause_after(account, times, 0) for times in range(1, 6)] == [60, 120, 240, None, None]
    assert [pause_after(RateLimitedError("x"), times, 1e6) for times in (1, 2, 9, 999)] == [60, 120, 900, 900]
    assert pause_after(QuotaError("x", retry_after=1000), 1, 0) == 1000
    assert [pause_after(file, times, 0) for times in (1, 2, 5, 50)] == [5, 10, 60, 60]
    assert pause_after(file, 9, NOT_READY_SECONDS) is None
    assert pause_after(RequestRejectedError("x"), 1, 0) is None
    assert pause_after(ProviderError("x"), 1, 0) is None


@pytest.mark.parametrize(
    ("errors", "why", "code"),
    [
        ([], None, "batch_failed"),
        ([JobError("?", "new_code")], None, "batch_failed"),
        ([JobError("m", "invalid_json_line", 3)], REQUEST, "batch_failed"),
        ([JobError("m", "server_error", 3)], REQUEST, "batch_failed"),
        ([JobError("m", "server_error"), JobError("m", "invalid_json_line")], REQUEST, "batch_failed"),
        ([JobError("m", "server_error"), JobError("m", "billing_hard_limit_reached")], ACCOUNT, "batch_refused"),
        ([JobError("m", "internal_error")], PASSING, "batch_interrupted"),
        ([JobError("Internal error encountered.", "13")], PASSING, "batch_interrupted"),
        ([JobError("The batch queue is full.")], FULL, "token_limit_exceeded"),
        ([JobError("m", "server_error"), JobError("m", "token_limit_exceeded")], FULL, "token_limit_exceeded"),
    ],
)
def test_whole_batches(errors, why, code):
    """A12: the same table; the rows' lines are read back as the class they were given."""
    assert why_failed(errors) is why
    told, message = absence(JobStatus.FAILED, errors, 0, "")
    assert told == code
    again = read_line(error_line("row", told, message)).refusal
    assert again is (Refusal.WITHDRAWN if code == "batch_failed" else why)


def test_the_table_is_sound():
    """Every entry has its source; no code is in two classes; every pattern compiles and means something."""
    seen = {}
    for refusal, source, codes in CODES:
        assert source
        for code in codes.split():
            plain = re.sub("[^a-z0-9]", "", code.lower())
            assert seen.setdefault(plain, refusal) is refusal, code
            assert decided([code], "", 400) is refusal
    for _, source, pattern in WORDS:
        assert source
        assert re.compile(pattern).search("") is None
    assert (len(GRPC), GRPC[7], GRPC[13]) == (16, "resourceexhausted", "unavailable")
    for code, refusal in OWN.items():
        assert read_line(error_line("row", code, "why")).refusal is refusal


@given(st.text(), st.text(), st.none() | st.integers(-5, 700))
def test_any_text_has_a_class(code, message, status):
    """Whatever a server sends, there is one answer, and it is the same for the row that is written down."""
    assert isinstance(refusal_of([code], message, status), Refusal)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_body_has_words(body):
    """No body is too odd."""
    assert isinstance(words_of(body).message, str)


@pytest.mark.parametrize("text", ["file " * 1000, "a" * 100_000, "quota " * 800, "account " * 800, '"code": ' * 900])
def test_long_messages_are_cheap(text):
    """Bounded: no pattern walks over a long message again and again."""
    assert isinstance(refusal_of([], text, 400), Refusal)
