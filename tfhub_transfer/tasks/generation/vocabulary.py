"""TEMP"""
import base64, io, sentencepiece as spm, tensorflow as tf, tensorflow_text as tft
PAD, UNK, BOS, EOS = 0, 1, 2, 3
class TargetVocabulary:
    def __init__(self, model): self.model=model; self.t=self.tokenizer=tft.SentencepieceTokenizer(model=model, out_type=tf.int32); self.size=int(self.t.vocab_size())
    @classmethod
    def learn(cls, texts, size=None):
        out=io.BytesIO()
        spm.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=out, vocab_size=size or 8000, pad_id=0, unk_id=1, bos_id=2, eos_id=3, byte_fallback=True, normalization_rule_name="identity", hard_vocab_limit=False, num_threads=2)
        return cls(out.getvalue())
    def tokenize(self, texts): return self.t.tokenize(tf.constant(list(texts)))
    def detokenize(self, ids): 
        return self.t.detokenize(tf.RaggedTensor.from_tensor(ids, padding=0))
    def get_config(self): return base64.b64encode(self.model).decode()
    @classmethod
    def from_config(cls, s): return cls(base64.b64decode(s))
