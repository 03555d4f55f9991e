"""Every error a user of Rewake can meet: one stable code, what happened, why, and what to do.

RW1xxx configuration, RW2xxx deployments, RW3xxx execution, RW4xxx ingress, RW5xxx store. A code is never reused.
The SDK-facing numbers of the service protocol (RT0007, 570 ...) are a separate matter and stay as they are.
Each code has its meaning beside it here and a page in docs/reference/errors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

EXPLAIN = "rewake explain "
"""The command that shows the page of a code."""

_INDENT = " " * len("RW2003  ")


class ErrorCode(StrEnum):
    """The stable codes. `meaning` is the one line that is the same for every occurrence."""

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    # RW1xxx configuration
    APP_IMPORT_FAILED = "RW1001", "The app file or module could not be imported"
    APP_NOT_FOUND = "RW1002", "No restate app or services were found in the file or module"
    SETTING_UNKNOWN = "RW1003", "The settings file has a key that is not a setting"
    SETTING_INVALID = "RW1004", "A setting has a value that cannot be used"
    PORT_IN_USE = "RW1005", "A port cannot be listened on"
    EXAMPLE_UNKNOWN = "RW1006", "No example has that name"
    FOLDER_EXISTS = "RW1007", "The folder to write into is there already"
    EXTRA_MISSING = "RW1008", "A package that only some features need is not installed"
    ADMIN_UNREACHABLE = "RW1009", "The admin API could not be reached"
    ADMIN_REFUSED = "RW1010", "The admin API answered with an error"
    DEMO_FAILED = "RW1011", "The demo did not go as it should"
    IDENTITY_KEY_INVALID = "RW1012", "The identity key cannot be used"
    STATE_FILE_INVALID = "RW1013", "The state file cannot be imported"
    STATE_NOT_TRANSFERRED = "RW1014", "The state was not exported or imported completely"
    ADMIN_NOT_FOUND = "RW1015", "The address is not that of a Restate admin API"
    ADMIN_TOO_OLD = "RW1016", "The server's tables are not those the web UI reads"
    INGRESS_UNREACHABLE = "RW1017", "The ingress could not be reached"
    TLS_CERTIFICATE_INVALID = "RW1018", "The TLS certificate or its key cannot be used"
    CODE_UNKNOWN = "RW1019", "No error has that code"
    OPEN_TO_ALL = "RW1022", "The ports would be open to everybody who reaches them"
    TOKENS_INVALID = "RW1023", "The access tokens cannot be used"
    CRASH_TEST_FAILED = "RW1024", "The crash test could not be made"
    ENCRYPTION_KEYS_INVALID = "RW1025", "The encryption keys cannot be used"
    JOURNAL_FILE_INVALID = "RW1026", "A file is no journal that this release reads"

    # RW2xxx deployments
    WORKER_START_FAILED = "RW2001", "The worker process did not become ready"
    DEPLOYMENT_UNREACHABLE = "RW2003", "The deployment could not be reached"
    DISCOVERY_REFUSED = "RW2004", "The deployment answered discovery with an error"
    DISCOVERY_INVALID = "RW2005", "The deployment's discovery answer could not be understood"
    DEPLOYMENT_ADDRESS_INVALID = "RW2006", "The address is not that of a deployment"
    DEPLOYMENT_HEADER_INVALID = "RW2007", "An additional header of the deployment cannot be sent"
    DEPLOYMENT_NOT_HTTP2 = "RW2008", "The deployment does not speak HTTP/2"
    DEPLOYMENT_TLS_FAILED = "RW2009", "No secure connection to the deployment could be made"
    PROTOCOL_VERSION_UNSUPPORTED = "RW2010", "The deployment speaks no service protocol this engine knows"
    SERVICE_TYPE_CHANGED = "RW2011", "The deployment changes the type of a service that is registered"
    SERVICE_NAME_RESERVED = "RW2012", "A service has a name that is reserved"
    DEPLOYMENT_IN_USE = "RW2013", "The deployment is still in use"
    DEPLOYMENT_LOCAL = "RW2014", "The deployment is this engine's own and has no address to change"

    # RW3xxx execution
    ENGINE_STOPPED = "RW3001", "The engine is not running"
    TARGET_UNKNOWN = "RW3002", "No such service or handler is registered"
    ENGINE_BUG = "RW3003", "The engine met a state it should never be in"
    WORKER_KILLED = "RW3004", "An invocation ends the worker process it runs in"
    VALUE_NOT_STORABLE = "RW3005", "A value cannot be stored"
    RESULT_TOO_LARGE = "RW3006", "The result of a step or of a handler is over the limit"

    # RW4xxx ingress and admin API
    SERVICE_NOT_FOUND = "RW4001", "No service of that name is registered"
    HANDLER_NOT_FOUND = "RW4002", "The service has no handler of that name"
    HANDLER_PRIVATE = "RW4003", "The service or handler may only be called by other handlers"
    PATH_INVALID = "RW4004", "The path has none of the forms the ingress knows"
    METHOD_NOT_ALLOWED = "RW4005", "The path does not take this HTTP method"
    INPUT_INVALID = "RW4006", "The body or content type is not what the handler declares"
    DELAY_INVALID = "RW4007", "The delay is no duration, or is not allowed here"
    IDEMPOTENCY_KEY_INVALID = "RW4008", "The idempotency key is not allowed here, or is too long"
    HEADER_INVALID = "RW4009", "A header value has characters that are not visible ASCII"
    ID_INVALID = "RW4010", "The text is no id of the kind expected"
    INVOCATION_NOT_FOUND = "RW4011", "No such invocation is known, or it has been forgotten"
    INVOCATION_NOT_COMPLETED = "RW4012", "The invocation has no result yet"
    BODY_TOO_LARGE = "RW4013", "The request body is over the limit"
    BODY_INVALID = "RW4014", "The request body could not be understood"
    OVERLOADED = "RW4015", "More requests are in flight than the ingress allows"
    SCOPE_UNSUPPORTED = "RW4016", "Scopes and limit keys are not supported"
    KEY_INVALID = "RW4017", "The object or workflow key is not valid UTF-8, or is too long"
    REQUEST_INVALID = "RW4018", "A field or parameter of the request has a value that is not allowed"
    DEPLOYMENT_NOT_FOUND = "RW4019", "No such deployment is registered"
    OPERATION_CONFLICT = "RW4020", "The invocation is in a status that does not allow the operation"
    OPERATION_UNSUPPORTED = "RW4021", "This release does not offer the operation"
    RESOURCE_NOT_FOUND = "RW4023", "No such subscription or Kafka cluster exists"
    ORIGIN_REFUSED = "RW4024", "A web page of another site sent the request"
    HOST_REFUSED = "RW4025", "The request is for a name that is not this server's"
    APPROVAL_NOT_FOUND = "RW4026", "No such approval is known"
    APPROVAL_ANSWERED = "RW4027", "The approval has been answered already"
    APPROVAL_EXPIRED = "RW4028", "The deadline of the approval has passed"
    APPROVAL_CHANGED = "RW4029", "The answer is for other arguments than those that wait"
    APPROVAL_PERSON_REFUSED = "RW4030", "The person's answer does not count towards the quorum"
    APPROVAL_RUN_ENDED = "RW4031", "The run that asked has ended"
    APPROVAL_LINK_INVALID = "RW4032", "The link is not one that this engine made"
    APPROVAL_LINK_EXPIRED = "RW4033", "The link can no longer be used"
    APPROVAL_STALE = "RW4034", "The code has changed since the question was put"
    TOKEN_MISSING = "RW4040", "The request shows no access token that is known"
    ROLE_MISSING = "RW4041", "The access token does not allow the request"

    # RW5xxx store
    STORE_LOCKED = "RW5001", "Another engine is using the data directory"
    STORE_NEWER = "RW5002", "The database was written by a newer release"
    STORE_CORRUPT = "RW5003", "The database is damaged, or is not one of Rewake's"
    STORE_NOT_WRITABLE = "RW5004", "The data directory or the database cannot be written"
    STORE_FULL = "RW5005", "The disk is full"
    STORE_FAILED = "RW5006", "A write to the database failed"
    SQLITE_TOO_OLD = "RW5007", "The SQLite library is too old to be safe"
    STORE_CLOSED = "RW5008", "The store was used after it was closed"
    QUERY_INVALID = "RW5009", "The SQL query could not be understood"
    QUERY_NOT_READ_ONLY = "RW5010", "The SQL query would change something"
    QUERY_TIMED_OUT = "RW5011", "The SQL query took too long"
    QUERY_TOO_LARGE = "RW5012", "The result of the SQL query is too large"
    STORE_LOG_FOREIGN = "RW5013", "The write-ahead log does not belong to the database"
    BACKUP_REFUSED = "RW5014", "The backup cannot be made or put in place"
    DESCRIPTORS_EXHAUSTED = "RW5015", "The process has no file descriptors left"


class RewakeError(Exception):
    """An error for a user to read.

    code: the stable code.   message: what happened, then on further lines why.   hint: what to do about it.
    facts: ids and values for logs and JSON; never needed to understand the message.
    """

    def __init__(self, code: ErrorCode, message: str, hint: str = "", **facts: Any) -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint
        self.facts: dict[str, Any] = facts

    def __str__(self) -> str:
        lines = [*self.message.splitlines(), *self.hint.splitlines()]
        return f"{self.code.value}  " + f"\n{_INDENT}".join(lines)

    @property
    def docs(self) -> str:
        """The command that shows the page of this code."""
        return EXPLAIN + self.code.value

    def to_json(self) -> dict[str, str]:
        """The four fields every error body of ingress and admin carries."""
        return {"code": self.code.value, "message": self.message, "hint": self.hint, "docs": self.docs}
