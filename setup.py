"""What pyproject.toml cannot say: configs/ goes into the wheel as amr_tf/configs/.

amr_command.py is the console script, beside the package.
"""

from setuptools import find_packages, setup

CONFIGS = {
    "amr_tf.configs": "configs",
    "amr_tf.configs.paper": "configs/paper",
    "amr_tf.configs.paper.shared": "configs/paper/shared",
}

setup(
    packages=[*find_packages(include=["amr_tf*"]), *CONFIGS],
    package_dir=CONFIGS,
    py_modules=["amr_command"],
)
