"""Test session set-up: the CPU backend with 8 fake devices and one compile cache, chosen before jax is imported.

Tests compile many small programs and run each a few times, so LLVM is told not to polish them: the suite takes half the
time. What is measured or compared bitwise runs in processes of its own, without these flags. The workers of a session
and the programs that its tests start share one directory of compiled programs.
"""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS]).strip()

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # In xdist's workers it is.
    _COMPILED = tempfile.TemporaryDirectory(prefix="hilight-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import pytest  # noqa: E402


@pytest.fixture
def tpu_devices(monkeypatch):
    """``tpu_devices("v5e:2x2")``: chips of a pod that is not there, to compile for."""
    pytest.importorskip("libtpu", reason="compiling for TPUs needs the extra `tpu`")
    from jax.experimental import topologies

    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        monkeypatch.setenv(name, value)
    return lambda name, **options: list(topologies.get_topology_desc(name, platform="tpu", **options).devices)
