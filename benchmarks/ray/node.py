"""``ray start`` on the loopback interface alone: ``python -m benchmarks.ray.node start …``.

Ray replaces 127.0.0.1 by the machine's own address and listens there, unless clusters are disabled, and then no second
node may join. Both are decided in Python, before the programs of the node start.
"""

from __future__ import annotations

from ray._private import ray_constants, services
from ray.scripts.scripts import main

if __name__ == "__main__":
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.resolve_ip_for_localhost = lambda host: host
    main()
