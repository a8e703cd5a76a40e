"""The page of all texts that users may read."""

from __future__ import annotations

import pytest

from echoplaned.testing.messages import ROOT, page, python_texts, rust_texts


def test_the_page_is_of_today() -> None:
    """docs/messages.md is what the code says; `make diagrams` writes it, and its diff shows what changed for users."""
    assert (ROOT / "docs/messages.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('raise ValueError(f"no such model: {name!r} is gone")', ["no such model: {name} is gone"]),
        ('"""A docstring of a module."""\nx = "two words"', []),
        ('log.info("a line of the log")\ntext = "a line for the caller"', ["a line for the caller"]),
        ('a = "said twice, shown once"\nb = "said twice, shown once"', ["said twice, shown once"]),
        ("a = f\"the plan of {', '.join(parts)} is late\"", ["the plan of {', '.join(parts)} is late"]),
    ],
)
def test_texts_of_python(source: str, texts: list[str]) -> None:
    """Literals of three words and more, with their expressions; neither docstrings nor what is logged."""
    assert list(python_texts(source)) == texts


def test_texts_of_rust() -> None:
    """Texts of errors, over several lines too; neither comments nor those of tests."""
    source = (
        '#[error("the header of {0} is cut \\\n    short")]\n// "a text in a comment"\n'
        '#[cfg(test)]\nmod tests {\n const T: &str = "a text in a test";\n}\n'
    )
    assert list(rust_texts(source)) == ["the header of {0} is cut short"]
