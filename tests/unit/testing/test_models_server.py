"""The scripted model server through the providers' own clients."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from rewake.testing.models import CallCount, ModelServer, failure, in_turn, rule, text, tool_call

TRANSFER = "transfer_to_medical"
RULES = [
    rule(name="route", when_tool=TRANSFER, says="hospital", answer=tool_call(TRANSFER, {"why": "a leg, broken twice"})),
    rule(name="medical", system="medical specialist", answer=text("Rest, and keep the bill.", output_tokens=7)),
    rule(name="busy", says="busy", answer=in_turn(failure(429, "slow down", retry_after_s=0.01), text("free again"))),
]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"why": {"type": "string"}}}
RESPONSES_TOOL: Any = {"type": "function", "name": TRANSFER, "parameters": SCHEMA, "strict": False}
CHAT_TOOL: Any = {"type": "function", "function": {"name": TRANSFER, "parameters": SCHEMA}}
HOSPITAL: Any = [{"role": "user", "content": "I was in hospital"}]
MEDICAL: Any = [{"role": "system", "content": "You are the medical specialist"}, {"role": "user", "content": "hi"}]


def client_of(server: ModelServer, max_retries: int = 0) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=max_retries)


def test_responses_give_text_tool_calls_and_usage() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            routed = await client.responses.create(model="gpt-5", input="to hospital", tools=[RESPONSES_TOOL])
            call = routed.output[0]
            assert call.type == "function_call"
            assert (call.name, call.arguments) == (TRANSFER, '{"why": "a leg, broken twice"}')
            said = await client.responses.create(model="gpt-5", input="hi", instructions="A medical specialist")
            assert (said.output_text, said.model) == ("Rest, and keep the bill.", "gpt-5")
            assert said.usage is not None and said.usage.output_tokens == 7

    asyncio.run(play())


def test_responses_stream_typed_events() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            async with client.responses.stream(model="gpt-5", input="hospital", tools=[RESPONSES_TOOL]) as events:
                routed = await events.get_final_response()
            assert routed.output[0].type == "function_call"
            async with client.responses.stream(model="gpt-5", input=MEDICAL) as events:
                deltas = [event.delta async for event in events if event.type == "response.output_text.delta"]
            assert len(deltas) > 1 and "".join(deltas) == "Rest, and keep the bill."

    asyncio.run(play())


def test_a_streamed_answer_hangs_in_its_middle_until_released() -> None:
    """And comes no faster than its pace."""

    async def play() -> None:
        held = rule(name="slow", answer=text("one two three four"), pace_s=0.001, hold_after=5)
        async with ModelServer([held]) as server, client_of(server) as client:
            async with client.responses.stream(model="gpt-5", input="hi") as events:
                said = ""
                async for event in events:
                    if event.type == "response.output_text.delta":
                        said += event.delta
                        if len(said) < len("one two three four"):
                            server.release("slow")
            assert said == "one two three four"
            server.reset()
            asking = asyncio.ensure_future(client.responses.create(model="gpt-5", input="hi"))
            assert (await asking).output_text == "one two three four"  # one that comes whole does not hang

    asyncio.run(play())


def test_chat_gives_text_and_tool_calls() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            routed = await client.chat.completions.create(model="gpt-5", messages=HOSPITAL, tools=[CHAT_TOOL])
            choice = routed.choices[0]
            assert choice.finish_reason == "tool_calls" and choice.message.tool_calls is not None
            assert choice.message.tool_calls[0].type == "function"
            assert choice.message.tool_calls[0].function.name == TRANSFER
            said = await client.chat.completions.create(model="gpt-5", messages=MEDICAL)
            assert said.choices[0].message.content == "Rest, and keep the bill."
            assert said.usage is not None and said.usage.completion_tokens == 7

    asyncio.run(play())


def test_chat_streams_deltas_and_usage() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            chunks = await client.chat.completions.create(
                model="gpt-5", messages=MEDICAL, stream=True, stream_options={"include_usage": True}
            )
            seen = [chunk async for chunk in chunks]
            said = "".join(chunk.choices[0].delta.content or "" for chunk in seen if chunk.choices)
            assert said == "Rest, and keep the bill."
            assert seen[-1].usage is not None and seen[-1].usage.completion_tokens == 7
            async with client.chat.completions.stream(model="gpt-5", messages=HOSPITAL, tools=[CHAT_TOOL]) as events:
                final = await events.get_final_completion()
            calls = final.choices[0].message.tool_calls
            assert calls is not None
            assert calls[0].function.arguments == '{"why": "a leg, broken twice"}'

    asyncio.run(play())


def test_gemini_gives_text_function_calls_streams_and_refusals() -> None:
    from google import genai  # a second of processor time, which no other test needs
    from google.genai import types

    async def play() -> None:
        with ModelServer(RULES) as server:
            options = types.HttpOptions(base_url=server.url)
            client = genai.Client(api_key="any", http_options=options).aio
            tool = types.Tool(function_declarations=[types.FunctionDeclaration(name=TRANSFER, description="go")])
            routed = await client.models.generate_content(
                model="gemini-flash", contents="hospital", config=types.GenerateContentConfig(tools=[tool])
            )
            assert routed.function_calls is not None and routed.function_calls[0].name == TRANSFER
            config = types.GenerateContentConfig(system_instruction="medical specialist")
            said = await client.models.generate_content(model="gemini-flash", contents="hi", config=config)
            assert said.text == "Rest, and keep the bill."
            assert said.usage_metadata is not None and said.usage_metadata.candidates_token_count == 7
            chunks = await client.models.generate_content_stream(model="gemini-flash", contents="hi", config=config)
            assert [chunk.text async for chunk in chunks] == ["Rest, and ke", "ep the bill."]
            assert {request.model for request in server.requests} == {"gemini-flash"}
            with pytest.raises(genai.errors.ClientError, match="INVALID_ARGUMENT"):
                await client.models.generate_content(model="gemini-flash", contents="hospital")
            await client.aclose()

    asyncio.run(play())


def test_every_request_is_recorded_in_the_same_words() -> None:
    messages: Any = [
        *MEDICAL,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]
    items: Any = [
        *MEDICAL,
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
    ]

    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            await client.chat.completions.create(model="gpt-5", messages=messages, tools=[CHAT_TOOL])
            await client.responses.create(model="gpt-5", input=items, tools=[RESPONSES_TOOL])
            chat, responses = server.requests
            assert (chat.api, responses.api) == ("chat", "responses")
            assert chat.messages == responses.messages
            assert chat.system == responses.system == "You are the medical specialist"
            assert chat.tools == responses.tools == (TRANSFER,)
            assert [(found.name, found.text) for found in chat.tool_results] == [("look", "found")]
            assert chat.body["messages"] == messages

    asyncio.run(play())


def test_failures_have_the_providers_shape_and_clients_may_retry_them() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server:
            async with client_of(server) as client:
                with pytest.raises(openai.RateLimitError, match="slow down") as caught:
                    await client.responses.create(model="gpt-5", input="busy?")
            assert caught.value.response.headers["retry-after"] == "0.01"
            server.reset()
            async with client_of(server, max_retries=1) as client:
                assert (await client.responses.create(model="gpt-5", input="busy?")).output_text == "free again"
            assert server.count("busy") == CallCount(asked=2, answered=1)
            assert [exchange.outcome for exchange in server.exchanges] == ["failed", "answered"]

    asyncio.run(play())


def test_a_request_without_a_rule_is_refused_with_the_reason() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            with pytest.raises(openai.BadRequestError, match="tool 'transfer_to_medical' is not offered"):
                await client.responses.create(model="gpt-5", input="hospital")
            assert [exchange.outcome for exchange in server.exchanges] == ["unmatched"]

    asyncio.run(play())


def test_a_held_rule_hangs_until_released_and_a_client_that_left_is_noticed() -> None:
    async def play() -> None:
        async with ModelServer(RULES) as server, client_of(server) as client:
            with server.hold("medical") as held:
                given_up = asyncio.create_task(client.responses.create(model="gpt-5", input=MEDICAL))
                await held.reached()
                given_up.cancel()
                patient = asyncio.create_task(client.responses.create(model="gpt-5", input=MEDICAL))
                await held.reached(2)
                assert not patient.done()
            assert (await patient).output_text == "Rest, and keep the bill."
            assert server.count("medical") == CallCount(asked=2, answered=1)
            assert server.exchanges[0].outcome == "abandoned"

    asyncio.run(play())


def test_waiting_for_a_call_that_never_comes_says_what_came() -> None:
    with ModelServer(RULES) as server, pytest.raises(TimeoutError, match="0 of 1 calls reached the rule 'medical'"):
        server.hold("medical").wait_reached(timeout_s=0.01)


def test_stopping_answers_what_hangs_and_the_server_can_start_again() -> None:
    async def play() -> None:
        server = ModelServer([rule(name="slow", answer=text("late"), delay_s=60)])
        server.start()
        async with client_of(server) as client:
            hanging = asyncio.create_task(client.responses.create(model="gpt-5", input="hi"))
            while not server.requests:
                await asyncio.sleep(0)
            await asyncio.to_thread(server.stop)
            with pytest.raises(openai.InternalServerError, match="stops"):
                await hanging
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.url
        async with server:
            assert server.env()["OPENAI_BASE_URL"] == server.base_url

    asyncio.run(play())


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/v1beta/models/m:generateContent"])
def test_a_body_that_is_not_a_json_object_is_refused(path: str) -> None:

    with ModelServer(RULES) as server, httpx2.Client(base_url=server.url, trust_env=False) as http:
        assert http.post(path, content=b"{").status_code == 400
        assert "not a JSON object" in http.post(path, content=b"[]").json()["error"]["message"]
        assert http.post("/v1beta/models/m:countTokens", json={}).status_code == 404


def test_a_client_that_dies_while_it_asks_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with ModelServer(RULES) as server:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
            client.sendall(
                b"POST /v1/responses HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 100")  # The server is reading the body now.
        assert not server.requests
    assert not caplog.records
