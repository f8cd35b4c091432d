"""The score of what must not be chosen: far below any other, and yet a number."""

# For float32, in which heads and tasks compute. No infinity, whose difference from itself, and so a
# gradient, would be no number; small enough that twice this, of a start and an end, is one too.
# Encoders have their own in `encoders.bert_graphs`, since they may compute in float16.
NEVER = -1e9
