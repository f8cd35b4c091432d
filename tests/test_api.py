"""The public interface as a file: whoever changes it sees so, and says so by writing it anew.

python tests/test_api.py
"""

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("public_api.txt")
_FROM_BELOW = ("File", "profile")  # what a room offers that stands on a lower floor
_MODELS = "tfhub_transfer.models."  # of which one alone is for users
_ROOMS = ("data", "registry", "runtime", "tasks", "tuning")


def describe() -> str:
    """Names and signatures of all that users script against, one a line."""
    import tfhub_transfer as tt

    lines = []
    for name in sorted(tt.__all__):
        if name not in _ROOMS and name != "__version__":
            lines += _described(f"tt.{name}", getattr(tt, name))
    for room in _ROOMS:
        module = getattr(tt, room)
        names = getattr(module, "__all__", None) or _own(module)
        for name in sorted(names):
            lines += _described(f"tt.{room}.{name}", getattr(module, name))
    return "\n".join([*lines, *_commands()]) + "\n"


def _own(module: Any) -> list[str]:
    """What a module without `__all__` defines for others."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (getattr(value, "__module__", None) == module.__name__ or name in _FROM_BELOW)
    ]


def _described(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value) and issubclass(value, Exception):
        yield name
    elif inspect.isclass(value):
        yield f"{name}{_signature(value)}"
        for member, of_class in sorted(_members(value).items()):
            if not member.startswith("_"):
                yield from _member(f"{name}.{member}", of_class)
    elif callable(value):
        yield f"{name}{_signature(value)}"
    else:
        yield name


def _members(kind: Any) -> dict[str, Any]:
    """What a class has of its own, and of the models that it is made up of, which have no name."""
    found = dict(vars(kind))
    parts = [base for base in kind.__mro__[1:] if base.__module__.startswith(_MODELS)]
    for base in parts if kind.__name__ == "TransferModel" else []:
        found = {**vars(base), **found}
    return found


def _member(name: str, value: Any) -> Iterator[str]:
    value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    yield f"{name}{_signature(value)}" if inspect.isfunction(value) else name


def _signature(value: Any) -> str:
    """Names and defaults; types are the type checker's business."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters]))


def _commands() -> Iterator[str]:
    from tfhub_transfer import cli

    [commands] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, parser in sorted(commands.choices.items()):
        for action in parser._actions:
            words = ", ".join(action.option_strings) or action.dest
            choices = f" {{{','.join(map(str, action.choices))}}}" if action.choices else ""
            yield f"tfhub-transfer {name} {words}{choices}"


def test_the_public_interface_is_what_the_file_says() -> None:
    found = describe().splitlines()
    known = GOLDEN.read_text(encoding="utf-8").splitlines()
    gone, new = sorted(set(known) - set(found)), sorted(set(found) - set(known))
    assert not gone and not new, (
        "the public interface has changed; if it is meant, run `python tests/test_api.py` and say "
        f"so in CHANGELOG.md. Gone: {gone}. New: {new}"
    )


def test_the_contract_holds() -> None:
    known = GOLDEN.read_text(encoding="utf-8")
    for name in ("Encoder", "ProgressiveUnfreezing", "build_model", "evaluate", "fine_tune"):
        assert f"tt.{name}(" in known
    for words in ("train --unfreeze", "evaluate --data", "predict source", "convert --output"):
        assert f"tfhub-transfer {words}" in known


if __name__ == "__main__":
    GOLDEN.write_text(describe(), encoding="utf-8")
    sys.exit(0)
