"""Renders a conversation by the checkpoint's chat template, in a sandbox.

A template is code that came with the checkpoint. The sandbox keeps it from Python's internals, as transformers' own does; what it may
still do without end (loops within loops, multiplied texts) is bounded here.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from echoplaned.worker_contract.inference.errors import FieldError

if TYPE_CHECKING:
    import jinja2

MAX_TEMPLATE_CHARACTERS: Final = 256 * 1024
MAX_RENDER_S: Final = 2.0
MAX_REPEATED: Final = 1_000_000
"""Characters, or elements, that one multiplication of a template may make."""

NO_TEMPLATE: Final = "this version's checkpoint has no chat template; send a prompt to /v1/completions"

_DEFAULT: Final = "default"
# Each makes a text as long as a number says, or looks into other objects by a text.
_REFUSED_FILTERS: Final = ("attr", "center", "format", "indent", "pprint", "random", "wordwrap", "xmlattr")
_UNSAFE_METHODS: Final = frozenset({"center", "expandtabs", "ljust", "rjust", "translate", "zfill"})

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A checkpoint's template, as it is written.

    Attributes:
        source: the template.
        tokens: special tokens by the names that templates use: ``bos_token``, ``eos_token``.
        max_render_s: longest time of one rendering, in seconds.
    """

    source: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    max_render_s: float = MAX_RENDER_S

    def render(self, messages: Sequence[Message], max_characters: int) -> str:
        """Return a conversation as the text that the assistant's answer follows.

        Not for the event loop's thread: it may take as long as the limit says.

        Raises:
            FieldError: the template is no template, refuses the messages, or takes too long or too much.
        """
        try:
            template = _compile(self.source)
            with _TimeLimit(self.max_render_s):
                return self._render(template, messages, max_characters)
        except FieldError:
            raise
        except Exception as error:  # a template is a program, and may raise whatever Python can
            raise FieldError(
                "messages", f"the checkpoint's chat template refuses them: {type(error).__name__}: {str(error)[:300]}"
            ) from error

    def _render(self, template: jinja2.Template, messages: Sequence[Message], max_characters: int) -> str:
        pieces: list[str] = []
        length = 0
        context = {**self.tokens, "messages": [dict(one) for one in messages], "add_generation_prompt": True}
        for piece in template.generate(context, tools=None, documents=None):
            length += len(piece)
            if length > max_characters:
                raise FieldError(
                    "messages",
                    f"the chat template makes a text of over {max_characters} characters, and none of so many is counted",
                )
            pieces.append(piece)
        return "".join(pieces)


def read_template(found: object, tokens: Mapping[str, object]) -> ChatTemplate | None:
    """Return a checkpoint's chat template; None if it has none.

    Of several the one called ``default`` is taken.
    """
    if isinstance(found, Mapping):
        found = found.get(_DEFAULT)
    if not isinstance(found, str) or not found or len(found) > MAX_TEMPLATE_CHARACTERS:
        return None
    return ChatTemplate(found, {name: str(value) for name, value in tokens.items() if isinstance(value, str)})


class _TimeLimit:
    """Raises in the current thread's Python code once a time limit has passed.

    A template's lines are Python's, so looking before each line bounds any loop.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ends_s = 0.0
        self._before: Any = None

    def __enter__(self) -> None:
        self._ends_s = time.monotonic() + self._limit_s
        self._before = sys.gettrace()
        sys.settrace(self._look)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _look(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401 - a trace function returns the next one
        del frame, event, argument
        if time.monotonic() > self._ends_s:
            raise FieldError("messages", f"the checkpoint's chat template did not end within {self._limit_s:g} s")
        return self._look


@functools.lru_cache(maxsize=2)
def _compile(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@functools.cache
def _environment() -> jinja2.Environment:
    """Return the sandbox, with the names that transformers gives its templates.

    jinja2 is imported here: most workers never need it.
    """
    from jinja2.ext import Extension, loopcontrols  # noqa: PLC0415 - as said above
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    class GenerationTag(Extension):
        """Renders what stands within ``{% generation %}`` as it is.

        The tag marks the assistant's own words for training.
        """

        tags = {"generation"}  # noqa: RUF012 - as its parent has it

        def parse(self, parser: Any) -> Any:  # noqa: ANN401 - jinja2's own types are looser than its words
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Sandbox(ImmutableSandboxedEnvironment):
        """The sandbox without what makes long texts out of numbers."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - as its parent
            _check_operands(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def wrap_str_format(self, value: Any) -> Any:  # noqa: ANN401 - as its parent
            wrapped = super().wrap_str_format(value)
            return wrapped if wrapped is None else _refuse_format

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401 - as its parent
            unsafe = isinstance(obj, str | bytes) and attr in _UNSAFE_METHODS
            return not unsafe and super().is_safe_attribute(obj, attr, value)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
    # Refused where they are reached, not where they are named: a template for tools may name one in a branch that is never taken.
    environment.filters.update(dict.fromkeys(_REFUSED_FILTERS, _refuse_filter))
    environment.globals.pop("lipsum", None)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def _check_operands(operator: str, left: object, right: object) -> None:
    """Refuse an operation whose result is far larger than its operands."""
    numbers = [one for one in (left, right) if isinstance(one, int | float)]
    texts = [one for one in (left, right) if isinstance(one, str | bytes | list | tuple)]
    if operator == "%" and texts:
        raise FieldError("messages", "the checkpoint's chat template formats texts by %, which is not allowed here")
    large = any(abs(one) > MAX_REPEATED for one in numbers)
    if texts and numbers and abs(numbers[0]) * len(texts[0]) > MAX_REPEATED:
        large = True
    if large or (operator == "**" and any(abs(one) > 64 for one in numbers)):
        raise FieldError("messages", "the checkpoint's chat template multiplies beyond what is allowed here")


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None) -> str:  # noqa: FBT001, FBT002 - as transformers has it
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=None if indent is None else min(indent, 8))


def _refuse_filter(*_: object, **__: object) -> NoReturn:
    raise FieldError("messages", "the checkpoint's chat template uses a filter that is not allowed here")


def _refuse_format(*_: object, **__: object) -> NoReturn:
    raise FieldError("messages", "the checkpoint's chat template formats texts, which is not allowed here")


def _refuse(message: object) -> NoReturn:
    raise FieldError("messages", f"{str(message)[:300]}")


def _now(form: str) -> str:
    return dt.datetime.now(dt.UTC).strftime(str(form)[:100])
