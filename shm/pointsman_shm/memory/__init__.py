"""The mechanism of shared memory: bytes, words, segments, and who may write them."""
