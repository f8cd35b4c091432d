"""The well-known text encoders of TF Hub, as facts: handle, preprocessor, dimensions, outputs.

Sources: the models' pages on https://tfhub.dev (now https://www.kaggle.com/models) and the table of
https://www.tensorflow.org/text/tutorials/classify_text_with_bert.
"""

import dataclasses
from collections.abc import Iterator, Mapping

BERT_OUTPUTS = ("default", "pooled_output", "sequence_output", "encoder_outputs")
TEXT_OUTPUTS = ("default",)
_HUB = "https://tfhub.dev"
_UNCASED = f"{_HUB}/tensorflow/bert_en_uncased_preprocess/3"
_CASED = f"{_HUB}/tensorflow/bert_en_cased_preprocess/3"
_MULTI = f"{_HUB}/tensorflow/bert_multi_cased_preprocess/3"
_ALBERT = f"{_HUB}/tensorflow/albert_en_preprocess/3"


@dataclasses.dataclass(frozen=True)
class EncoderInfo:
    """What is known of an encoder before it is fetched.

    Attributes:
        name: Its short name.
        handle: Where it comes from.
        dialect: `"bert"` (three id inputs) or `"text"` (strings in).
        dimension: Width of its vectors.
        preprocessor: Handle of the TF Hub preprocessor that belongs to it.
        layers: Number of Transformer layers.
        language: ISO code, or `"multi"`.
        outputs: Keys of what it gives.
        packaged: Whether it ships with this package.
        size_mb: Size on disk in MB, if known.
        speed: Texts a second, as a multiple of those of all-MiniLM-L6-v2, if measured.
        scores: Test scores by what was measured, if any were.
    """

    name: str
    handle: str
    dialect: str
    dimension: int
    preprocessor: str | None = None
    layers: int | None = None
    language: str = "en"
    outputs: tuple[str, ...] = TEXT_OUTPUTS
    packaged: bool = False
    size_mb: float | None = None
    speed: float | None = None
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def has_token_vectors(self) -> bool:
        """Whether it gives a vector for each token, not only for the whole text."""
        return "sequence_output" in self.outputs


def hub_encoders() -> tuple[EncoderInfo, ...]:
    """All encoders of TF Hub that are known by name."""
    return (
        *_small_berts(),
        *_berts(),
        *_experts(),
        *_albert_and_kin(),
        *_embeddings(),
        *_sentence(),
    )


def _bert(
    path: str, dimension: int, layers: int, preprocessor: str, language: str = "en"
) -> EncoderInfo:
    return EncoderInfo(
        path.split("/")[1],
        f"{_HUB}/{path}",
        "bert",
        dimension,
        preprocessor,
        layers,
        language,
        BERT_OUTPUTS,
    )


def _small_berts() -> Iterator[EncoderInfo]:
    """All 24 sizes of Turc et al. 2019, "Well-Read Students Learn Better"."""
    for layers in (2, 4, 6, 8, 10, 12):
        for dimension in (128, 256, 512, 768):
            size = f"L-{layers}_H-{dimension}_A-{dimension // 64}"
            handle = f"{_HUB}/tensorflow/small_bert/bert_en_uncased_{size}/2"
            yield EncoderInfo(
                f"small_bert_{size}",
                handle,
                "bert",
                dimension,
                _UNCASED,
                layers,
                "en",
                BERT_OUTPUTS,
            )


def _berts() -> Iterator[EncoderInfo]:
    yield _bert("tensorflow/bert_en_uncased_L-12_H-768_A-12/4", 768, 12, _UNCASED)
    yield _bert("tensorflow/bert_en_cased_L-12_H-768_A-12/4", 768, 12, _CASED)
    yield _bert("tensorflow/bert_en_uncased_L-24_H-1024_A-16/4", 1024, 24, _UNCASED)
    yield _bert("tensorflow/bert_en_cased_L-24_H-1024_A-16/4", 1024, 24, _CASED)
    yield _bert("tensorflow/bert_en_wwm_uncased_L-24_H-1024_A-16/4", 1024, 24, _UNCASED)
    yield _bert("tensorflow/bert_en_wwm_cased_L-24_H-1024_A-16/4", 1024, 24, _CASED)
    yield _bert("tensorflow/bert_multi_cased_L-12_H-768_A-12/4", 768, 12, _MULTI, "multi")
    chinese = f"{_HUB}/tensorflow/bert_zh_preprocess/3"
    yield _bert("tensorflow/bert_zh_L-12_H-768_A-12/4", 768, 12, chinese, "zh")


def _experts() -> Iterator[EncoderInfo]:
    """BERT trained further on one kind of text, from the collection `experts/bert`."""
    kinds = (
        "wiki_books",
        "wiki_books/mnli",
        "wiki_books/qnli",
        "wiki_books/qqp",
        "wiki_books/sst2",
        "wiki_books/squad2",
        "pubmed",
        "pubmed/squad2",
    )
    for kind in kinds:
        yield EncoderInfo(
            f"experts_{kind.replace('/', '_')}",
            f"{_HUB}/google/experts/bert/{kind}/2",
            "bert",
            768,
            _UNCASED,
            12,
            "en",
            BERT_OUTPUTS,
        )


def _albert_and_kin() -> Iterator[EncoderInfo]:
    uncased, albert = _UNCASED, _ALBERT
    labse = f"{_HUB}/google/universal-sentence-encoder-cmlm/multilingual-preprocess/2"
    cmlm = "google/universal-sentence-encoder-cmlm"
    mobile = "tensorflow/mobilebert_en_uncased_L-24_H-128_B-512_A-4_F-4_OPT/1"
    for name, path, dimension, layers, preprocessor, language in (
        ("albert_en_base", "tensorflow/albert_en_base/3", 768, 12, albert, "en"),
        ("albert_en_large", "tensorflow/albert_en_large/3", 1024, 24, albert, "en"),
        ("albert_en_xlarge", "tensorflow/albert_en_xlarge/3", 2048, 24, albert, "en"),
        ("albert_en_xxlarge", "tensorflow/albert_en_xxlarge/3", 4096, 12, albert, "en"),
        ("electra_small", "google/electra_small/2", 256, 12, uncased, "en"),
        ("electra_base", "google/electra_base/2", 768, 12, uncased, "en"),
        ("electra_large", "google/electra_large/2", 1024, 24, uncased, "en"),
        ("mobilebert_en_uncased", mobile, 512, 24, uncased, "en"),
        ("LaBSE", "google/LaBSE/2", 768, 12, labse, "multi"),
        ("cmlm-en-base", f"{cmlm}/en-base/1", 768, 12, uncased, "en"),
        ("cmlm-en-large", f"{cmlm}/en-large/1", 1024, 24, uncased, "en"),
        ("cmlm-multilingual-base", f"{cmlm}/multilingual-base/1", 768, 12, labse, "multi"),
    ):
        yield EncoderInfo(
            name, f"{_HUB}/{path}", "bert", dimension, preprocessor, layers, language, BERT_OUTPUTS
        )


def _embeddings() -> Iterator[EncoderInfo]:
    """Word embeddings averaged over a text: NNLM (Bengio et al. 2003) and Swivel (2016)."""
    for language in ("en", "de", "es", "id", "ja", "ko", "zh"):
        for dimension in (50, 128):
            for suffix in ("", "-with-normalization"):
                name = f"nnlm-{language}-dim{dimension}{suffix}"
                yield EncoderInfo(
                    name, f"{_HUB}/google/{name}/2", "text", dimension, language=language
                )
    for name, dimension in (
        ("tf2-preview/gnews-swivel-20dim", 20),
        ("tf2-preview/gnews-swivel-20dim-with-oov", 20),
        ("Wiki-words-250", 250),
        ("Wiki-words-250-with-normalization", 250),
        ("Wiki-words-500", 500),
        ("Wiki-words-500-with-normalization", 500),
    ):
        version = 1 if name.startswith("tf2-preview") else 2
        yield EncoderInfo(name.split("/")[-1], f"{_HUB}/google/{name}/{version}", "text", dimension)


def _sentence() -> Iterator[EncoderInfo]:
    """Universal Sentence Encoder (Cer et al. 2018; Yang et al. 2019)."""
    for name, version, language in (
        ("universal-sentence-encoder", 4, "en"),
        ("universal-sentence-encoder-large", 5, "en"),
        ("universal-sentence-encoder-multilingual", 3, "multi"),
        ("universal-sentence-encoder-multilingual-large", 3, "multi"),
    ):
        yield EncoderInfo(name, f"{_HUB}/google/{name}/{version}", "text", 512, language=language)
