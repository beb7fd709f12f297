"""Packaging: the heads (`nerd_fast`), with the top-level `kernels/` mapped to `nerd_fast.kernels`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

CORE = ["torch>=2.10", "numpy>=1.26", "triton; platform_system == 'Linux'"]
TRAIN = [
    "monai>=1.6",
    "nibabel>=5.2",
    "scipy>=1.11",
    "pytorch-lightning>=2.6.4,<3",  # 2.6.2 and 2.6.3 were malicious releases (GHSA-w37p-236h-pfx3)
    "jsonargparse>=4.40",
    "safetensors>=0.4",
    "pynrrd>=1.1",
    "matplotlib>=3.8",
]
DEV = [
    "build>=1",
    "pytest>=8",
    "pytest-benchmark>=5",
    "hypothesis>=6",
    "ruff>=0.12",
    "mypy>=1.15",
    "einops>=0.8",
]  # einops: MONAI's transformers
HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "nerd_fast/__init__.py").read_text(encoding="utf-8"), re.M)[1]
NETWORKS = [  # networks to test replace_head on; in an environment of their own, see the Makefile
    "dynamic-network-architectures>=0.4",
    "segmentation-models-pytorch>=0.5",
    "torchvision",
    "transformers>=5",
]
KERNELS = ["nerd_fast.kernels", *(f"nerd_fast.kernels.{name}" for name in find_packages("kernels"))]

setup(
    name="nerd-fast",
    version=VERSION,
    description="NeRD segmentation heads as fused Triton kernels, and a U-Net trainer around them",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["nerd_fast", "nerd_fast.*"]), *KERNELS],
    package_dir={
        "nerd_fast": "nerd_fast",
        **{name: name.removeprefix("nerd_fast.").replace(".", "/") for name in KERNELS},
    },
    package_data={
        "nerd_fast": ["py.typed"],
        "nerd_fast.nnunet": ["trainers/*.py"],  # a folder of files, no package: nnU-Net imports each of them
    },
    install_requires=CORE,
    extras_require={
        "train": TRAIN,
        "dev": [*TRAIN, *DEV],
        "onnx": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],  # the tests of exported heads
        "examples": ["fire>=0.7", "pytorch-ignite>=0.5"],
        "networks": NETWORKS,
        "nnunet": ["nnunetv2>=2.8"],  # to test our trainers in nnU-Net itself; in an environment of its own too
        "tensorboard": ["tensorboard"],
    },
    entry_points={"console_scripts": ["nerd-fast = nerd_fast.cli:main"]},
)
