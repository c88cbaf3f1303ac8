"""Pictures unlike any photograph, made by code: what a codec must survive."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

SIDE = 160


def hostile_pictures():
    """{name: uint8 (H, W, 3)}."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pictures = {}
    for degrees in range(0, 360, 30):
        colour = np.array(colorsys.hsv_to_rgb(degrees / 360, 1, 1)) * 255
        leaf = 0.5 + 0.5 * np.sin(rows / 9)[..., None] * np.cos(columns / 7)[..., None]
        pictures[f"hue {degrees}, leaves"] = colour * leaf
        pictures[f"hue {degrees}, flat"] = np.broadcast_to(colour, (SIDE, SIDE, 3))
    violet = np.array([150, 40, 255]) * (generator.random((SIDE, SIDE, 1)) < 0.5)
    pictures["violet blossoms"] = violet + np.array([20, 60, 10]) * (violet.sum(2, keepdims=True) == 0)
    pictures["noise, grey"] = np.repeat(generator.integers(0, 256, (SIDE, SIDE, 1)), 3, 2)
    pictures["noise, coloured"] = generator.integers(0, 256, (SIDE, SIDE, 3))
    pictures["noise, single pixels"] = np.where(generator.random((SIDE, SIDE, 1)) < 0.02, 255, 128) + np.zeros(3)
    pictures["noise, black and white"] = 255.0 * np.repeat(generator.random((SIDE, SIDE, 1)) < 0.5, 3, 2)
    for size in (1, 2, 4, 8, 16):
        squares = ((rows // size + columns // size) % 2)[..., None]
        pictures[f"checkerboard {size}"] = squares * np.array([255, 255, 255])
        pictures[f"checkerboard {size}, red and cyan"] = np.where(squares, [255, 0, 0], [0, 255, 255])
    pictures["stripes"] = np.where((columns % 2)[..., None], [255, 0, 255], [0, 255, 0])
    pictures["gradient"] = np.stack([rows, columns, (rows + columns) / 2], 2) * 255 / SIDE
    pictures["gradient, steps"] = np.stack([rows // 20 * 20, columns // 20 * 20, 0 * rows], 2) * 255 / SIDE
    pictures["black"] = np.zeros((SIDE, SIDE, 3))
    pictures["white"] = np.full((SIDE, SIDE, 3), 255)
    dot = np.full((SIDE, SIDE, 3), 240)
    dot[80, 80] = 0
    pictures["dot"] = dot
    large = np.zeros((16, 1500, 3))
    large[:, 700:705] = [255, 0, 0]
    pictures["flat and wide"] = large
    pictures["one wide"] = generator.integers(0, 256, (300, 1, 3))
    pictures["one high"] = np.repeat(np.arange(256)[None, :, None], 3, 2)
    pictures["text"] = _drawn(_text)
    pictures["screenshot"] = _drawn(_screenshot)
    pictures["line drawing"] = _drawn(_lines)
    return {name: np.clip(np.round(picture), 0, 255).astype(np.uint8) for name, picture in pictures.items()}


def _drawn(draw):
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw(ImageDraw.Draw(image))
    return np.asarray(image).astype(float)


def _text(draw):
    for line in range(12):
        draw.text((3, 13 * line), "The quick brown fox, 0123", fill=(0, 0, 0))


def _screenshot(draw):
    draw.rectangle((0, 0, SIDE, 18), fill=(40, 60, 200))
    draw.text((4, 3), "pylatent", fill=(255, 255, 255))
    for line, colour in enumerate([(255, 0, 0), (0, 160, 0), (0, 0, 255), (255, 160, 0), (160, 0, 160)]):
        draw.rectangle((6, 26 + 26 * line, 30, 44 + 26 * line), fill=colour, outline=(0, 0, 0))
        draw.text((38, 28 + 26 * line), f"button {line}", fill=(60, 60, 60))


def _lines(draw):
    for turn in range(0, SIDE, 8):
        draw.line((turn, 0, SIDE, turn), fill=(0, 0, 0))
        draw.line((0, turn, turn, SIDE), fill=(200, 0, 0))
    draw.ellipse((40, 40, 120, 120), outline=(0, 0, 0), width=2)
