"""The sandbox of chat templates: jinja2 with every value bounded.

What is not named here is refused where it is reached, not where it is named: a template for tools may name it in a branch that is
never taken.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Mapping
from types import BuiltinMethodType, FunctionType, GeneratorType, MethodType
from typing import Any, Final, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from echoplaned.worker.template_bounds import VIEWS, Weight, bounds, check_number, refuse
from echoplaned.worker.template_filters import make_filters, make_tests
from echoplaned.worker.template_methods import METHODS, prepare, size_of_element
from echoplaned.worker_contract.inference.errors import FieldError

_BUILT_IN: Final = (str, bytes, int, float, list, tuple, dict, range, set, frozenset, GeneratorType, *VIEWS)
_CALLABLE: Final = (FunctionType, MethodType, Macro, LoopContext, BlockReference, jinja2.Undefined)
_ITS_OWN: Final = {"_loop_vars", "_block_vars"}
"""Arguments that jinja2 adds to calls, and takes out of them."""
_COPIED_CHARACTERS: Final = 256
_MAX_EXPONENT: Final = 64
_MAX_FACTOR: Final = 1_000_000
_MAX_KEY: Final = 1 << 60
"""Beyond it whole numbers can be chosen that have one hash."""


class _GenerationTag(Extension):
    """Renders what stands within ``{% generation %}`` as it is.

    The tag marks the assistant's own words for training.
    """

    tags = {"generation"}  # noqa: RUF012 - as its parent has it

    def parse(self, parser: Any) -> Any:  # noqa: ANN401 - jinja2's own types are looser than its words
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Generator(CodeGenerator):
    """Writes a template's code: whatever builds a value calls the sandbox."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:  # noqa: ANN401 - as its parent
        """Compute nothing while a template is compiled: no rendering's bounds hold then."""
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - as its parent
        self._call("concat", node.nodes, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802 - as its parent
        self.write("environment.hold(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802 - as its parent
        if node.ctx != "load":
            super().visit_Tuple(node, frame)
            return
        self.write("environment.hold(")
        super().visit_Tuple(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802 - as its parent
        self._call("build_dict", [part for pair in node.items for part in (pair.key, pair.value)], frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802 - as its parent
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.hold(")
        super().visit_Getitem(node, frame)
        self.write(")")

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier, frame: Frame) -> None:  # noqa: N802 - as its parent
        del frame
        self.fail("autoescape is not allowed here", node.lineno)

    def _call(self, method: str, arguments: list[nodes.Expr], frame: Frame) -> None:
        self.write(f"environment.{method}((")
        for one in arguments:
            self.visit(one, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, in which every value that is made is bounded."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self) -> None:
        """Give it the names that transformers gives its templates."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, loopcontrols],
            optimized=False,  # a template's constants are computed within a rendering's bounds
            finalize=_finalize,
        )
        self.filters = cast("Any", make_filters())
        self.tests = cast("Any", make_tests())
        given: Any = {
            "dict": _dict,
            "namespace": _namespace,
            "raise_exception": _raise,
            "strftime_now": _now,
        }
        given["range"] = self.globals["range"]
        self.globals = given

    @staticmethod
    def concat(pieces: Iterable[object]) -> str:
        """Return texts as one."""
        return bounds().join(pieces)

    @staticmethod
    def hold(value: Any) -> Any:  # noqa: ANN401 - a template's value
        """Count a value that the template has made."""
        return bounds().hold(value)

    @staticmethod
    def build_dict(parts: tuple[Any, ...]) -> dict[Any, Any]:
        """Return a mapping of keys and values in turns."""
        return _build(zip(parts[::2], parts[1::2], strict=True))

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - as its parent
        """Return an attribute or element, counted."""
        return _counted(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401 - as its parent
        """Return an element or attribute, counted."""
        return _counted(super().getitem(obj, argument))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401 - as its parent
        """Return whether a template may read an attribute."""
        if isinstance(obj, _BUILT_IN):
            fields = getattr(type(obj), "_fields", ())  # of the groups that a filter makes
            return attr in fields or any(isinstance(obj, kind) and attr in names for kind, names in METHODS.items())
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:  # noqa: ANN401 - as its parent
        """Return what stands for a method that formats."""
        wrapped = super().wrap_str_format(value)
        return wrapped if wrapped is None else _refuse_format

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, N805, PYI063 - as its parent
        """Call a method within its sizes, or what the template itself defines."""
        limits = bounds()
        if not isinstance(__obj, BuiltinMethodType):
            if not isinstance(__obj, _CALLABLE):
                raise SecurityError(f"{type(__obj).__name__} is not safely callable")
            for one in (*args, *(kwargs[name] for name in kwargs.keys() - _ITS_OWN)):
                if isinstance(one, VIEWS):
                    limits.weigh(one)
                limits.hold(one)  # a macro puts its arguments into a tuple
            return super().call(__context, __obj, *args, **kwargs)
        owner, name = __obj.__self__, __obj.__name__
        if not any(isinstance(owner, kind) and name in names for kind, names in METHODS.items()):
            raise SecurityError(f"{name} of {type(owner).__name__} is not safely callable")
        args = prepare(owner, name, args, kwargs)
        return limits.hold(super().call(__context, __obj, *args, **kwargs), size_of_element(owner))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - as its parent
        """Return what an operator makes of two values, if it is of an allowed size."""
        known = None
        if not isinstance(left, jinja2.Undefined) and not isinstance(right, jinja2.Undefined):
            known = _check_operands(operator, left, right)
        return bounds().hold(super().call_binop(context, operator, left, right), known=known)


@functools.cache
def environment() -> Sandbox:
    """Return the one sandbox of this process."""
    return Sandbox()


def _check_operands(operator: str, left: Any, right: Any) -> Weight | None:  # noqa: ANN401 - a template's values
    """Refuse an operation whose result is far larger than its operands.

    Return what the result weighs, if it is no number.
    """
    numbers = [one for one in (left, right) if isinstance(one, int | float)]
    rows = [_weigh(one) for one in (left, right) if isinstance(one, str | list | tuple)]
    if operator == "%" and rows:
        refuse("formats texts by %, which is not allowed here")
    for one in numbers:
        check_number(one)
    made = Weight(sum(row.size for row in rows), max((row.depth for row in rows), default=0))
    if operator in ("*", "**"):
        most = _MAX_FACTOR if operator == "*" else _MAX_EXPONENT
        if rows and numbers:
            made = Weight(int(made.size * max(numbers[0], 0)), made.depth)
        if made.size > bounds().most or any(abs(one) > most for one in numbers):
            refuse("multiplies beyond what is allowed here")
    elif operator == "+" and len(rows) == len((left, right)):
        bounds().check(made.size, "adds texts or lists")
    elif len(numbers) != len((left, right)):
        refuse(f"computes {type(left).__name__} {operator} {type(right).__name__}, which is not allowed here")
    return made if rows else None


def _weigh(row: str | list[Any] | tuple[Any, ...]) -> Weight:
    return Weight(len(row), 0) if isinstance(row, str) else bounds().weigh(row)


def _counted(value: Any) -> Any:  # noqa: ANN401 - a template's value
    """Count a long part of something that is not counted by itself."""
    return bounds().hold(value) if isinstance(value, str) and len(value) > _COPIED_CHARACTERS else value


def _finalize(value: Any) -> str:  # noqa: ANN401 - a template's value
    return bounds().text(value)


def _build(pairs: Iterable[Any]) -> dict[Any, Any]:
    """Return a mapping whose keys nobody can choose to have one hash."""
    built: dict[Any, Any] = {}
    for key, value in pairs:
        if key is not None and not isinstance(key, str | bool) and not (isinstance(key, int) and abs(key) < _MAX_KEY):
            refuse(f"uses {type(key).__name__} as a key, which is not allowed here")
        built[key] = value
    return bounds().hold(built)


def _dict(source: Any = (), /, **named: Any) -> dict[Any, Any]:  # noqa: ANN401 - a template's values
    pairs = source.items() if isinstance(source, Mapping) else source
    return _build([*bounds().gather(iter(pairs)), *named.items()])


def _namespace(source: Any = (), /, **named: Any) -> Namespace:  # noqa: ANN401 - a template's values
    return Namespace(_dict(source, **named) if source else named)


def _refuse_format(*_: object, **__: object) -> NoReturn:
    refuse("formats texts, which is not allowed here")


def _raise(message: object) -> NoReturn:
    raise FieldError("messages", bounds().text(message)[:300])


def _now(form: object) -> str:
    return dt.datetime.now(dt.UTC).strftime(bounds().text(form)[:100])
