"""LPIPS's networks, small and of random weights, under the published names."""

import torch
from safetensors.torch import save_file

VGG = {0: 3, 2: 4, 5: 6, 7: 6, 10: 8, 12: 8, 14: 8, 17: 9, 19: 9, 21: 9, 24: 7, 26: 7, 28: 7}  # outputs by number
ALEX = {0: 5, 3: 6, 6: 8, 8: 7, 10: 4}
KERNELS = {"vgg": {}, "alex": {0: 11, 3: 5}}
TAPPED = {"vgg": (2, 7, 14, 21, 28), "alex": (0, 3, 6, 8, 10)}


def weights(net, seed=0):
    """Small random features and heads under the published names."""
    torch.manual_seed(seed)
    features, heads, inputs = {}, {}, 3
    for number, outputs in {"vgg": VGG, "alex": ALEX}[net].items():
        kernel = KERNELS[net].get(number, 3)
        spread = (2 / (inputs * kernel**2)) ** 0.5
        features[f"features.{number}.weight"] = spread * torch.randn(outputs, inputs, kernel, kernel)
        features[f"features.{number}.bias"] = 0.1 * torch.randn(outputs)
        if number in TAPPED[net]:
            heads[f"lin{TAPPED[net].index(number)}.model.1.weight"] = torch.rand(1, outputs, 1, 1)
        inputs = outputs
    return features, heads


def small_networks(folder):
    """Files of both networks, where PYLATENT_LPIPS names the folder."""
    for net, name in (("vgg", "vgg16"), ("alex", "alexnet")):
        features, heads = weights(net)
        save_file(features, folder / f"{name}.safetensors")
        save_file(heads, folder / f"{net}.safetensors")
