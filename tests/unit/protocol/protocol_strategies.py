"""Random messages of every kind, within what their fields can carry."""

from __future__ import annotations

from hypothesis import strategies as st

from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType

U32 = st.integers(0, 2**32 - 1)
TIME_MS = st.integers(0, 2**63 - 1)
DURATION_MS = st.integers(0, 2**62)
CODE = st.integers(0, 2**16 - 1)
TEXT = st.text(max_size=12)
BYTES = st.binary(max_size=12) | st.just(b"x" * 200)
OPTIONAL_TEXT = st.none() | TEXT
HEADERS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)

success = st.builds(m.Success, BYTES)
failure = st.builds(m.Failure, CODE, TEXT, HEADERS)
void = st.just(m.VOID)
outcome = success | failure
signal_result = void | outcome
state_keys = st.builds(m.StateKeys, st.lists(BYTES, max_size=3).map(tuple))
invocation_id_result = st.builds(m.InvocationIdResult, TEXT)
signal_id = U32 | TEXT


_ids = st.lists(U32, max_size=3).map(tuple)
_names = st.lists(TEXT, max_size=2).map(tuple)
_combinators = st.sampled_from(m.Combinator)


def _parents(nested: st.SearchStrategy[m.Future]) -> st.SearchStrategy[m.Future]:
    return st.builds(m.Future, _ids, _ids, _names, st.lists(nested, max_size=3).map(tuple), _combinators)


futures = st.recursive(st.builds(m.Future, _ids, _ids, _names, combinator=_combinators), _parents, max_leaves=8)
futures_with_a_leaf = futures.map(lambda future: m.Future((1, *future.completions), nested=(future,)))

target = (
    st.builds(m.InvocationIdTarget, TEXT)
    | st.builds(m.IdempotentRequestTarget, TEXT, OPTIONAL_TEXT, TEXT, TEXT, OPTIONAL_TEXT)
    | st.builds(m.WorkflowTarget, TEXT, TEXT, OPTIONAL_TEXT)
)

start = st.builds(
    m.Start,
    id=BYTES,
    debug_id=TEXT,
    known_entries=U32,
    state=st.lists(st.tuples(BYTES, BYTES), max_size=3).map(tuple),
    partial_state=st.booleans(),
    key=TEXT,
    retry_count_since_last_stored_entry=U32,
    duration_since_last_stored_entry=DURATION_MS,
    random_seed=st.integers(0, 2**64 - 1),
    scope=OPTIONAL_TEXT,
    limit_key=OPTIONAL_TEXT,
    idempotency_key=OPTIONAL_TEXT,
)
error = st.builds(
    m.Error,
    code=CODE,
    message=TEXT,
    stacktrace=TEXT,
    related_command_index=st.none() | U32,
    related_command_name=OPTIONAL_TEXT,
    related_command_type=st.none() | U32,
    next_retry_delay=st.none() | DURATION_MS,
    behavior=st.sampled_from(m.ErrorBehavior),
)
call = {
    "service_name": TEXT,
    "handler_name": TEXT,
    "parameter": BYTES,
    "headers": HEADERS,
    "key": TEXT,
    "idempotency_key": OPTIONAL_TEXT,
    "scope": OPTIONAL_TEXT,
    "limit_key": OPTIONAL_TEXT,
    "invocation_id_completion_id": U32,
    "name": TEXT,
}

commands: st.SearchStrategy[m.Command] = st.one_of(
    st.builds(m.InputCommand, HEADERS, BYTES, TEXT),
    st.builds(m.OutputCommand, outcome, TEXT),
    st.builds(m.GetLazyStateCommand, BYTES, U32, TEXT),
    st.builds(m.SetStateCommand, BYTES, BYTES, TEXT),
    st.builds(m.ClearStateCommand, BYTES, TEXT),
    st.builds(m.ClearAllStateCommand, TEXT),
    st.builds(m.GetLazyStateKeysCommand, U32, TEXT),
    st.builds(m.GetEagerStateCommand, BYTES, void | success, TEXT),
    st.builds(m.GetEagerStateKeysCommand, st.lists(BYTES, max_size=3).map(tuple), TEXT),
    st.builds(m.GetPromiseCommand, TEXT, U32, TEXT),
    st.builds(m.PeekPromiseCommand, TEXT, U32, TEXT),
    st.builds(m.CompletePromiseCommand, TEXT, outcome, U32, TEXT),
    st.builds(m.SleepCommand, TIME_MS, U32, TEXT),
    st.builds(m.CallCommand, **call, result_completion_id=U32),
    st.builds(m.OneWayCallCommand, **call, invoke_at_ms=TIME_MS),
    st.builds(m.SendSignalCommand, TEXT, signal_id, signal_result, TEXT),
    st.builds(m.RunCommand, U32, TEXT),
    st.builds(m.AttachInvocationCommand, target, U32, TEXT),
    st.builds(m.GetInvocationOutputCommand, target, U32, TEXT),
    st.builds(m.CompleteAwakeableCommand, TEXT, outcome, TEXT),
)

RESULTS_OF: dict[MessageType, st.SearchStrategy[m.Result]] = {
    MessageType.GET_LAZY_STATE_COMPLETION: void | success,
    MessageType.GET_LAZY_STATE_KEYS_COMPLETION: state_keys,
    MessageType.GET_PROMISE_COMPLETION: outcome,
    MessageType.PEEK_PROMISE_COMPLETION: void | outcome,
    MessageType.COMPLETE_PROMISE_COMPLETION: void | failure,
    MessageType.SLEEP_COMPLETION: void,
    MessageType.CALL_COMPLETION: outcome,
    MessageType.CALL_INVOCATION_ID_COMPLETION: invocation_id_result,
    MessageType.RUN_COMPLETION: outcome,
    MessageType.ATTACH_INVOCATION_COMPLETION: outcome,
    MessageType.GET_INVOCATION_OUTPUT_COMPLETION: void | outcome,
}
notifications: st.SearchStrategy[m.Notification] = st.builds(m.Signal, signal_id, signal_result) | st.one_of(
    [st.builds(m.Completion, st.just(type_), U32, results) for type_, results in RESULTS_OF.items()]
)
messages: st.SearchStrategy[m.Message] = st.one_of(
    start,
    st.builds(m.Suspension, futures_with_a_leaf),
    error,
    st.just(m.End()),
    st.builds(m.CommandAck, U32),
    st.builds(m.ProposeRunCompletion, U32, outcome),
    st.builds(m.AwaitingOn, futures, st.booleans()),
    st.builds(m.ProposeRunCompletionAck, U32),
    commands,
    notifications,
)
