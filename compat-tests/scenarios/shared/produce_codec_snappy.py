"""Batches compressed with snappy; a large value shows that they are."""
from _produce import plays_codec

plays_codec("snappy")
