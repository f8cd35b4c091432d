"""What a tokenizer's files call its special tokens, and how they stand around texts."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tfhub_transfer.encoders.tokenizers import normalizing
from tfhub_transfer.encoders.tokenizers.packing import Packing
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import records

Json: TypeAlias = Mapping[str, Any]

# By the names of tokenizers, or by `model_type`: what begins and ends texts, what fills rows up,
# what stands for a piece to guess, how many ends are between two texts, how many types there are.
_FAMILIES: Mapping[str, tuple[str, str, str, str, int, int]] = {
    "bert": ("[CLS]", "[SEP]", "[PAD]", "[MASK]", 1, 2),
    "albert": ("[CLS]", "[SEP]", "<pad>", "[MASK]", 1, 2),
    **dict.fromkeys(
        ("roberta", "xlmroberta", "camembert", "mpnet"), ("<s>", "</s>", "<pad>", "<mask>", 2, 1)
    ),
}
_KINDS = ("cls_token", "sep_token", "pad_token", "mask_token")


@dataclasses.dataclass(frozen=True)
class Names:
    """What tokenizer_config.json and its like say.

    Attributes:
        source: The folder.
        kind: Whose tokenizer it is, a name of families such as `xlmroberta`.
        said: The settings.
    """

    source: Path
    kind: str
    said: Json

    @classmethod
    def read(cls, source: Path, config: Json) -> "Names":
        """Reads them.

        Args:
            source: The folder.
            config: Its config.json.

        Raises:
            InputError: If a file is damaged.
        """
        said: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            path = source / name
            said |= records.read(path) if path.is_file() else {}
        for key in _KINDS:
            value = said.get(key)
            said[key] = value.get("content") if isinstance(value, Mapping) else value
        named = re.sub(r"Tokenizer(Fast)?$", "", str(said.get("tokenizer_class") or ""))
        kind = named.lower() if named.lower() in _FAMILIES else ""
        family = str(config.get("model_type") or "").replace("-", "").replace("_", "")
        return cls(source, kind or family, said)

    @property
    def special(self) -> list[str]:
        """The special tokens that the settings name, or the family has."""
        usual = _FAMILIES.get(self.kind, ())[: len(_KINDS)]
        named = [str(self.said[key]) for key in _KINDS if self.said.get(key)]
        return [*named, *map(str, usual)]

    @property
    def prefix_space(self) -> bool:
        """Whether byte-level BPE puts a space before texts."""
        return bool(self.said.get("add_prefix_space", False))

    @property
    def cleaning(self) -> dict[str, object]:
        """Settings of a `BertNormalizer`."""
        return {
            "lowercase": bool(self.said.get("do_lower_case", True)),
            "strip_accents": self.said.get("strip_accents"),
            "handle_chinese_chars": bool(self.said.get("tokenize_chinese_chars", True)),
        }

    @property
    def albert_steps(self) -> list[Json]:
        """What ALBERT's tokenizer does to accents and case."""
        kept, lower = self.said.get("keep_accents", False), self.said.get("do_lower_case", True)
        accents: list[Json] = [] if kept else [{"type": "NFKD"}, {"type": "StripAccents"}]
        return [*accents, *([{"type": "Lowercase"}] if lower else [])]

    def unknown(self, ids: Mapping[str, int], usual: str) -> str:
        """The piece of what is unknown.

        Args:
            ids: The number of each piece.
            usual: What it is if no setting names it.
        """
        named = self.said.get("unk_token")
        named = named.get("content") if isinstance(named, Mapping) else named
        found = str(named or usual)
        if found not in ids:
            raise _missing(found, self.source)
        return found

    def packing(
        self, ids: Mapping[str, int], unknown: int | None, said: Json | None = None
    ) -> Packing:
        """What stands around texts: as tokenizer.json says, or else as is usual in the family.

        Args:
            ids: The number of each piece.
            unknown: That of what is unknown.
            said: A tokenizer.json.

        Raises:
            InputError: If a special token isn't there, or they stand in another way.
        """
        usual = _FAMILIES.get(self.kind)
        steps = normalizing.steps((said or {}).get("post_processor"))
        steps = [each for each in steps if each.get("type") != "ByteLevel"]
        if len(steps) > 1:
            raise normalizing.refused("post_processor", steps[1])
        if not steps and usual is None:
            raise normalizing.refused("post_processor", f"none, of a {self.kind or 'model'}")
        start, end, padding, mask, between, segments = usual or (*_FAMILIES["bert"][:4], 1, 2)
        start, end, padding, mask = (
            str(self.said.get(key) or each)
            for key, each in zip(_KINDS, (start, end, padding, mask))
        )
        if steps:
            start, end, between, segments = _around(steps[0])
        padding = padding if padding in ids or "<pad>" not in ids else "<pad>"
        for each in (start, end, padding):
            if each not in ids:
                raise _missing(each, self.source)
        return Packing(
            start=ids[start],
            end=ids[end],
            padding=ids[padding],
            unknown=unknown,
            mask=ids.get(mask),
            separators=between,
            segments=segments,
        )


def _missing(token: str, source: Path) -> InputError:
    return InputError(
        f"the tokenizer's vocabulary must hold the special token {token}. Received: {source}"
    )


def _around(step: Json) -> tuple[str, str, int, int]:
    """What begins and ends texts, how many ends are between two, and how many types there are."""
    kind = step.get("type")
    if kind in ("RobertaProcessing", "BertProcessing"):
        of_bert = kind == "BertProcessing"
        start, end = (str(step.get(name, [None])[0]) for name in ("cls", "sep"))
        return start, end, 1 if of_bert else 2, 2 if of_bert else 1
    if kind != "TemplateProcessing":
        raise normalizing.refused("post_processor", step)
    single, _ = _template(step.get("single"))
    pair, types = _template(step.get("pair"))
    between = max(len(pair) - 4, 1)
    start, end = (pair[0], pair[-1]) if pair else ("", "")
    wanted = [start, "A", *[end] * between, "B", end]
    apart = [0, 0, 0, 1, 1]
    if single != [start, "A", end] or pair != wanted or (any(types) and types != apart):
        raise normalizing.refused("post_processor", f"TemplateProcessing of {' '.join(pair)}")
    return start, end, between, 2 if any(types) else 1


def _template(said: object) -> tuple[list[str], list[int]]:
    rows = said if isinstance(said, list) else []
    parts = [part for row in rows if isinstance(row, Mapping) for part in row.values()]
    return [str(part.get("id")) for part in parts], [int(part.get("type_id", 0)) for part in parts]
