"""Renders a conversation by the checkpoint's chat template, in a sandbox.

A template is code that came with the checkpoint. The sandbox (``template_sandbox.py``) keeps it from Python's internals, as transformers'
own does, and bounds what a single step makes; how long all steps take is bounded here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from echoplaned.worker.time_limit import TimeLimit
from echoplaned.worker_contract.inference.errors import FieldError

if TYPE_CHECKING:
    import jinja2

MAX_TEMPLATE_CHARACTERS: Final = 256 * 1024
MAX_RENDER_S: Final = 2.0
MAX_COMPILE_S: Final = 5.0

NO_TEMPLATE: Final = "this version's checkpoint has no chat template; send a prompt to /v1/completions"

_DEFAULT: Final = "default"
_SANDBOX: Final = "echoplaned.worker.template_"
"""Begins the names of the sandbox's modules: their functions are bounded, and slow where each of their lines is looked at."""

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
        # Imported here, and jinja2 with them: most workers never need it.
        from echoplaned.worker.template_bounds import Bounds, bounded  # noqa: PLC0415 - as said above
        from echoplaned.worker.template_sandbox import environment  # noqa: PLC0415 - as said above

        try:
            with TimeLimit(MAX_COMPILE_S, _late(MAX_COMPILE_S), each_line=False):
                template = _compile(environment(), self.source)
            bounds = Bounds(len(self.source) + sum(len(text) for one in messages for text in one.values()))
            with bounded(bounds), TimeLimit(self.max_render_s, _late(self.max_render_s), passes=_SANDBOX):
                return self._render(template, bounds.hold([bounds.hold(dict(one)) for one in messages]), max_characters)
        except FieldError:
            raise
        except Exception as error:  # a template is a program, and may raise whatever Python can
            raise FieldError(
                "messages", f"the checkpoint's chat template refuses them: {type(error).__name__}: {str(error)[:300]}"
            ) from error

    def _render(self, template: jinja2.Template, messages: list[dict[str, str]], max_characters: int) -> str:
        pieces: list[str] = []
        length = 0
        context = {**self.tokens, "messages": messages, "add_generation_prompt": True}
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


def _late(limit_s: float) -> FieldError:
    return FieldError("messages", f"the checkpoint's chat template did not end within {limit_s:g} s")


@functools.lru_cache(maxsize=2)
def _compile(environment: jinja2.Environment, source: str) -> jinja2.Template:
    return environment.from_string(source)
