"""Test session set-up: the CPU backend with 8 fake devices, chosen before jax is imported.

Tests compile many small programs and run each a few times, so LLVM is told not to polish them: the suite takes half the
time. What is measured or compared bitwise runs in processes of its own, without these flags.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS]).strip()
