"""Layers of neural networks, built on the public names of `autograd` alone.

Read the files in this order: module.py finds parameters, functional.py has the fused ops,
layers.py and transformer.py give weights to these ops, optim.py moves the weights. threads.py and
memory.py deal with the cores and the memory of the machine.
"""

import autograd

if not hasattr(autograd, "check_gradients"):  # PyPI has another package of this name
    raise ImportError(
        f"nn needs the autograd beside it and found another one, {autograd.__file__}: "
        "`pip uninstall autograd`, or use a fresh virtual environment"
    )

from . import functional
from .layers import Conv2d, Dropout, Embedding, LayerNorm, Linear, LSTMCell, Sequential
from .memory import keep_freed_memory
from .module import Module
from .optim import SGD, AdamW, Muon, clip_grad_norm, warmup_cosine, warmup_linear
from .transformer import (
    Block,
    FeedForward,
    KVCache,
    MultiHeadAttention,
    cached_decoder,
    checkpoint_activations,
    share_batch,
    sinusoidal_positions,
)

__all__ = [
    "SGD", "AdamW", "Block", "Conv2d", "Dropout", "Embedding", "FeedForward", "KVCache",
    "LSTMCell", "LayerNorm", "Linear", "Module", "MultiHeadAttention", "Muon", "Sequential",
    "cached_decoder", "checkpoint_activations", "clip_grad_norm", "functional",
    "keep_freed_memory", "share_batch", "sinusoidal_positions", "warmup_cosine", "warmup_linear",
]  # fmt: skip
__version__ = autograd.__version__
