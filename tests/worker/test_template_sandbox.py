"""What a chat template may not do in its sandbox, and that what real ones do comes out as jinja2 makes it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, NoReturn

import pytest
from jinja2 import Environment
from jinja2.ext import loopcontrols

from echoplaned.worker.chat_template import ChatTemplate
from echoplaned.worker.template_bounds import MAX_REPEATED
from echoplaned.worker_contract.inference.errors import FieldError

TALK = [
    {"role": "system", "content": "Be brief, née <b>\n<tools>"},
    {"role": "user", "content": "  Hi {{ 1 }}  "},
    {"role": "assistant", "content": '<think>\nhm, it\'s "so"\n</think>\n\nHello.'},
    {"role": "user", "content": "More\nof it\n"},
]
LONG = "{% set long = 'a' * 30000 %}"
MILLION = "{% set x = 'ab ' * 333333 %}"

REFUSED = {
    "a search from the end": "{{ ('a' * 1000000).rfind('ab' + 'a' * 30000) }}",
    "an index from the end": "{{ ('a' * 1000000).rindex('ab' + 'a' * 30000) }}",
    "a split from the end": "{{ ('a' * 1000000).rsplit('ab' + 'a' * 30000) }}",
    "a split from the end by name": "{{ ('a' * 1000000).rsplit(sep='ab' + 'a' * 30000) }}",
    "a partition from the end": "{{ ('a' * 1000000).rpartition('ab' + 'a' * 30000) }}",
    "stripping by many characters": "{{ ('a' * 1000000).strip('b' * 999999 ~ 'a') }}",
    "trimming by many characters": "{{ ('a' * 1000000) | trim('b' * 999999 ~ 'a') }}",
    "batches filled up": "{% for x in [1] | batch(100000000, 'x') %}{% endfor %}",
    "batches filled with long texts": LONG + "{% for x in [1] | batch(1000, long) %}{% endfor %}",
    "slices filled up": "{% for x in [1] | slice(100000000, 'x') %}{% endfor %}",
    "bytes of a number": "{{ (1).to_bytes(1000000000, 'little') | length }}",
    "bytes of a text": "{{ 'x'.encode() }}",
    "replacing by the filter": LONG + "{{ long | replace('a', long) }}",
    "replacing nothing by the filter": LONG + "{{ long | replace('', long) }}",
    "replacing by the method": LONG + "{{ long.replace('a', long) }}",
    "joining by the filter": LONG + "{{ long | join(long) }}",
    "joining by the method": LONG + "{{ long.join(long) }}",
    "joining what is mapped": LONG + "{{ range(1000) | map('string') | join(long) }}",
    "doubling by ~": "{% set x = 'a' * 1000000 %}" + "{% set x = x ~ x %}" * 10,
    "doubling by +": "{% set x = 'a' * 1000000 %}" + "{% set x = x + x %}" * 10,
    "doubling lists": "{% set x = [1] * 1000 %}" + "{% set x = x + x %}" * 20,
    "doubling in a namespace": "{% set n = namespace(x='abcd') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling a block": "{% set x = 'a' * 1000000 %}{% set x %}{{ x }}{{ x }}{% endset %}",
    "doubling in a macro": "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% set x = 'a' * 1000000 %}{% set x = m(x) %}{% set x = m(x) %}",
    "doubling in a filter's block": "{% set x = 'a' * 900000 %}{% set y %}{% filter upper %}{{ x }}{{ x }}{% endfilter %}{% endset %}",
    "lists within lists": "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "tuples within tuples": "{% set x = (1,) %}" + "{% set x = (x, x) %}" * 40 + "{{ {x: 1} }}",
    "mappings within mappings": "{% set x = {} %}" + "{% set x = {'a': x, 'b': x} %}" * 40 + "{{ x | tojson }}",
    "arguments within arguments": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1, varargs, varargs) }}{% else %}{{ varargs }}{% endif %}{% endmacro %}{{ m(60) }}"
    ),
    "deep lists": "{% set n = namespace(x=[]) %}{% for i in range(100) %}{% set n.x = [n.x] %}{% endfor %}",
    "a mapping of a long text": LONG + "{{ [long] * 1000000 }}",
    "many long slices": "{% set x = 'a' * 1000000 %}" + "".join(f"{{% set x{i} = x[{i}:] %}}" for i in range(100)),
    "many long parts": "{% set x = 'a' * 1000000 %}"
    + "".join(f"{{% set x{i} = x.split('{i}b')[0] ~ {i} %}}" for i in range(100)),
    "many parts": MILLION + "{{ x.split() | length }}",
    "many parts by a separator": "{{ ('ab' * 500000).split('b') | length }}",
    "many lines": "{{ ('a\n' * 500000).splitlines() | length }}",
    "a list of a long text": "{{ ('ab' * 500000) | list | length }}",
    "a wide format": "{{ '%1000000000d' % 1 }}",
    "a wide format in a test": "{{ '%1000000000d' is odd }}",
    "a wide format in a test of divisors": "{{ '%1000000000d' is divisibleby(1) }}",
    "a wide format by the filter": "{{ '%1000000000d' | format(1) }}",
    "a wide format by the method": "{{ '{:1000000000}'.format(1) }}",
    "a wide format of a mapping": "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "a wide indent": "{{ 'a\nb' | indent(1000000000) }}",
    "a wide indent of many lines": "{{ ('\n' * 900000) | indent(64, true, true) }}",
    "a wide indent of JSON": "{{ [1] | tojson(indent=' ' * 100000) }}",
    "wide separators of JSON": "{{ [1] | tojson(separators=('x' * 100000, ':')) }}",
    "center": "{{ 'x' | center(1000000000) }}",
    "ljust": "{{ 'x'.ljust(1000000000) }}",
    "zfill": "{{ 'x'.zfill(1000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(1000000000) }}",
    "translate": "{{ 'x'.translate({120: 'y' * 100000}) }}",
    "wordwrap": "{{ 'x' | wordwrap(1) }}",
    "a wide precision": "{{ 1.5 | round(1000000000, 'ceil') }}",
    "a long number": "{{ ('1' * 1000000) | int }}",
    "a large power": "{{ 2 ** 100000 }}",
    "a large number": "{{ 0x" + "f" * 5000 + " % 3 }}",
    "large numbers doubled": "{% set n = namespace(x=9) %}{% for i in range(900) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "keys of one hash": f"{{{{ dict(range(0, {(2**61 - 1) * 90_000}, {2**61 - 1}) | batch(2)) }}}}",
    "a sum of lists": "{{ ([[1]] * 10000) | sum(start=[]) }}",
    "groups by a long default": LONG + "{{ range(10000) | groupby('x', default=long) }}",
    "sorted long texts": LONG + "{{ range(10000) | map(attribute='x', default=long) | sort }}",
    "a namespace within a list": "{% set n = namespace() %}{{ [n] }}",
    "a namespace as a text": "{{ namespace(x=1) }}",
    "escaping of its own": "{% autoescape true %}{{ 1 }}{% endautoescape %}",
    "lipsum": "{{ lipsum(1000000) }}",
    "cycler": "{{ cycler(1) }}",
    "a method of a generator": "{{ (messages | map('length')).close() }}",
    "what changes a list": "{{ messages.pop() }}",
    **{
        f"the filter {name}": f"{{{{ messages | {name} }}}}"
        for name in ("attr('x')", "pprint", "random", "striptags", "urlize")
    },
    **{
        f"the filter {name}": f"{{{{ {{}} | {name} }}}}"
        for name in ("filesizeformat", "urlencode", "wordcount", "xmlattr")
    },
}


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_what_is_out_of_proportion_is_refused(source: str) -> None:
    """A step whose time or memory the conversation does not account for is refused before it is taken."""
    with pytest.raises(FieldError) as caught:
        ChatTemplate(source, {}, 30.0).render(TALK, 100_000)
    assert caught.value.param == "messages"
    assert "did not end" not in str(caught.value)


def test_bounds_grow_with_the_conversation() -> None:
    """A conversation longer than the least bound is put together in the usual ways."""
    talk = [{"role": "user", "content": "ab\n" * MAX_REPEATED}]
    source = (
        "{% for m in messages %}{% set text = '<s>' + m['role'] + '\n' + (m.content | trim) ~ '</s>' %}"
        "{{ text.replace('<s>', '[').split('</s>')[0].rsplit('</think>')[-1] }}{% endfor %}"
    )
    assert ChatTemplate(source, {}, 30.0).render(talk, 10 * MAX_REPEATED) == "[user\n" + talk[0]["content"].strip()


def test_what_is_no_longer_held_does_not_count() -> None:
    """A text that grows piece by piece leaves its earlier forms behind."""
    source = "{% set n = namespace(x='a' * 100000) %}{% for i in range(3000) %}{% set n.x = n.x ~ 'b' %}{% endfor %}{{ n.x }}"
    assert ChatTemplate(source, {}, 30.0).render(TALK, 200_000) == "a" * 100_000 + "b" * 3000


HEADERS = """{{- bos_token }}
{%- if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now("%Y") %}{% endif %}{% endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}{% set messages = messages[1:] %}
{%- else %}{% set system = "" %}{% endif %}
{{- "<|header|>system<|end|>\\n\\n" }}{{ "Today: " + date_string + "\\n" }}{{ system }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|header|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|header|>assistant<|end|>\\n\\n' }}{% endif %}"""
REASONING = """{%- set ns = namespace(tool=true, last=messages | length - 1) %}
{%- for message in messages[::-1] %}{% set index = (messages | length - 1) - loop.index0 %}
    {%- if ns.tool and message.role == "user" and message.content is string
        and not (message.content.startswith('<t>') and message.content.endswith('</t>')) %}
        {%- set ns.tool = false %}{% set ns.last = index %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}{% set reasoning = '' %}
    {%- if '</think>' in content %}
        {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role }}{% if loop.index0 > ns.last or (not loop.last and reasoning) %}
        {{- '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}
    {{- '\\n' + content + '<|im_end|>' + '\\n' }}
{%- endfor %}"""
ALTERNATING = """{%- if messages[0]["role"] == "system" %}{% set system = messages[0]["content"] %}{% set rest = messages[1:] %}
{%- else %}{% set rest = messages %}{% endif %}{% set ns = namespace(index=0) %}
{%- set users = rest | selectattr("role", "equalto", "user") | list %}
{%- for message in rest %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{ raise_exception("roles must alternate") }}{% endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{%- for message in rest %}{% if message["role"] == "user" %}
    {%- if loop.last and system is defined %}{{ "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
    {%- else %}{{ "[INST] " ~ message["content"] ~ "[/INST]" }}{% endif %}
    {%- if message == users[-1] %}{{ "!" }}{% endif %}
{%- elif not message.tool_calls is defined or message.tool_calls is none %}{{ " " + message["content"].rstrip() + eos_token }}{% endif %}
{%- endfor %}"""
TURNS = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}
{%- else %}{% set role = message['role'] %}{% endif %}
{{ '<turn>' ~ role ~ '\\n' ~ message['content'] | trim ~ '<end>\\n' }}{% endfor %}{% if add_generation_prompt %}<turn>model
{% endif %}"""
SYSTEM_FIRST = """{% set ns = namespace(first=true, system='', tools=[]) %}{% for message in messages %}
{%- if message['role'] == 'system' %}{% if ns.first %}{% set ns.system = ns.system + message['content'] %}{% set ns.first = false %}
{%- else %}{% set ns.system = ns.system + '\\n\\n' + message['content'] %}{% endif %}{% endif %}{% endfor %}{{ ns.system }}
{%- for message in messages %}{% if message['role'] == 'user' %}{{ '<|User|>' + message['content'] }}{% endif %}
{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}
{%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
{{- '<|Assistant|>' + content + '<|end|>' }}{% endif %}
{%- endfor %}{% if tools %}{{ tools | tojson(indent=4) }}{% endif %}"""
TOOLS = """{%- macro kind(spec) %}{% if spec.type is mapping or spec.enum is defined %}any
{%- elif spec.type == 'array' %}{{ 'list[' ~ kind(spec['items']) ~ ']' }}
{%- elif spec.type is string %}{{ spec.type | upper }}{% endif %}{% endmacro %}
{%- set tools = [{'name': 'look_up', 'parameters': {'type': 'object', 'required': ['a'], 'properties': {
    'a': {'type': 'string', 'description': "A 'quoted' <thing>"}, 'b': {'type': 'array', 'items': {'type': 'number', 'default': 2}}}}}] %}
{%- for tool in tools %}{{ tool | tojson }}{{ '\\n' }}{{ tool | tojson(indent=2) }}{{ tool.name.title().replace('_', ' ') }}
    {%- for name, spec in tool.parameters.properties.items() %}{{ loop.index ~ '. ' ~ name ~ ': ' ~ kind(spec) }}
        {%- if name not in tool.parameters.required | default([]) %} (optional){% endif %}{% if not loop.last %}, {% endif %}
    {%- endfor %}{{ tool.parameters['properties'].keys() | list | join(', ') }}{{ tool.parameters.get('none', {}) | length }}
    {%- for pair in tool.parameters.properties | dictsort %}{{ pair[0] }}{% endfor %}
{%- endfor %}{{ ('a,b' + ',c').split(',', 1) | map('upper') | list | reverse | join('|') }}
{{ 'x=%d'.count('%') }}{{ '7' | int + 1 }}{{ [3, 1] | sort | first }}"""
PIECES = """{% macro twice(x) %}{{ caller('<' ~ x) }}{{ caller(x) }}{% endmacro %}
{% for m in messages if m.role != 'system' %}{{ loop.cycle('odd', 'even') }}{{ m.content.splitlines() | join('/') }}
{{- m.content[:3] ~ m.content[-1] }}
{%- for part in m.content.split() | batch(2, '-') %}{{ part | join('+') }}{% endfor %}
{{- m.content | replace('\\n', ' ') | capitalize | truncate(9) }}
{%- call(x) twice(m.role) %}{{ x | e }}{% endcall %}{% else %}none{% endfor %}
{{- messages | map(attribute='role') | unique | list }}{{ {'a': (1, 2.5, none)} }}
{%- set text %}{% for r in range(3) %}{{ r * 2 }}{{ ', ' if not loop.last }}{% endfor %}{% endset %}
{{- text.partition(', ')[2] | indent(2, true) }}
{%- for group in messages | groupby('role') %}{{ group.grouper }}{{ group.list | length }}{% endfor %}
{{- -(7 // 2) + 2 ** 3 - 1 % 2 }}{{ nothing }}{{ 2.55 | round(1) }}"""
REALISTIC = {
    "headers and a date": HEADERS,
    "reasoning cut out": REASONING,
    "roles that alternate": ALTERNATING,
    "turns": TURNS,
    "system texts first": SYSTEM_FIRST,
    "tools": TOOLS,
    "pieces": PIECES,
}


def render_plainly(source: str, context: dict[str, Any]) -> str:
    """Return what jinja2 makes of a template without a sandbox, with the names that transformers gives it."""

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)

    plain = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])  # noqa: S701 - texts for a model, no HTML
    plain.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    plain.globals["raise_exception"] = refuse
    plain.globals["strftime_now"] = lambda form: dt.datetime.now(dt.UTC).strftime(form)
    return plain.from_string(source).render(**context)


@pytest.mark.parametrize("source", REALISTIC.values(), ids=REALISTIC)
def test_realistic_templates_render_as_in_jinja2(source: str) -> None:
    """What templates of models in use do comes out to the character as without a sandbox."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    context = {**tokens, "messages": TALK, "add_generation_prompt": True, "tools": None, "documents": None}
    expected = render_plainly(source, context)
    assert len(expected) > 50
    assert ChatTemplate(source, tokens, 30.0).render(TALK, 100_000) == expected
