"""How documents are read: blocks, their comments and outputs, and shapes of lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.e2e_markdown import Block, commands_of, missing_line, read_blocks, shape

DOCUMENT = """
Text with `code`.

```sh
first
```

```text
printed
```

<!-- same terminal -->

```sh
second
```

Words between, so this is no output:

```text
shown
```

<!-- not run: it takes hours -->
```python
third
```
- a list

    with a paragraph

Words.

    indented
"""


def test_blocks() -> None:
    """Languages, lines, comments and outputs; an indented block is one without a language, a list's paragraph is none."""
    first, second, shown, third, indented = read_blocks(Path("d.md"), DOCUMENT)
    assert (first.language, first.text, first.output, str(first)) == ("sh", "first", ["printed"], "d.md:4")
    assert (second.same_terminal, second.output, second.not_run) == (True, None, "")
    assert (shown.language, shown.text) == ("text", "shown")
    assert (third.language, third.not_run, third.same_terminal) == ("python", "it takes hours", False)
    assert indented.language == ""


def test_a_block_is_closed() -> None:
    """One that is not is an error, not the rest of the file."""
    with pytest.raises(ValueError, match="never closed"):
        read_blocks(Path("d.md"), "```sh\necho")


def test_commands_of_a_console() -> None:
    """Each command with the lines that it prints."""
    block = Block(Path("d.md"), 1, "console", "$ one\na\nb\n$ two")
    assert commands_of(block) == [("one", ["a", "b"]), ("two", [])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("memory        175.4 MiB (183,967,617 bytes)", "memory   1.4 MiB (9 bytes)"),
        ("embedding  FP32      [1, 384]  [[-0.0344, 0.03, 6e-05", "embedding  FP32  [2, 8]  [[0.1"),
        ("digest blake3:3de0828d823f9748", "digest blake3:00ff828d823f97aa"),
        ("at 2026-11-29T15:52:43 on 127.0.0.1:38625", "at 2027-01-02T05:02:03 on 127.0.0.1:1"),
        ("source file:/a/b", "source file:/c"),
        ("texts ▃▄▅", "texts ▇▇▇▇"),
    ],
)
def test_shapes_that_agree(one: str, other: str) -> None:
    """Numbers, ids, times, paths, bars and widths of columns may differ."""
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"), [("answered by fp32", "answered by int8"), ("fits yes", "fits no"), ("a", "")]
)
def test_shapes_that_differ(one: str, other: str) -> None:
    """Words may not, nor digits within them."""
    assert shape(one) != shape(other)


@pytest.mark.parametrize(
    ("shown", "printed", "missing"),
    [
        ("a 1\nb", "a 2\n\nb", None),
        ("a\n...\nc", "a\nx\ny\nc", None),
        ("...\nb\n...", "a\nb\nc", None),
        ("a\n...", "a", None),
        ("a\nb", "a", "b"),
        ("a", "b", "a"),
        ("...\nc\nb", "b\nc", "b"),
        ("a", "a\nnoise", "(nothing more, but there was 'noise')"),
    ],
)
def test_outputs(shown: str, printed: str, missing: str | None) -> None:
    """Lines are compared in order; three dots stand for any; what is printed beyond is a difference too."""
    assert missing_line(shown.splitlines(), printed.splitlines()) == missing
