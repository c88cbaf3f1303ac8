"""How good a codec is: distortion, Bjontegaard rates, classical baselines and whole-folder runs."""

from pylatent.evaluation.bdrate import bd_rate
from pylatent.evaluation.classical import AVIF, JPEG, WEBP, ClassicalCodec
from pylatent.evaluation.distortion import MS_SSIM_MIN_SIDE, ms_ssim, psnr
from pylatent.evaluation.lpips import LPIPS

__all__ = ["AVIF", "JPEG", "LPIPS", "MS_SSIM_MIN_SIDE", "WEBP", "ClassicalCodec", "bd_rate", "ms_ssim", "psnr"]
