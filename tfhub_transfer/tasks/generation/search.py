"""TEMP"""
import dataclasses, tensorflow as tf
from typing import NamedTuple
class Found(NamedTuple):
    ids: tf.Tensor
    scores: tf.Tensor
@dataclasses.dataclass(frozen=True)
class Search:
    beams: int = 4
    max_length: int = 0
    n_best: int = 1
    def of_length(self, n): return dataclasses.replace(self, max_length=n)
    def get_config(self): return dataclasses.asdict(self)
def run(decoder, memory, present, s):
    ids, scores = decoder.generate(memory, present, s.max_length, s.beams)
    ids = tf.where(ids==3, 0, ids)
    ids = tf.pad(ids, [[0,0],[0,s.max_length-tf.shape(ids)[1]]])
    ids = tf.ensure_shape(ids,[None,s.max_length])
    return Found(ids[:,None], scores[:,None])
