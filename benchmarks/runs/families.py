"""Writes tiny random encoders as transformers saves them, and what they answer.

    python benchmarks/runs/families.py FOLDER

Needs torch and transformers. Each folder in FOLDER is a model; `outputs.npz` in it holds the ids,
the masks, and each layer's output.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
BERT = {
    **{"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4},
    **{"intermediate_size": 64, "max_position_embeddings": 40, "vocab_size": len(PIECES)},
}
DISTILBERT = {
    **{"n_layers": 3, "dim": 32, "n_heads": 4, "hidden_dim": 64},
    **{"max_position_embeddings": 40, "vocab_size": len(PIECES)},
}
TEXTS = ["a cab, bad", "ÉTUDE faced", "zzz", ""]


def models() -> Iterator[tuple[str, torch.nn.Module]]:
    """A name and a model for each form."""
    t = transformers
    for act in ("gelu", "gelu_new", "relu"):
        yield f"bert {act}", t.BertModel(t.BertConfig(**BERT, hidden_act=act))
        yield (
            f"distilbert {act}",
            t.DistilBertModel(t.DistilBertConfig(**DISTILBERT, activation=act)),
        )
        for width in (16, 32):
            config = t.ElectraConfig(**BERT, hidden_act=act, embedding_size=width)
            yield f"electra {act} {width}", t.ElectraModel(config)
    yield "bert tokens", t.BertForTokenClassification(t.BertConfig(**BERT))
    yield "bert masked", t.BertForMaskedLM(t.BertConfig(**BERT))
    yield "electra classes", t.ElectraForSequenceClassification(t.ElectraConfig(**BERT))
    yield "electra replaced", t.ElectraForPreTraining(t.ElectraConfig(**BERT))
    yield (
        "distilbert classes",
        t.DistilBertForSequenceClassification(t.DistilBertConfig(**DISTILBERT)),
    )
    waves = t.DistilBertConfig(**DISTILBERT, sinusoidal_pos_embds=True)
    yield "distilbert masked sinusoidal", t.DistilBertForMaskedLM(waves)
    yield "distilbert half", t.DistilBertModel(t.DistilBertConfig(**DISTILBERT)).half()
    yield "electra bfloat16 parts", t.ElectraModel(t.ElectraConfig(**BERT)).bfloat16()


def write(model: torch.nn.Module, folder: Path) -> None:
    """The model's folder, with its tokenizer and what it answers."""
    # Far from its start, where biases are zero and weights so small that nothing would show.
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "position" not in name or not getattr(model.config, "sinusoidal_pos_embds", False):
                value.add_(0.2 * torch.randn_like(value))
    size = "20KB" if "parts" in folder.name else "1GB"
    model.save_pretrained(folder, max_shard_size=size)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    lower = "electra" not in folder.name
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=lower)
    (folder / "vocab.txt").unlink()
    tokenizer.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    packed = tokenizer(TEXTS, padding=True, return_tensors="pt")
    inputs = {"input_ids": packed["input_ids"], "attention_mask": packed["attention_mask"]}
    model = model.float().eval()
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states[1:]
    arrays = {"ids": inputs["input_ids"], "mask": inputs["attention_mask"]}
    layers = np.stack([state.numpy() for state in states])
    np.savez(folder / "outputs.npz", layers=layers, **{k: v.numpy() for k, v in arrays.items()})


def main() -> None:
    """Writes all of them."""
    torch.manual_seed(0)
    for name, model in models():
        write(model, Path(sys.argv[1]) / name.replace(" ", "_"))


if __name__ == "__main__":
    main()
