"""Transforms of task vectors: a pure function of N x block each, and the prepared form that the merge applies block by block."""
