"""What providers say when they refuse, each with where it was seen; read by :mod:`.refusals` alone.

Codes are compared without case and punctuation, so ``InternalServerError`` is ``internal_server_error``. A code that a
provider uses for faults of several kinds (``invalid_request_error``, ``ValidationException``) is in no table of codes:
then the words decide, and after them the status.
"""

from __future__ import annotations

from typing import TypeAlias

from airflow_batch_provider.core.records import Refusal

Source: TypeAlias = str
_REQUEST, _ACCOUNT, _PASSING = Refusal.REQUEST, Refusal.ACCOUNT, Refusal.PASSING
_NOT_YET, _FULL, _WITHDRAWN = Refusal.NOT_YET, Refusal.FULL, Refusal.WITHDRAWN

OWN: dict[str, Refusal] = {
    "missing": _PASSING,
    "batch_interrupted": _PASSING,
    "batch_refused": _ACCOUNT,
    "batch_failed": _WITHDRAWN,
    "batch_cancelled": _WITHDRAWN,
    "budget_exceeded": _WITHDRAWN,
    "deadline_passed": _WITHDRAWN,
    "below_minimum": _REQUEST,
    "create_lost": _REQUEST,
    "unreadable_answer": _REQUEST,
    "job_lost": _REQUEST,
    "output_lost": _REQUEST,
    "not_collected": _REQUEST,
}
"""Our own codes, and OpenAI's ``batch_cancelled``, of rows for which no answer came; see :mod:`.reconciling`. A paid
answer that cannot be read, or is gone, would be paid again; ``on_lost_job`` says whether to."""

CODES: tuple[tuple[Refusal, Source, str], ...] = (
    # ---- the request
    (
        _REQUEST,
        "OpenAI API reference, error codes",
        (
            "context_length_exceeded string_above_max_length content_filter content_policy_violation invalid_prompt "
            "unsupported_parameter unsupported_value unknown_parameter missing_required_parameter"
        ),
    ),
    (
        _REQUEST,
        "Azure OpenAI, global batch, error codes",
        (
            "invalid_json_line too_many_tasks url_mismatch duplicate_custom_id empty_file model_mismatch "
            "invalid_request input_modified"
        ),
    ),
    (_REQUEST, "Anthropic API, errors", "request_too_large"),
    # ---- an answer of the Responses API that is none
    (
        _PASSING,
        "OpenAI API reference, the response object: status",
        "response_failed response_cancelled response_queued response_in_progress",
    ),
    # ---- the account: key, access, deployment, money
    (
        _ACCOUNT,
        "OpenAI, error codes; learn.microsoft.com dev-proxy, openai-insufficient-quota; hato-bot#4552",
        (
            "insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded "
            "project_spend_limit_exceeded organization_usage_limit_exceeded quota_exceeded"
        ),
    ),
    (_ACCOUNT, "bespokelabsai/curator#296", "billing_hard_limit_reached billing_not_active"),
    (_ACCOUNT, "forum.moonshot.ai, 429-insufficient-balance", "exceeded_current_quota_error"),
    (
        _ACCOUNT,
        "OpenAI, error codes",
        (
            "account_deactivated access_terminated invalid_api_key incorrect_api_key invalid_authentication "
            "ip_not_authorized mismatched_organization mismatched_project invalid_organization model_not_found "
            "unsupported_country_region_territory"
        ),
    ),
    (
        _ACCOUNT,
        "Azure OpenAI, global batch, error codes; azure-sdk-for-java#47401 (500 files are stored already)",
        "DeploymentNotFound input_no_permissions quotaExceeded PermissionDenied Unauthorized AccessDenied",
    ),
    (_ACCOUNT, "Anthropic API, errors", "authentication_error billing_error permission_error"),
    (
        _ACCOUNT,
        "Amazon Bedrock and IAM, common errors",
        (
            "AccessDeniedException AllAccessDisabled ExpiredToken ExpiredTokenException IncompleteSignature "
            "InvalidAccessKeyId InvalidClientTokenId InvalidSignatureException InvalidToken MissingAuthenticationToken "
            "MissingAuthenticationTokenException SignatureDoesNotMatch UnrecognizedClientException OptInRequired"
        ),
    ),
    (
        _ACCOUNT,
        "Google, google.rpc.ErrorReason",
        (
            "BILLING_DISABLED SERVICE_DISABLED API_KEY_INVALID API_KEY_SERVICE_BLOCKED CONSUMER_SUSPENDED "
            "CONSUMER_INVALID USER_PROJECT_DENIED ACCESS_TOKEN_EXPIRED IAM_PERMISSION_DENIED"
        ),
    ),
    # ---- not yet
    (_NOT_YET, "openai-dotnet#312 (the code of gateways: unverified)", "file_not_ready file_not_processed"),
    # ---- passing
    (
        _PASSING,
        "OpenAI API reference, error codes; tobert/kaibo#169 (whole batches)",
        (
            "server_error internal_error internal_server_error api_error slow_down engine_overloaded "
            "service_unavailable batch_expired request_timeout vector_store_timeout"
        ),
    ),
    (_PASSING, "Anthropic API, errors", "overloaded overloaded_error rate_limit_error timeout_error"),
    (
        _PASSING,
        "Amazon Bedrock and S3, common errors",
        (
            "InternalServerException InternalFailure InternalError ServiceUnavailable ServiceUnavailableException "
            "ModelTimeoutException ModelErrorException ModelNotReadyException ModelStreamErrorException SlowDown "
            "RequestLimitExceeded Throttling ThrottlingException TooManyRequestsException RequestTimeout "
            "RequestTimeoutException"
        ),
    ),
    (
        _PASSING,
        "pydantic-ai#631, langgraph#6574; botocore, bedrock-runtime StopReason",
        "MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL malformed_model_output malformed_tool_use",
    ),
    # ---- full
    (
        _FULL,
        "Azure OpenAI, global batch, error codes; openai-python#2084; Amazon Bedrock, CreateModelInvocationJob",
        "token_limit_exceeded batch_queue_full ServiceQuotaExceededException",
    ),
)
"""What one code alone decides."""

WORDS: tuple[tuple[Refusal, Source, str], ...] = (
    # Before the account: Google says of files that it may not read them while it is still giving itself the right.
    (_NOT_YET, "GoogleCloudPlatform/generative-ai#1308", r"service agents are being provisioned"),
    (
        _NOT_YET,
        "openai-dotnet#312 (Azure: a batch requires its file in the state processed)",
        (
            r"\bfile\b.{0,80}\b(pending|not (yet )?(been )?(processed|ready)|"
            r"(still|being) (being )?process(ed|ing)|uploading)\b"
        ),
    ),
    (_NOT_YET, "openai-dotnet#312", r"\b(pending|not (yet )?processed)\b.{0,80}\bfile\b|^\W*pending\W*$"),
    (
        _NOT_YET,
        "curator#116, tobert/kaibo#169 (a file that was just uploaded and is there)",
        r"cannot find file file-\S+, or \w+ \S+ does not have access to it",
    ),
    (_NOT_YET, "Google, operations", r"being provisioned|(is|are) not ready yet"),
    (_ACCOUNT, "Amazon Bedrock, model access", r"use case details have not been submitted"),
    (
        _PASSING,
        "OpenAI, rate limits; Azure API Management, rate-limit policy; langchain4j#3942 (a quota a minute)",
        r"(retry|try again) (after|in) [\d.]+ ?(ms|s|sec|m\b|min)",
    ),
    # Never passes, although the status is 429.
    (_REQUEST, "OpenAI, rate limits", r"request too large for|must be reduced in order to run"),
    (_FULL, "openai-python#2084, litellm#37539", r"enqueued[ -]tokens?|batch enqueued"),
    (
        _FULL,
        "seen in batches that failed without a code; gateways",
        r"queue (is |was )?(too )?full|too many (active|concurrent|queued) (batch|job)",
    ),
    (
        _FULL,
        "Amazon Bedrock, quotas",
        r"(maximum|limit|quota).{0,60}\b(number of|in.progress|concurrent)\b.{0,40}\bjobs?\b",
    ),
    (
        _ACCOUNT,
        "OpenAI, error codes; hato-bot#4552; langchain4j#3942 (Gemini's words are the same)",
        (
            r"exceeded your current (\w+ )?quota|check your (plan and billing|account balance)|"
            r"billing (hard|soft) limit|account is not active|"
            r"(account|organi[sz]ation|project)\b.{0,40}\b(deactivated|suspended|disabled|terminated|restricted)\b"
        ),
    ),
    (
        _ACCOUNT,
        "Anthropic API, errors; OpenRouter, Together, DeepSeek: 402",
        (
            r"credit balance is too low|credits? (are|is|have been|has been) (depleted|exhausted|used up)|"
            r"insufficient (credit|fund|balance|quota)|out of credits|payment required|"
            r"(spend(ing)?|monthly|usage|budget|credit)s? limit\w* .{0,30}(reached|exceeded)|"
            r"exceed\w* .{0,30}(spend(ing)?|monthly|usage|budget|credit)s? limit|budget (has been |was |is )?exceeded|"
            r"over budget"
        ),
    ),
    (_ACCOUNT, "Google, BILLING_DISABLED", r"requires billing|billing (is|has been|account).{0,40}(disabled|not)"),
    (
        _ACCOUNT,
        "Kimi, error reference; api-docs.deepseek.com, error codes (402 comes with the code invalid_request_error)",
        r"reached (your|the) (\w+ )?(usage|spend(ing)?|billing|budget) limit|insufficient account balance",
    ),
    (
        _ACCOUNT,
        "google-gemini/gemini-cli#24641; aws-samples/generative-bi-using-rag#361 (both 400); zed#30496 (451)",
        (
            r"(user )?location is not supported|unsupported (countries|country|region)|"
            r"not available in your (country|region)|not available from this data center"
        ),
    ),
    (_PASSING, "Mistral AI: continuedev/continue#6185 (type invalid_request_error)", r"tier capacity exceeded"),
    (
        _ACCOUNT,
        "OpenAI, Azure, API Management: 401 and 403",
        (
            r"(incorrect|invalid|expired|missing) (api|subscription|access) key|invalid subscription key|"
            r"(api|subscription|access) key (is |was |has )?(not valid|invalid|expired|been revoked|missing)|"
            r"invalid authentication|out of call volume quota|security token .{0,30}(invalid|expired)|"
            r"unsupported country|country, region, or territory not supported"
        ),
    ),
    (
        _ACCOUNT,
        "Bedrock, Vertex AI, OpenAI: access to a model",
        (
            r"(do|does|did) not have (the )?(required )?(access|permission)|don.?t have (access|permission)|"
            r"not authorized to (perform|access|invoke)|access denied|permission .{0,60}denied|must be verified to|"
            r"operation not allowed|"
            r"api deployment for this resource does not exist"
        ),
    ),
    (_FULL, "Vertex AI, quotas", r"quotas? (\S+ ){0,3}exceeded|exceed\w* (\S+ ){0,3}quota"),
    (
        _PASSING,
        "Bedrock, Vertex AI, OpenAI, gateways",
        (
            r"too many requests|rate limit|rate exceeded|throttl|overloaded|slow ?down|temporar(y|ily)|"
            r"internal (server )?error|internal issue|(service|model|server) .{0,30}unavailable|"
            r"bad gateway|gateway time-?out|timed? ?out|deadline exceeded|resource (has been )?exhausted|at capacity|"
            r"had an error (while )?processing|(please )?(try again|retry) (later|in|shortly|after)|fetch failed|"
            r"connection (error|reset|refused|aborted)"
        ),
    ),
    (_REQUEST, "Vertex AI, status of a row: HTTP's reason", r"^\W*(bad request|not found|unprocessable)"),
)
"""What a message decides, the first that fits; searched without case. Bounded repeats keep long messages cheap."""

STATUS_WORDS: dict[str, Refusal] = {
    "cancelled": _PASSING,
    "unknown": _PASSING,
    "invalidargument": _REQUEST,
    "deadlineexceeded": _PASSING,
    "notfound": _REQUEST,
    "alreadyexists": _REQUEST,
    "permissiondenied": _ACCOUNT,
    "resourceexhausted": _FULL,
    "failedprecondition": _REQUEST,
    "aborted": _PASSING,
    "outofrange": _REQUEST,
    "unimplemented": _REQUEST,
    "internal": _PASSING,
    "unavailable": _PASSING,
    "dataloss": _PASSING,
    "unauthenticated": _ACCOUNT,
    # OpenAI's and Anthropic's types, which say no more than the status they come with.
    "ratelimitexceeded": _PASSING,
    "requests": _PASSING,
    "tokens": _PASSING,
    "invalidrequesterror": _REQUEST,
    "badrequest": _REQUEST,
    "notfounderror": _REQUEST,
    "validationexception": _REQUEST,
}
"""A status by its name: gRPC's in the order of their numbers from 1 (grpc.io, status codes), then generic types."""
GRPC: tuple[str, ...] = tuple(STATUS_WORDS)[:16]
