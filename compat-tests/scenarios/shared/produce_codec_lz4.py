"""Batches compressed with lz4; a large value shows that they are."""
from _produce import plays_codec

plays_codec("lz4")
