"""Chat templates in their sandbox."""

from __future__ import annotations

import time

import pytest

from echoplaned.testing.checkpoints import CHAT_TEMPLATE
from echoplaned.worker import chat_template
from echoplaned.worker.chat_template import MAX_TEMPLATE_CHARACTERS, ChatTemplate, read_template
from echoplaned.worker_contract.inference.errors import FieldError

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi {{ 1 }} <s>"}]
CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{%- if tools is not none %}{{ tools | tojson | indent(4) }}{% endif %}"
)


def render(source: str, limit_s: float = 2.0, most: int = 10_000) -> str:
    """Return what a template makes of the talk."""
    return ChatTemplate(source, {"bos_token": "<s>"}, limit_s).render(TALK, most)


def test_a_conversation_is_rendered_as_transformers_does() -> None:
    """Roles, contents and special tokens stand where the template puts them; what a message says is no template."""
    assert render(CHAT_TEMPLATE) == "<s>system: Be brief.\nuser: Hi {{ 1 }} <s>\nassistant: "
    chatml = render(CHATML)
    assert chatml.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert chatml.endswith("<|im_start|>assistant\n")
    assert render("{% generation %}x{% endgeneration %}{% for m in messages %}{% break %}{% endfor %}") == "x"
    assert (
        render("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}")
        == "2"
    )
    assert len(render("{{ strftime_now('%Y') }}")) == 4


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for x in %}", "TemplateSyntaxError"),
        ("{{ nothing.there }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ 'x' * 100000000 }}", "multiplies"),
        ("{{ [1] * 100000000 }}", "multiplies"),
        ("{{ 9 ** 9 ** 9 }}", "multiplies"),
        ("{{ '%0100000000d' % 1 }}", "formats"),
        ("{{ 'x'.center(100000000) }}", "SecurityError"),
        ("{{ 'x' | center(100000000) }}", "filter"),
        ("{{ '{:100000000}'.format(1) }}", "formats texts"),
        ("{% for i in range(10000000) %}{% endfor %}", "OverflowError"),
        ("{% for i in range(9999) %}0123456789{% endfor %}", "over 10000 characters"),
        ("{% include 'x' %}", "TypeError"),
    ],
)
def test_what_a_template_may_not(source: str, says: str) -> None:
    """Each ends as a refusal of the messages that says why; nothing else of Python can be reached."""
    with pytest.raises(FieldError, match=says) as caught:
        render(source)
    assert caught.value.param == "messages"


def test_a_template_without_end_is_cut() -> None:
    """Loops within loops end after the time that a rendering has."""
    loops = "{% set r = range(100000) %}{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}{% endfor %}"
    began_s = time.monotonic()
    with pytest.raises(FieldError, match="did not end within"):
        render(loops, limit_s=0.2)
    assert time.monotonic() - began_s < 20


def test_a_template_that_is_long_to_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that thousands of branches set take jinja2 minutes to tell apart."""
    monkeypatch.setattr(chat_template, "MAX_COMPILE_S", 0.2)
    with pytest.raises(FieldError, match="did not end within"):
        render("".join(f"{{% if x %}}{{% set a{i} = 1 %}}{{% endif %}}" for i in range(6000)))


def test_which_template_is_taken() -> None:
    """One, or of several the default one; none where there is none, or one that is too long."""
    assert read_template("x", {"bos_token": "<s>", "extra": ["a"]}) == ChatTemplate("x", {"bos_token": "<s>"})
    assert read_template({"default": "x", "tool_use": "y"}, {}) == ChatTemplate("x")
    for found in (None, "", {"tool_use": "y"}, 3, "x" * (MAX_TEMPLATE_CHARACTERS + 1)):
        assert read_template(found, {}) is None
