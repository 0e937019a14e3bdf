"""Architectures: one a file, plain modules, sizes as data."""

from rheobase.models.convnet import convnet
from rheobase.models.mlp import mlp
from rheobase.models.recurrent import recurrent
from rheobase.models.ws_convnet import ws_convnet

MODELS = {"convnet": convnet, "mlp": mlp, "recurrent": recurrent, "ws-convnet": ws_convnet}

__all__ = ["MODELS", "convnet", "mlp", "recurrent", "ws_convnet"]
