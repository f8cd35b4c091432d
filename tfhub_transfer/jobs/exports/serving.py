"""A trained model behind HTTP, as `serve` puts it there."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.options.serving import ServeJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.models.encoding import MODEL_FILE, read_record
from tfhub_transfer.serving import kit
from tfhub_transfer.serving.exporting import export_saved_model
from tfhub_transfer.serving.served import SIGNATURE, ServedModel
from tfhub_transfer.storage import opening
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.web import running
from tfhub_transfer.web.app import About, Limits, application, hosts_of
from tfhub_transfer.web.batching import Bounds
from tfhub_transfer.web.servable import Servable

_SERVING = "serving"
_USUAL = "model"
_PREDICTIONS = "predictions.jsonl"
# Examples to try: enough to choose from, short enough to read.
_MOST_EXAMPLES, _MOST_CHARACTERS = 6, 1500
_NAME = re.compile(r"[^/:\s]{1,100}")


def serve(job: ServeJob) -> None:
    """Answers requests until a signal ends it, and those under way before it ends.

    Args:
        job: What to do.

    Raises:
        InputError: If there is no model, it may not be loaded, or nothing can listen there.
    """
    if job.name is not None and not _NAME.fullmatch(job.name):
        raise InputError(
            "`--name` stands in paths: it has neither slash, colon nor space. "
            f"Received: {job.name!r}"
        )
    folder = opening.path_of(job.folder)
    with (
        contextlib.closing(running.listen(job.host, job.port)) as listening,
        _exported(folder, job.trust_code) as export,
    ):
        served = _loaded(export, job.trust_code)
        labels = kit.labels_of(export) or kit.labels_of(export.parent)
        numbers = {"stable": labels.stable, "canary": labels.canary} if labels else {}
        servable = Servable(served, job.name or (labels.name if labels else _USUAL), numbers)
        about = _about(folder, servable, hosts_of(job.host))
        limits = Limits(seconds=job.timeout)
        app = application(servable, about, limits, Bounds(batch=job.batch_size))
        where = running.address_of(listening)
        said = f"Serving {folder}: {where} in a browser, {where}/v1/models/{servable.name}:predict"
        with running.answering(app, listening, job.timeout) as until_its_end:
            say(said)
            until_its_end()


@progress.stage("Loading the export", final=False)
def _loaded(export: Path, trust_code: bool) -> ServedModel:
    """The export, asked once: whoever comes first would wait for what TensorFlow does only then."""
    served = ServedModel(export, trust_code)
    for name in served.tasks:
        texts = ("a",) * len(served.inputs_of(name))
        served.predict([texts if len(texts) > 1 else "a"], signature=name)
    return served


@contextlib.contextmanager
def _exported(folder: Path, trust_code: bool) -> Iterator[Path]:
    """An export: the folder itself, the one in it that `train` wrote, or one of the model."""
    if (folder / _SERVING).is_dir():
        yield folder / _SERVING
    elif (folder / MODEL_FILE).exists() or folder.is_file():
        model, _ = folders.load(folder, trust_code)
        with temporary() as place:
            yield export_saved_model(model, place)
    else:
        yield folder


def _about(folder: Path, servable: Servable, hosts: frozenset[str]) -> About:
    """What training has left that helps to try a model out."""
    record = read_record(folder) if (folder / MODEL_FILE).exists() else {}
    columns: Mapping[str, Any] = record.get("columns", {})
    examples, named = {}, {}
    for name, signature in servable.signatures.items():
        own = columns if name == SIGNATURE else columns.get(name, {})
        own = own if isinstance(own, Mapping) else {}
        named[name] = {n: own[n] for n in ("text", "text_pair") if isinstance(own.get(n), str)}
        report = folder / "report" / ("" if name == SIGNATURE else name) / _PREDICTIONS
        examples[name] = _examples(report, len(signature.inputs))
    return About(examples, named, hosts)


def _examples(path: Path, texts: int) -> list[list[str]]:
    """The first short texts of a report; none where there is no such report."""
    found: list[list[str]] = []
    unread = contextlib.suppress(OSError, ValueError, KeyError, TypeError, InputError)
    with unread, opening.open_file(path) as lines:
        for line in lines:
            given = json.loads(line)["texts"]
            if len(given) == texts and sum(map(len, given)) <= _MOST_CHARACTERS:
                found.append([str(text) for text in given])
            if len(found) == _MOST_EXAMPLES:
                break
    return found
