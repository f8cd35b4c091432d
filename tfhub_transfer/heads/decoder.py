"""TEMP"""
import sys; sys.path.insert(0,'/tmp/w')
import keras, tensorflow as tf, numpy as np
import proto_seq2seq as P
def heads_of(encoder, width):
    for n,w in encoder.named_weights().items():
        if n.endswith("query/kernel") and len(w.shape)==3: return int(w.shape[1])
    return max(1,width//64)
@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Decoder(P.Decoder):
    def __init__(self, vocabulary_size, width, layers=1, heads=8, inner_units=None, max_length=128, dropout=.1, **kw):
        super().__init__(vocabulary_size, layers, heads, width, 4*width, dropout, max_length=max_length, **kw)
        self.c=dict(vocabulary_size=vocabulary_size,width=width,layers=layers,heads=heads,max_length=max_length,dropout=dropout)
    def get_config(self): return {**self.c,"name":self.name}
    def call(self, memory, present, targets, training=False):
        ids, gold = targets[:, :-1], targets[:, 1:]
        t = tf.shape(ids)[1]
        causal = (1.0 - tf.linalg.band_part(tf.ones([t, t]), -1, 0))[None, None] * -1e9
        x, bias = self.embed(ids, 0, training), self.memory_bias(present)
        for b in self.blocks:
            x = b(x, b.own.keys_values(x), b.cross.keys_values(memory), causal, bias, training=training)
        logits = self.logits(x)
        lp = -tf.nn.sparse_softmax_cross_entropy_with_logits(gold, logits)
        mean = tf.reduce_mean(logits, -1)-tf.reduce_logsumexp(logits, -1)
        right = tf.cast(tf.argmax(logits,-1,tf.int32)==gold, tf.float32)
        return tf.stack([lp,mean,right],-1)
    def compute_output_shape(self, a,b,c): return (a[0],None,3)
    def compute_output_spec(self,a,b,c,**k): return keras.KerasTensor((a.shape[0],None,3),"float32")
    def warm_start(self, weights):
        class E:
            def named_weights(s): return {k:type("W",(),{"value":tf.constant(v)}) for k,v in weights.items()}
        n=len({k.split('/')[1] for k in weights if k.startswith('transformer/layer_')})
        if n: P.copy_weights(E(), self, range(n-len(self.blocks),n))
