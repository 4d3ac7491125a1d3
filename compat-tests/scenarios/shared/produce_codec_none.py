"""Batches without a codec; a value larger than the topic takes is refused."""
from _produce import plays_codec

plays_codec("none")
