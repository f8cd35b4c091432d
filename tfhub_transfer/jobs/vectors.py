"""Texts to vectors, as `encode` does."""

import dataclasses

from tfhub_transfer import data
from tfhub_transfer.data import reading
from tfhub_transfer.encoders import (
    conversion,  # noqa: F401
)
from tfhub_transfer.errors import visible
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.asking import Embedded
from tfhub_transfer.jobs.inputs import file_of
from tfhub_transfer.jobs.options.asking import EncodeJob
from tfhub_transfer.jobs.saying import say_notes
from tfhub_transfer.jobs.shards import running
from tfhub_transfer.jobs.shards.records import Output, digest
from tfhub_transfer.models import (
    building,  # noqa: F401  teaches the registry what was trained, as the next does of others
    encoding,
)
from tfhub_transfer.storage import opening


def encode(job: EncodeJob) -> None:
    """Writes the vectors of all texts of a file to another, or prints them as JSON lines.

    Args:
        job: What to do.

    Raises:
        InputError: If one of them is unusable.
    """
    if running.is_asked(job):
        _encode_shards(job)
        return
    file = file_of(job, job.source)
    chunks = encoding.encode_file(job.model, file, job.text, job.normalize, job.trust_code)
    if job.output:
        inputs = (job.model, job.source)
        count = encoding.write_vectors(chunks, job.output, job.overwrite, inputs)
        print(visible(f"Written to {job.output}: {count} vectors"))
    else:
        for texts, vectors in chunks:
            for text, vector in zip(texts, vectors.tolist()):
                print(wording.json_line({"text": text, "embedding": vector}), flush=True)
    say_notes(chunks)


def _encode_shards(job: EncodeJob) -> None:
    # In lines of JSON a vector takes four times as much, and long to be read.
    job = dataclasses.replace(job, form=job.form or "parquet")
    assert job.output is not None
    work = running.Work(job, Output(job.output), load)
    told = {name: getattr(job, name) for name in ("text", "normalize")}
    about = {"command": "encode", "model": _digest(job.model), **told, **running.told(job)}
    running.answer(work, about, [job.model])


def _digest(model: str) -> str:
    """What tells a model or an encoder: its bytes, or its name where that stands for them."""
    path = opening.path_of(model)
    file = encoding.model_file(model)
    if file is not None and file.exists():
        return digest([file, path / encoding.RECORD_FILE])
    return digest([path]) if path.exists() else model


def load(job: EncodeJob) -> running.Ask:
    """What encodes the texts of one file after the other.

    Args:
        job: What to do.

    Raises:
        InputError: If the model or the encoder is unusable.
    """
    record = encoding.read_record(opening.path_of(job.model))
    model = encoding.vector_model(job.model, job.trust_code)
    named: encoding.ColumnNames = {"text": job.text} if job.text else {}
    precision, usual = encoding.precision_of(record), encoding.text_column(record)

    def ask(file: data.File, bad: reading.Bad) -> Embedded:
        if job.text and reading.is_lines(file):
            reading.refuse_columns([job.text], file)
        return Embedded(
            model, file, named, precision, bad=bad, normalize=job.normalize, usual=usual
        )

    return ask
