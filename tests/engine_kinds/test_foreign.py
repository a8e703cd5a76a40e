"""Foreign kinds: settings that name them, and the command lines that they make."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from echoplaned.core.facts import Dtype, Task
from echoplaned.engine_kinds import KINDS, command, configure_kinds, find_kind, llama_cpp, sizing_name
from echoplaned.engine_kinds.configured import configure
from echoplaned.engine_kinds.foreign import Build, Launch, passed_environment


def launch(build: Build, **changes: object) -> Launch:
    """Return a start of an engine."""
    options = {option.name: option.default for option in llama_cpp.OPTIONS}
    fields: dict[str, object] = {
        "build": build, "model": Path("/m/a b;$(x).gguf"), "served_names": ("m", "m/v1"), "task": Task.GENERATION, "dtype": Dtype.FP16,
        "context_length": 512, "max_concurrency": 4, "options": options, "socket": "/s/a.sock",
    }  # fmt: skip
    return Launch(**{**fields, **changes})  # type: ignore[arg-type]  # the fields of a Launch


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("llama_cpp", "is not NAME=PREFIX"),
        ("=x", "is not NAME=PREFIX"),
        ("abacus=/opt", "is no engine; NAME is one of"),
        ("torch=/opt", "is no engine"),
        ("llama_cpp-=/opt", "is no engine"),
        ("llama_cpp=/nonexistent", "there is no llama-server at"),
        ("command=", "is not NAME=PREFIX"),
        ("command=/bin/echo {model}", "needs {model}, and one of"),
        ("command=/bin/echo {model} {port} {socket}", "needs {model}, and one of"),
        ("command=/bin/echo {model} {port} {colour}", "unknown fields (colour)"),
        ("command=/nonexistent {model} {port}", "does not exist or cannot be executed"),
        ("command=/bin/echo '{model} {port}", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_told_at_the_start(text: str, says: str) -> None:
    """With what was looked for, before a port is bound."""
    with pytest.raises(ValueError, match=re.escape(says)):
        configure(text, KINDS)


def test_labels_are_engines_of_their_own() -> None:
    """Two builds of one kind stand side by side; both are planned as the kind."""
    line = f"{shlex.quote(sys.executable)} {{model}} {{port}}"
    kinds = configure_kinds((f"command={line}", f"command-next={line}"))
    names = {kind.name for kind in kinds if kind.is_configured}
    assert names == {"torch", "command", "command-next"}
    assert find_kind("command-next", kinds) is not find_kind("command", kinds)
    assert find_kind("command-gone", kinds) is find_kind("command", kinds)
    assert sizing_name("llama_cpp-b2") == "llama.cpp"
    with pytest.raises(ValueError, match="given twice"):
        configure_kinds((f"command={line}", f"command={line}"))


def test_no_shell_reads_a_command() -> None:
    """What is put in is one word, whatever is in it; what a shell would do is text."""
    build = command.find_build("/bin/echo '{model}' --port={port} ; rm -rf $HOME | cat")
    words = command.arguments(launch(build, socket="", port=8000))
    assert words[1:] == ("/m/a b;$(x).gguf", "--port=8000", ";", "rm", "-rf", "$HOME", "|", "cat")


def test_a_command_is_called_by_the_path_that_was_named(tmp_path: Path) -> None:
    """An interpreter of an environment is a link, and finds the environment's packages by that link alone."""
    venv.create(tmp_path / "env", symlinks=True, with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    build = command.find_build(f"{python} -c 'import sys; print(sys.prefix)' {{model}} {{port}}")
    words = command.arguments(launch(build, socket="", port=8000))
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(tmp_path / "env")
    assert build.version.startswith(f"({python.resolve().name} of "), "it is the program itself that says what it is"


def test_llama_cpp_has_the_context_of_all_slots() -> None:
    """A slot has its share; nothing is downloaded, fitted or cached beside the plan."""
    words = llama_cpp.arguments(launch(Build("1", ("/x/llama-server",))))
    assert words[words.index("--ctx-size") + 1] == "2048"
    assert words[words.index("--parallel") + 1] == "4"
    assert words[words.index("--host") + 1] == "/s/a.sock"
    assert words[words.index("--cache-ram") + 1] == "0"
    assert {"--offline", "--no-ui", "--metrics"} <= set(words)
    assert "--port" not in words
    assert words[-2:] == ("--device", "none")


def test_an_engine_gets_named_variables_only() -> None:
    """None of ours, none of Python's, and none of those that engines read by the hundred."""
    given = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "0",
        "PYTHONPATH": "x",
        "LLAMA_ARG_MODEL": "x",
        "VLLM_USE_V1": "1",
        "AWS_SECRET": "x",
    }
    assert passed_environment(given) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}
