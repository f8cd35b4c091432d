"""Examples in docstrings stand after a blank line, as Keras has them: here they become code."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Puts marks of code around examples of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """The text with its examples as blocks of code.

    Args:
        text: A docstring whose lines have lost what they are indented by.
    """
    blocks = text.split("\n\n")
    made = [f"```pycon\n{b.strip()}\n```" if b.lstrip().startswith(">>> ") else b for b in blocks]
    return "\n\n".join(made)
