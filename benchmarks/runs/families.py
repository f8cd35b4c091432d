"""Writes tiny random encoders as transformers saves them, and what they answer.

    python benchmarks/runs/families.py FOLDER

Needs torch, transformers and sentence-transformers. Each folder in FOLDER is a model; `outputs.npz`
in it holds random ids, their masks, each layer's output and, where there is one, the pooler's; and
the ids of a few texts. Of folders of sentence-transformers it holds the vectors of these texts.
"""

import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS)]
TEXTS = ["a cab, bad", "ÉTUDE faced", "zzz", ""]
BERT = {
    **{"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4},
    **{"intermediate_size": 64, "max_position_embeddings": 40, "vocab_size": len(PIECES) + 1},
}
DISTILBERT = {
    **{"n_layers": 3, "dim": 32, "n_heads": 4, "hidden_dim": 64},
    **{"max_position_embeddings": 40, "vocab_size": len(PIECES) + 1},
}
# Layers, width, heads, width of the middle, positions.
SIZES = [(1, 16, 1, 16, 20), (4, 24, 3, 40, 150), (2, 32, 8, 128, 514)]
FAMILIES = ("Bert", "Electra", "Roberta", "XLMRoberta", "Camembert", "MPNet", "Albert")
HEADS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")


def models() -> Iterator[tuple[str, torch.nn.Module]]:
    """A name and a model for each form."""
    t = transformers
    for family, (number, size), act in itertools.product(
        (*FAMILIES, "DistilBert"), enumerate(SIZES), ("gelu", "gelu_new", "relu")
    ):
        yield f"{family} {number} {act}", made(family, "Model", size, act)
    for width in (16, 32):
        for family in ("Electra", "Albert"):
            yield f"{family} width {width}", made(family, "Model", embedding_size=width)
    for family, head in itertools.product((*FAMILIES, "DistilBert"), HEADS):
        yield f"{family} {head}", made(family, head)
    yield "Electra replaced", t.ElectraForPreTraining(t.ElectraConfig(**BERT))
    for family in FAMILIES[2:5]:
        yield f"{family} padding 4", made(family, "Model", pad_token_id=4)
    yield "Roberta one type", made("Roberta", "Model", type_vocab_size=1, layer_norm_eps=1e-5)
    yield "Albert without dropout", made("Albert", "Model", classifier_dropout_prob=0.0)
    waves = t.DistilBertConfig(**DISTILBERT, sinusoidal_pos_embds=True)
    yield "DistilBert masked sinusoidal", t.DistilBertForMaskedLM(waves)
    for family in (*FAMILIES, "DistilBert"):
        yield f"{family} half", made(family, "Model").half()
        yield f"{family} bfloat16 parts", made(family, "ForMaskedLM").bfloat16()
        yield f"{family} usual", made(family, "Model")


def made(
    family: str,
    kind: str,
    size: tuple[int, ...] | None = None,
    act: str | None = None,
    **more: Any,
) -> torch.nn.Module:
    """A model of random weights."""
    distil = family == "DistilBert"
    told: dict[str, Any] = dict(DISTILBERT if distil else BERT)
    if size is not None:
        names = list(told)
        told |= dict(zip(names, size))
    if act is not None:
        told["activation" if distil else "hidden_act"] = act
    config = getattr(transformers, f"{family}Config")(**told | more)
    model: torch.nn.Module = getattr(transformers, f"{family}{kind}")(config)
    return model


def write(model: torch.nn.Module, folder: Path) -> None:
    """The model's folder, with its tokenizer and what it answers."""
    # Far from its start, where biases are zero and weights so small that nothing would show.
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "position" not in name or not getattr(model.config, "sinusoidal_pos_embds", False):
                value.add_(0.2 * torch.randn_like(value))
    size = "20KB" if "parts" in folder.name else "1GB"
    model.save_pretrained(folder, max_shard_size=size)
    if folder.name.endswith("usual"):
        forget_defaults(folder / "config.json", model.config)
    padding = int(model.config.pad_token_id)
    pieces = [*PIECES[:padding], "[PAD]", *PIECES[padding:]]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    lower = "Electra" not in folder.name
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=lower)
    (folder / "vocab.txt").unlink()
    tokenizer.save_pretrained(folder)
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    texts = tokenizer(TEXTS, padding=True, return_tensors="np")
    answered = answers(model.float().eval(), padding)
    np.savez(folder / "outputs.npz", text_ids=texts["input_ids"], **answered)


def answers(model: torch.nn.Module, padding: int) -> dict[str, np.ndarray]:
    """Random ids as long as the model takes, or nearly so, and what it makes of them."""
    length = min(100, model.config.max_position_embeddings - padding - 1)
    generator = np.random.default_rng(0)
    ids = generator.integers(padding + 1, len(PIECES) + 1, (3, length))
    mask = np.ones_like(ids)
    mask[1, length // 2 :] = mask[2, 1:] = 0
    ids = np.where(mask == 1, ids, padding)
    with torch.no_grad():
        found = model.base_model(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            output_hidden_states=True,
        )
    layers = np.stack([state.numpy() for state in found.hidden_states[1:]])
    pooled = getattr(found, "pooler_output", None)
    more = {} if pooled is None else {"pooled": pooled.numpy()}
    return {"ids": ids, "mask": mask, "layers": layers, **more}


def write_sentences(work: Path) -> None:
    """Folders of sentence-transformers, and the vectors of the texts by it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as m

    forms = {
        "mean": ("Bert", "mean", [], None),
        "first unit": ("Roberta", "cls", [m.Normalize()], None),
        "dense": ("MPNet", "mean", [m.Dense(32, 12)], None),
        "dense twice prompt": (
            *("Electra", "cls"),
            [m.Dense(32, 12, bias=False), m.Dense(12, 7, activation_function=torch.nn.Identity())],
            {"query": "a bad cab: "},
        ),
        "prompt unit": ("XLMRoberta", "mean", [m.Normalize()], {"query": "ab "}),
    }
    for name, (family, pooling, more, prompts) in forms.items():
        plain = work / "plain"
        write(made(family, "Model"), plain)
        (plain / "outputs.npz").unlink()
        layers = [m.Transformer(str(plain)), m.Pooling(32, pooling), *more]
        sentences = SentenceTransformer(
            modules=layers,
            prompts=prompts,
            default_prompt_name="query" if prompts else None,
            device="cpu",
        )
        folder = work / f"sentences_{name.replace(' ', '_')}_folder"
        sentences.save(str(folder))
        np.savez(folder / "outputs.npz", vectors=sentences.encode(TEXTS))
        shutil.rmtree(plain)


def forget_defaults(path: Path, config: transformers.PretrainedConfig) -> None:
    """Leaves out of config.json what transformers would take if it weren't there."""
    usual = type(config)().to_dict()
    told = json.loads(path.read_text())
    kept = {k: v for k, v in told.items() if k == "model_type" or k not in usual or usual[k] != v}
    path.write_text(json.dumps(kept))


def main() -> None:
    """Writes all of them."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, model in models():
        write(model, Path(sys.argv[1]) / name.replace(" ", "_"))
    write_sentences(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
