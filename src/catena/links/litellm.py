"""Any provider that the package litellm knows: it makes the call, and its answers are read as OpenAI's are.

The package is imported when the link is first used. What it does besides calling is off: its telemetry and callbacks, the
reading of .env files, the list of prices from the network, its retries, and following redirects with a key.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Mapping
from functools import wraps
from typing import Any

import msgspec

from catena.errors import LinkError, MissingExtraError, TaskError
from catena.links.client import Client, Reply, since
from catena.links.openai import OWNED, OpenAILink, Settings, check_settings
from catena.links.options import read_options
from catena.links.price import Price, find_price
from catena.task import LinkSpec, TaskSpec
from catena.types import Failure, Usage

__all__ = ["LiteLLMLink", "open_link"]

QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
"""Environment of its import: no look-up of prices, no reading of .env."""
CALLBACKS = (
    *("callbacks", "input_callback", "service_callback", "success_callback", "failure_callback"),
    *("_async_input_callback", "_async_success_callback", "_async_failure_callback"),
)
OPEN = dict[int, asyncio.AbstractEventLoop]()
"""The links that have calls to make, and where: the connections are the package's, one set for all."""
NO_KEY = "none"
ONLY_CHAT = Failure("bad_request", "litellm makes calls of chat completions only")
HOLDS_A_KEY = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL")
STOLEN = frozenset({"1.82.7", "1.82.8"})
"""Releases that were published with code that steals credentials (BerriAI/litellm#24518)."""
PREFIX = re.compile(r"^(?:(?:litellm\.)?\w+(?:Error|Exception)(?:: | - ))+")
"""The names of its errors, which stand before what the provider said."""
OWN_NAMES = {"azure_ai": "azure", "bedrock": "aws", "gemini": "google", "together_ai": "together", "vertex_ai": "google", "xai": "x-ai"}  # fmt: skip
"""What the price list calls providers that litellm calls otherwise."""


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "LiteLLMLink":
    """Build the link; see `registry.open_link`."""
    settings = read_options(spec, Settings, OWNED, "http://localhost:8000/v1", where)
    if "/" not in settings.model:
        raise TaskError(
            f"{where}: model: '{settings.model}' names no provider.",
            "Write PROVIDER/MODEL as litellm has it, such as cohere/command-r.",
        )
    if settings.mode == "batch":
        raise TaskError(f"{where}: mode: litellm asks no batches.", "Leave it out.")
    if settings.scoring != "answer":
        raise TaskError(
            f"{where}: scoring: litellm asks for chats alone.", "Leave it out, or use kind: openai."
        )
    for option in ("key_header", "query"):
        if getattr(settings, option):
            raise TaskError(f"{where}: {option}: litellm has its own.", "Leave it out, or use kind: openai.")
    check_settings(settings, task, where)
    return LiteLLMLink(spec.name, settings, task, where)


class LiteLLMLink(OpenAILink):
    """One model behind litellm."""

    kind = "litellm"

    def _place(self, settings: Settings) -> tuple[str, str | None]:
        provider = settings.model.partition("/")[0]
        return (settings.base_url or f"litellm {provider}").rstrip("/"), settings.api_key_env

    def _listed_price(self, settings: Settings, where: str) -> Price:
        provider, _, model = settings.model.partition("/")
        return find_price(settings.price, model, settings.base_url, where, OWN_NAMES.get(provider, provider))

    def _caller(self, settings: Settings, where: str, variable: str | None) -> Client:
        return Gateway(where, variable, settings)


class Gateway(Client):
    """Calls by litellm; its errors become the statuses that they are.

    Args:
        where: Begins every message.
        variable: The environment variable that holds the key; None where litellm finds its own.
        settings: The link's.
    """

    def __init__(self, where: str, variable: str | None, settings: Settings) -> None:
        super().__init__(where, variable, lambda _: {}, settings, settings.timeout)
        self._settings = settings
        self._litellm: Any = None
        self._fixed: dict[str, Any] = {}

    def ready(self) -> None:
        """See that the package and the key are there; see `types.Link`."""
        super().ready()
        if self._litellm is None:
            self._litellm = loaded(self._where)

    async def post(self, url: str, body: bytes) -> Reply | Failure:
        """Have litellm ask, and return its answer as JSON, or why there is none; as `Client.post`."""
        if not url.endswith("/chat/completions"):
            return ONLY_CHAT
        fixed = self._fixed or self._begin()
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._litellm.acompletion(**msgspec.json.decode(body), **fixed)
            said = answer.model_dump_json().encode()
        except Exception as error:  # noqa: BLE001 - whatever it raises is about this call
            return self._said(error, since(start))
        return Reply(200, self.hide(said), _headers_of(getattr(answer, "_hidden_params", {})))

    async def get(self, url: str, query: Mapping[str, str | int] | None = None) -> Reply | Failure:  # noqa: ARG002
        """Return that litellm gets no pages; as `Client.get`."""
        return ONLY_CHAT

    async def close(self) -> None:
        """Close the connections, which all links of the kind share, with the last of them; another call opens new ones."""
        if not self._fixed:
            return
        self._fixed = {}
        OPEN.pop(id(self), None)
        if OPEN:
            return
        session = self._litellm.aclient_session
        await self._litellm.close_litellm_async_clients()
        self._forget()
        if session is not None:
            await session.aclose()

    def _forget(self) -> None:
        """Have the package make new connections at the next call."""
        self._litellm.aclient_session = None
        self._litellm.in_memory_llm_clients_cache.flush_cache()

    def _begin(self) -> dict[str, Any]:
        """Return what goes along with every call; connections belong to the event loop that is running."""
        import httpx  # noqa: PLC0415 - comes with litellm

        self.ready()
        for name, value in os.environ.items():
            if HOLDS_A_KEY.search(name):
                self._secrets.add(value.strip())
        running = asyncio.get_running_loop()
        if any(loop is not running for loop in OPEN.values()):  # left open where nothing runs any more
            OPEN.clear()
            self._forget()
        if self._litellm.aclient_session is None:
            self._litellm.aclient_session = httpx.AsyncClient(
                follow_redirects=False, timeout=self._timeout, limits=httpx.Limits(max_connections=None)
            )
        more = {name: self._secrets.value(text) for name, text in self._address.headers.items()}
        named = None if self.variable is None else self._secrets.key(self.variable)
        given = {
            # Without one, litellm would send the provider's usual key to whatever address the task names.
            "api_key": named or (NO_KEY if self._settings.base_url else None),
            "api_base": self._settings.base_url,
            "extra_headers": more or None,
        }
        self._fixed = {key: value for key, value in given.items() if value is not None}
        self._fixed |= {"timeout": self._timeout, "num_retries": 0, "max_retries": 0}
        self._fixed |= {"drop_params": True, "caching": False, "no-log": True}
        OPEN[id(self)] = running
        return self._fixed

    def _said(self, error: Exception, latency: float) -> Reply | Failure:
        """Return what an error of litellm says: the status of an answer, or why there was none."""
        usage = Usage(latency_ms=latency)
        status = getattr(error, "status_code", None)
        response = getattr(error, "response", None)
        message = self.hide(str(getattr(error, "message", "") or error).encode(errors="replace"))
        line = PREFIX.sub("", " ".join(message.decode(errors="replace").split()))
        if isinstance(error, TimeoutError) or type(error).__name__ == "Timeout":
            waited = f"no answer within {self._timeout:g} s"
            return Failure("timeout", waited, retryable=True, usage=usage, charged=True)
        if isinstance(status, int) and 300 <= status <= 599 and status != 500:
            said = {"error": {"message": line, "code": getattr(error, "code", None)}}
            return Reply(status, msgspec.json.encode(said), _header(getattr(response, "headers", {})))
        # Its 500 is also a connection that broke and a body that is no JSON, so an answer may have been paid.
        return Failure("server", f"the call failed: {line[:200]}", retryable=True, usage=usage, charged=True)


def loaded(where: str) -> Any:
    """Return the package, quiet.

    Raises:
        MissingExtraError: It is not installed.
        LinkError: It is one of the releases that steal credentials.
    """
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only for who uses it

    try:
        found = version("litellm")
    except PackageNotFoundError:
        raise MissingExtraError(f"{where}: kind: litellm", "litellm") from None
    if found in STOLEN:
        raise LinkError(
            f"{where}: litellm {found} steals credentials; it was not imported.",
            "Change every key that this machine holds, and install another release.",
        )
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import litellm  # noqa: PLC0415 - takes seconds
        from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise MissingExtraError(f"{where}: kind: litellm", "litellm") from error
    litellm.telemetry = litellm.set_verbose = False
    litellm.suppress_debug_info = litellm.turn_off_message_logging = True
    for name in CALLBACKS:
        if hasattr(litellm, name):
            setattr(litellm, name, [])
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    _stay_put(AsyncHTTPHandler)
    return litellm


def _stay_put(handler: Any) -> None:
    """Have the clients that litellm makes follow no redirect: it has no switch for that, and keys would go along."""
    made = handler.create_client
    if hasattr(made, "__wrapped__"):
        return

    @wraps(made)
    def create_client(self: Any, *given: Any, **more: Any) -> Any:
        client = made(self, *given, **more)
        client.follow_redirects = False
        return client

    handler.create_client = create_client


def _headers_of(hidden: Mapping[str, Any]) -> Any:
    """Return what gives the headers of the provider's answer."""
    return _header(hidden.get("additional_headers") or {})


def _header(headers: Mapping[str, Any]) -> Any:
    def header(name: str) -> str | None:
        said = headers.get(name) or headers.get(f"llm_provider-{name}")
        return None if said is None else str(said)

    return header
