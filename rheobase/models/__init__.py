"""Architectures: one family a file, plain modules, sizes as data."""

from collections.abc import Callable

from torch import nn

from rheobase.models.convnet import convnet
from rheobase.models.flow import flow
from rheobase.models.membrane_resnet import ms_resnet18, preact_resnet34
from rheobase.models.mlp import mlp
from rheobase.models.mobilenet import mobilenet
from rheobase.models.nf_resnet import nf_resnet34, nf_resnet50, nf_resnet101
from rheobase.models.preact_resnet import preact_resnet18
from rheobase.models.recurrent import recurrent
from rheobase.models.resnet import resnet18, resnet19
from rheobase.models.sew_resnet import sew_resnet34
from rheobase.models.spikformer import spikformer
from rheobase.models.stllr_resnet import stllr_resnet18
from rheobase.models.vgg import vgg11, vgg13, vggsnn, vggsnn_cifar
from rheobase.models.vgg9 import vgg9
from rheobase.models.vgg_bn import vgg11_bn
from rheobase.models.vgg_f import vgg_f
from rheobase.models.vgg_sws import vgg_sws
from rheobase.models.ws_convnet import ws_convnet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "flow": flow,
    "mlp": mlp,
    "mobilenet": mobilenet,
    "ms-resnet18": ms_resnet18,
    "nf-resnet101": nf_resnet101,
    "nf-resnet34": nf_resnet34,
    "nf-resnet50": nf_resnet50,
    "preact-resnet18": preact_resnet18,
    "preact-resnet34": preact_resnet34,
    "recurrent": recurrent,
    "resnet18": resnet18,
    "resnet19": resnet19,
    "sew-resnet34": sew_resnet34,
    "spikformer": spikformer,
    "stllr-resnet18": stllr_resnet18,
    "vgg-f": vgg_f,
    "vgg-sws": vgg_sws,
    "vgg11": vgg11,
    "vgg11-bn": vgg11_bn,
    "vgg13": vgg13,
    "vgg9": vgg9,
    "vggsnn": vggsnn,
    "vggsnn-cifar": vggsnn_cifar,
    "ws-convnet": ws_convnet,
}

__all__ = [
    "MODELS",
    "convnet",
    "flow",
    "mlp",
    "mobilenet",
    "ms_resnet18",
    "nf_resnet34",
    "nf_resnet50",
    "nf_resnet101",
    "preact_resnet18",
    "preact_resnet34",
    "recurrent",
    "resnet18",
    "resnet19",
    "sew_resnet34",
    "spikformer",
    "stllr_resnet18",
    "vgg9",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg_f",
    "vgg_sws",
    "vggsnn",
    "vggsnn_cifar",
    "ws_convnet",
]
