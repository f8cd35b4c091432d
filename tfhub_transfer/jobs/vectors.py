"""Texts to vectors, as `encode` does."""

from tfhub_transfer.encoders import (
    conversion,  # noqa: F401
)
from tfhub_transfer.errors import visible
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.asking_options import EncodeJob
from tfhub_transfer.jobs.inputs import file_of
from tfhub_transfer.jobs.saying import say_notes
from tfhub_transfer.models import (
    building,  # noqa: F401  teaches the registry what was trained, as the next does of others
    encoding,
)


def encode(job: EncodeJob) -> None:
    """Writes the vectors of all texts of a file to another, or prints them as JSON lines.

    Args:
        job: What to do.

    Raises:
        InputError: If one of them is unusable.
    """
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
