"""A GPU to compile for, on a machine that has none.

XLA's compiler for NVIDIA GPUs needs a description of a card and no card: programs of such a device
can be compiled and looked at (memory, kernels), not run. cuDNN's algorithms are chosen by timing on
a real one, so that the memory that these need beside the operands is not counted.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from training.parallel import AXIS

# As XLA describes it; the memory decides nothing here.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def described_gpu() -> Mesh:
    """One H100 that is described alone. NotImplementedError where JAX has no plugin for CUDA."""
    found = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    return _mesh(found.devices)


def cpu(count: int = 1) -> Mesh:
    """The first devices of this machine's own, which are one unless more are simulated."""
    return _mesh(jax.devices("cpu")[:count])


def _mesh(devices: list) -> Mesh:
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def traced_for(mesh: Mesh) -> contextlib.AbstractContextManager[None]:
    """Inside, networks are traced as they would be on a machine with these devices."""
    return _traced_on(mesh.devices.flat[0].platform)


def traced_for_accelerators() -> contextlib.AbstractContextManager[None]:
    """Inside, networks are traced as on whatever is no CPU."""
    return _traced_on("")


@contextlib.contextmanager
def _traced_on(platform: str) -> Iterator[None]:
    from models.layers import convolution

    ways = {k: v for k, v in convolution.ON_BACKEND.items() if k == platform}
    with mock.patch.dict(convolution.ON_BACKEND, ways, clear=True):
        yield
