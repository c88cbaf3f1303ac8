"""Names and shapes of the published state dicts of TCM (arXiv 2303.14978), written down apart from our class."""

import torch

SLICES, GATE, HIDDEN = 5, 128, (224, 128)


def published_shapes(N=64, M=320, Z=192):
    """{name: shape} of the parameters."""
    shapes = {}

    def conv(name, inputs, outputs, kernel):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, kernel, kernel), (outputs,)

    def linear(name, inputs, outputs):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def gdn(name, channels):
        shapes[f"{name}.beta"], shapes[f"{name}.gamma"] = (channels,), (channels, channels)

    def down(name, inputs, outputs):
        conv(f"{name}.conv1", inputs, outputs, 3)
        conv(f"{name}.conv2", outputs, outputs, 3)
        gdn(f"{name}.gdn", outputs)
        conv(f"{name}.skip", inputs, outputs, 1)

    def up(name, inputs, outputs):
        conv(f"{name}.subpel_conv.0", inputs, 4 * outputs, 3)
        conv(f"{name}.conv", outputs, outputs, 3)
        gdn(f"{name}.igdn", outputs)
        conv(f"{name}.upsample.0", inputs, 4 * outputs, 3)

    def transformer(name, channels, heads, window):
        for norm in ("ln1", "ln2"):
            shapes[f"{name}.{norm}.weight"] = shapes[f"{name}.{norm}.bias"] = (channels,)
        shapes[f"{name}.msa.relative_position_params"] = (heads, 2 * window - 1, 2 * window - 1)
        linear(f"{name}.msa.embedding_layer", channels, 3 * channels)
        linear(f"{name}.msa.linear", channels, channels)
        linear(f"{name}.mlp.0", channels, 4 * channels)
        linear(f"{name}.mlp.2", 4 * channels, channels)

    def mixed(name, first, heads, window):
        for number in (first, first + 1):
            transformer(f"{name}.{number}.trans_block", N, heads, window)
            for each in ("conv1_1", "conv1_2"):
                conv(f"{name}.{number}.{each}", 2 * N, 2 * N, 1)
            for each in ("conv1", "conv2"):
                conv(f"{name}.{number}.conv_block.{each}", N, N, 3)

    def gate(name, channels):
        conv(f"{name}.in_conv", channels, GATE, 1)
        conv(f"{name}.out_conv", GATE, channels, 1)
        for block in ("block_1", "block_2"):
            transformer(f"{name}.non_local_block.{block}", GATE, GATE // 16, 8)
        for branch in ("conv_a", "conv_b"):
            for unit in range(3):
                conv(f"{name}.{branch}.{unit}.conv.0", GATE, GATE // 2, 1)
                conv(f"{name}.{branch}.{unit}.conv.2", GATE // 2, GATE // 2, 3)
                conv(f"{name}.{branch}.{unit}.conv.4", GATE // 2, GATE, 1)
        conv(f"{name}.conv_b.3", GATE, GATE, 1)

    for number, (inputs, head) in enumerate(((3, 8), (2 * N, 16), (2 * N, 32))):
        down(f"g_a.{3 * number}", inputs, 2 * N)
        mixed("g_a", 3 * number + 1, N // head, 8)
    conv("g_a.9", 2 * N, M, 3)
    for number, (inputs, head) in enumerate(((M, 32), (2 * N, 16), (2 * N, 8))):
        up(f"g_s.{3 * number}", inputs, 2 * N)
        mixed("g_s", 3 * number + 1, N // head, 8)
    conv("g_s.9.0", 2 * N, 12, 3)
    down("h_a.0", M, 2 * N)
    mixed("h_a", 1, N // 32, 4)
    conv("h_a.3", 2 * N, Z, 3)
    for name in ("h_mean_s", "h_scale_s"):
        up(f"{name}.0", Z, 2 * N)
        mixed(name, 1, N // 32, 4)
        conv(f"{name}.3.0", 2 * N, 4 * M, 3)
    width = M // SLICES
    for number in range(SLICES):
        inputs = M + number * width
        for kind in ("mean", "scale"):
            gate(f"atten_{kind}.{number}.0", inputs)
        for name, channels in (("cc_mean", inputs), ("cc_scale", inputs), ("lrp", inputs + width)):
            for place, (a, b) in zip((0, 2, 4), ((channels, HIDDEN[0]), HIDDEN, (HIDDEN[1], width)), strict=True):
                conv(f"{name}_transforms.{number}.{place}", a, b, 3)
    filters = (1, 3, 3, 3, 3, 1)
    for number in range(5):
        shapes[f"entropy_bottleneck._matrix{number}"] = (Z, filters[number + 1], filters[number])
        shapes[f"entropy_bottleneck._bias{number}"] = (Z, filters[number + 1], 1)
        if number < 4:
            shapes[f"entropy_bottleneck._factor{number}"] = (Z, filters[number + 1], 1)
    shapes["entropy_bottleneck.quantiles"] = (Z, 1, 3)
    return shapes


def published_state_dict(codec):
    """The weights of a TCM as a published checkpoint holds them: older names, buffers, a prefix, no integer tables."""
    weights, state = codec.state_dict(), {}
    for name in published_shapes(codec.config["N"], codec.M, codec.Z):
        ours = name
        for old, new in (("_matrix", "matrices."), ("_bias", "biases."), ("_factor", "factors.")):
            ours = ours.replace(f"entropy_bottleneck.{old}", f"entropy_bottleneck.{new}")
        state[f"module.{name}"] = weights[ours].clone()
        if name.endswith((".beta", ".gamma")):
            state[f"module.{name}_reparam.pedestal"] = torch.tensor([2.0**-36])
            state[f"module.{name}_reparam.lower_bound.bound"] = torch.tensor([2.0**-18])
    for owner in ("entropy_bottleneck", "gaussian_conditional"):
        for name in ("_quantized_cdf", "_cdf_length", "_offset"):
            state[f"module.{owner}.{name}"] = torch.empty(0, dtype=torch.int32)
    state["module.entropy_bottleneck.target"] = torch.zeros(3)
    state["module.gaussian_conditional.scale_table"] = torch.empty(0)
    state["module.gaussian_conditional.lower_bound_scale.bound"] = torch.tensor([0.11])
    return state
