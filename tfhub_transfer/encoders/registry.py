"""Which encoders exist, what each reads and gives, and where on disk it lies."""

import difflib
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias, TypedDict, cast, get_type_hints

from tfhub_transfer.encoders.catalogue import BERT_OUTPUTS, EncoderInfo, hub_encoders
from tfhub_transfer.encoders.fetching import cache_folder, cached, fetch, is_remote
from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Fingerprint, Handle
from tfhub_transfer.storage import atomic, downloads, opening, records

DEFAULT_ENCODER = "minilm-l3-384"
INFORMATION = "tfhub_transfer.json"
GRAPH = "saved_model.pb"
TRAINED = "model.keras"
# A converter writes the encoder that it makes of the first into the second, an empty folder.
Converter: TypeAlias = Callable[[Path, Path], object]


class Information(TypedDict, total=False):
    """What the `tfhub_transfer.json` of an encoder's folder may say, and of which type."""

    name: str
    dialect: str
    dimension: int
    layers: int
    language: str
    outputs: list
    lower_case: bool
    strip_accents: bool
    prompt: str
    normalized: bool
    speed: int | float
    scores: dict
    tuned_from: str
    tuned_before_from: str


# Filled by what makes them, which stands above: neither conversion nor models are known here.
_converters: dict[str, Converter] = {}


class EncoderSource:
    """An encoder by what was given for it: what is known of it, where it lies, what lies there.

    Each is found out once, when it is first asked for. Whoever works on with the encoder is handed
    this, so that nobody looks its handle up again. It is good for one run: what changes in its
    folder afterwards, by a training that is repeated, another one finds out.

    Args:
        handle: As for `resolve`.
        folder: Where it lies, if that is known already, as of one that came out of a file.

    Attributes:
        handle: What was given; for `"auto"` the packaged encoder's name, because what that means
            may change and a saved model must not.

    Example:

    >>> source = EncoderSource("auto")
    >>> source.handle, source.known.dimension, source.folder.name
    ('minilm-l3-384', 384, 'minilm-l3-384')
    """

    def __init__(self, handle: str | os.PathLike[str], folder: Path | None = None) -> None:
        self.handle = Handle(DEFAULT_ENCODER if handle == "auto" else str(handle))
        self._given = self.handle if handle == "auto" else handle
        if folder is not None:
            # In the place of the cached property, which would look for it or fetch it.
            self.folder = opening.path_of(folder)

    def __str__(self) -> str:
        return self.handle

    def __getstate__(self) -> dict[str, object]:
        """All but a digest that is under way, which can't be written; it is made again."""
        return {name: value for name, value in vars(self).items() if name != "_files"}

    @functools.cached_property
    def known(self) -> EncoderInfo | None:
        """What is known of it without fetching it; `None` if nothing is."""
        handle = _named(self._given)
        if (Path(handle) / INFORMATION).is_file():
            return _info(Path(handle), self._said, packaged=False)
        key, all_known = _key(handle), known_encoders()
        return next((e for e in all_known if handle == e.name or key == _key(e.handle)), None)

    @functools.cached_property
    def folder(self) -> Path:
        """The folder with its SavedModel, fetched or converted if need be; see `resolve`."""
        handle = _named(self._given)
        if is_remote(handle):
            return _checked(fetch(handle), handle)
        if Path(handle).exists():
            kind, source = _foreign(Path(handle))
            return _converted(kind, source) if kind else _checked(source, handle)
        if self.known is None:
            raise InputError(_unknown(handle))
        packaged = self.known.packaged
        path = Path(self.known.handle) if packaged else fetch(self.known.handle)
        return _checked(path, handle)

    @functools.cached_property
    def information(self) -> Information:
        """What the `tfhub_transfer.json` in its folder says; nothing if there is none."""
        folder = self.folder
        return self._said if str(folder) == str(self._given) else read_information(folder)

    @property
    def provenance(self) -> dict[str, object]:
        """What it was tuned from, if it says so, as `{"tuned_from": handle}`."""
        return _provenance(self.information)

    @functools.cached_property
    def preprocessor(self) -> Path | None:
        """The folder of the TF Hub preprocessor that belongs to it; `None` if none is known.

        Raises:
            InputError: If it is known and can't be fetched.
        """
        beside = self.folder / "preprocessor"
        if (beside / GRAPH).exists():
            return beside
        known = self.known
        return resolve(known.preprocessor) if known is not None and known.preprocessor else None

    def fingerprint(self, weights: Iterable[bytes]) -> Fingerprint:
        """SHA-256 of the SavedModel's graph, its assets, and weights.

        Args:
            weights: The bytes of each weight, in order.
        """
        digest = self._files.copy()
        for weight in weights:
            digest.update(weight)
        return Fingerprint(digest.hexdigest())

    @functools.cached_property
    def _said(self) -> Information:
        """What the folder that was given says of itself; where it was converted, another does."""
        return read_information(Path(_named(self._given)))

    @functools.cached_property
    def _files(self) -> "hashlib._Hash":
        """The digest of what no training changes."""
        digest = hashlib.sha256((self.folder / GRAPH).read_bytes())
        for path in sorted(p for p in (self.folder / "assets").rglob("*") if p.is_file()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest


# What names an encoder. Whoever gives a source saves the work of looking it up again.
Named: TypeAlias = str | os.PathLike[str] | EncoderSource


def source_of(handle: Named) -> EncoderSource:
    """What was looked up already as it is; anything else to be looked up.

    Args:
        handle: As for `resolve`.
    """
    return handle if isinstance(handle, EncoderSource) else EncoderSource(handle)


def packaged_folder() -> Path:
    """The folder of what ships with the package: inside it when installed, beside it otherwise."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "saved_models"
    return inside if inside.is_dir() else package.parent / "saved_models"


def samples_path() -> Path:
    """The packaged sample: customer messages with labels for each kind of task."""
    return packaged_folder() / "samples" / "support_messages.csv"


@functools.cache
def known_encoders() -> tuple[EncoderInfo, ...]:
    """All encoders that are known by name, the packaged ones first.

    Example:

    >>> known_encoders()[0].packaged
    True
    """
    folders = sorted(p.parent for p in packaged_folder().glob(f"*/{INFORMATION}"))
    packaged = [_info(folder, read_information(folder), packaged=True) for folder in folders]
    return (*sorted(packaged, key=lambda e: e.name != DEFAULT_ENCODER), *hub_encoders())


def describe(handle: Named) -> EncoderInfo | None:
    """What is known of an encoder without fetching it; `None` if nothing is.

    Args:
        handle: Any spelling: a name, `"auto"`, a TF Hub or Kaggle address of any version, or a
            folder that `convert` wrote.

    Example:

    >>> describe("https://tfhub.dev/google/nnlm-en-dim50/2").dimension
    50
    """
    return source_of(handle).known


def require_token_vectors(handle: Named, purpose: str) -> None:
    """Refuses an encoder that gives no token vectors, before anything is downloaded.

    Args:
        handle: The encoder.
        purpose: What needs token vectors, for the message.

    Raises:
        InputError: If the encoder is known to give whole-text vectors only.
    """
    known = describe(handle)
    if known is not None and not known.has_token_vectors:
        raise InputError(
            f"{purpose} with this head reads token vectors, and {known.name} gives only whole-text "
            "vectors; use a BERT-like encoder (`tfhub-transfer encoders` lists them). "
            f"Received: {handle}"
        )


def resolve(handle: Named) -> Path:
    """The folder on disk with the SavedModel of an encoder or preprocessor.

    Args:
        handle: A packaged name, `"auto"`, a folder, a TF Hub or Kaggle handle, the name of a known
            TF Hub encoder; or the folder of a Hugging Face BERT, or what `train` wrote, of which
            an encoder is made in the cache.

    Raises:
        InputError: If there is nothing usable of that name.

    Example:

    >>> resolve("auto").name
    'minilm-l3-384'
    """
    return source_of(handle).folder


def find(handle: Named) -> Path | None:
    """The folder that `resolve` gives, if it is on this machine; nothing is fetched or converted.

    Args:
        handle: As for `resolve`.
    """
    source = source_of(handle)
    handle = _named(source._given)
    if not is_remote(handle) and not Path(handle).exists() and source.known is not None:
        handle = source.known.handle
    folder = cached(handle) if is_remote(handle) else Path(handle)
    if folder is not None:
        kind, made_of = _foreign(folder)
        folder = _conversion_of(made_of) if kind else folder
    return folder if folder is not None and (folder / GRAPH).is_file() else None


def preprocessor_path(handle: str, encoder_path: Path) -> Path | None:
    """The folder of the TF Hub preprocessor that belongs to an encoder; `None` if none is known.

    Args:
        handle: The encoder's handle.
        encoder_path: Its folder on disk.

    Raises:
        InputError: If it is known and can't be fetched.
    """
    return EncoderSource(handle, encoder_path).preprocessor


def register_converter(kind: str, convert: Converter) -> None:
    """Tells the registry how to make a TF Hub encoder of another kind of folder.

    Args:
        kind: `"huggingface"`, or `"trained"` for `.keras` files.
        convert: Called with the source and the folder to write.
    """
    _converters[kind] = convert


def _named(handle: object) -> str:
    """A handle as a string, which may be a name, an address or a path that there can be."""
    if not (isinstance(handle, str) and is_remote(handle)):
        path = opening.path_of(handle)
        return str(path) if str(handle).startswith("~") else str(handle)
    return str(handle)


def _info(folder: Path, facts: Information, packaged: bool) -> EncoderInfo:
    if not {"dialect", "dimension"} <= set(facts):
        raise InputError(
            f"{INFORMATION} must say an encoder's `dialect` and `dimension`; it is damaged. "
            f"Received: {folder}"
        )
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    outputs = facts.get("outputs") or BERT_OUTPUTS
    return EncoderInfo(
        name=facts.get("name") or folder.name,
        handle=str(folder),
        dialect=facts["dialect"],
        dimension=int(facts["dimension"]),
        layers=facts.get("layers"),
        language=facts.get("language") or "en",
        outputs=tuple(outputs),
        packaged=packaged,
        size_mb=round(size / 1e6, 1),
        speed=facts.get("speed"),
        scores=facts.get("scores", {}),
    )


def read_information(folder: str | os.PathLike[str]) -> Information:
    """What the `tfhub_transfer.json` of an encoder's folder says; nothing if there is none.

    Args:
        folder: The encoder's folder.
    """
    path = opening.path_of(folder) / INFORMATION
    facts = records.read(path) if path.exists() else {}
    for key, kind in get_type_hints(Information).items():
        records.take(facts, key, kind, path)
    return cast(Information, facts)


def provenance(folder: str | os.PathLike[str]) -> dict[str, object]:
    """What an encoder was tuned from, if it says so, as `{"tuned_from": handle}`.

    Args:
        folder: The encoder's folder.
    """
    return _provenance(read_information(folder))


def _provenance(facts: Information) -> dict[str, object]:
    said = ("tuned_from", "tuned_before_from")
    return {key: value for key, value in facts.items() if key in said}


def _key(handle: str) -> str:
    """A handle without what may differ between spellings: host, scheme, version."""
    path = re.sub(r"^(https?://)?(www\.)?(tfhub\.dev|kaggle\.com/models)/|^kaggle:", "", handle)
    path = re.sub(r"/?(frameworks|variations|versions)/", "/", path, flags=re.IGNORECASE)
    return re.sub(r"/\d+/?$", "", path).rstrip("/").lower()


def _checked(folder: Path, handle: str) -> Path:
    if (folder / GRAPH).is_file():
        return folder
    if not folder.is_dir():
        problem = "it is a file"
    elif (folder / "saved_model.pbtxt").exists():
        problem = "it is in text form (saved_model.pbtxt)"
    else:
        problem = f"it has no {GRAPH}"
    raise InputError(
        f"this isn't a SavedModel: {problem}; expected a folder with {GRAPH} and variables, or a "
        f"Hugging Face model with config.json, model.safetensors, vocab.txt. Received: {handle}"
    )


def _foreign(path: Path) -> tuple[str, Path]:
    """What an encoder has to be made of, with its kind; no kind if it is one, or nothing."""
    # First: an encoder stays one whatever else lies in its folder.
    if (path / GRAPH).exists():
        return "", path
    trained = path if path.suffix == ".keras" else path / TRAINED
    if trained.is_file():
        return "trained", trained
    return ("huggingface" if (path / "config.json").is_file() else ""), path


def _conversion_of(source: Path) -> Path:
    """Where what was made of a source lies in the cache; of a changed one it is another."""
    # Sizes and times, not contents, which may be gigabytes and are looked at for every handle.
    digest = hashlib.sha1(str(source.resolve()).encode("utf-8"))
    files = [source] if source.is_file() else source.rglob("*")
    for path in sorted(p for p in files if p.is_file()):
        state = path.stat()
        digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}".encode())
    return cache_folder() / f"converted-{digest.hexdigest()}"


def _converted(kind: str, source: Path) -> Path:
    """Makes an encoder of a Hugging Face folder or a trained model once, in the cache."""
    target = _conversion_of(source)
    if (target / GRAPH).is_file():
        return target
    if kind not in _converters:
        raise InputError(
            "an encoder must be made of it first: `tfhub-transfer convert FOLDER --output DIR` of "
            "a Hugging Face folder, `tt.load_model(file).encoder.save(folder)` of a trained model. "
            f"Received: {source}"
        )
    with downloads.one_at_a_time(target):
        if not (target / GRAPH).is_file():  # or another process was quicker
            with atomic.folder(target) as scratch:
                _converters[kind](source, scratch)
    return target


def _unknown(handle: str) -> str:
    names = [encoder.name for encoder in known_encoders()]
    near = difflib.get_close_matches(handle, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return (
        f"no such encoder: neither a folder nor a known name; {hint}`tfhub-transfer encoders` "
        f"lists the names, and folders and https://tfhub.dev handles work too. Received: {handle}"
    )
