"""What is taken where a user says nothing: numbers that code, help and guides name.

How long and how fast training goes depends on what is trained: `optimization.planning` has that.
"""

import os

# Rows of a step of training, of average length.
BATCH_SIZE = 32
# Rows of a batch that is looked at.
SHOWN_ROWS = 8
# The most tokens of a text.
SEQUENCE_LENGTH = 256
# Of a question with a window of its context, as Devlin et al. 2019 have it; on SQuAD 8 % fewer
# tokens than windows of 256, which overlap.
QUESTION_LENGTH = 384
# Share of the steps in which the rate rises, as in Devlin et al. 2019; factor on the rate of each
# group further down, chosen by validation on SST-2, STS-B and SNLI; share of features that a head
# drops.
WARMUP, LAYER_DECAY, DROPOUT = 0.1, 0.9, 0.1
# Of a right piece's probability, the share that goes to all pieces (Vaswani et al. 2017, 5.4).
SMOOTHING = 0.1
# Shares of training, validation and test where one file is all.
SPLIT = (0.8, 0.1, 0.1)
# Of a model that imitates others: what divides logits, and how much the others' answers weigh.
TEMPERATURE, TEACHERS_SHARE = 2.0, 0.7
# Of an encoder that is cut out of a larger one.
STUDENT_LAYERS = 3


def cores() -> int:
    """Cores of this machine that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
