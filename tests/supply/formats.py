"""Rows in the shapes of gpuhunt and of Vast.ai, made by us: no figure in them is anybody's offer.

HUNT     a good row of gpuhunt: an H100 SXM of Lambda in the United States     archive   files → bytes of catalog.zip
MACHINE  a good offer of Vast: a verified RTX 4090 in Germany                  answer    offers → bytes of an answer
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

HUNT = {
    "instance_name": "gpu_1x_h100_sxm5",
    "location": "us-east-1",
    "price": "4.29",
    "cpu": "26",
    "memory": "225.0",
    "gpu_count": "1",
    "gpu_name": "H100",
    "gpu_memory": "80.0",
    "spot": "False",
    "disk_size": "2800.0",
    "gpu_vendor": "nvidia",
    "flags": "",
    "cpu_arch": "x86",
    "provider_data": "{}",
}

MACHINE: dict[str, Any] = {
    "id": 4711,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24564,
    "dph_total": 0.4,
    "min_bid": 0.2,
    "is_bid": False,
    "rentable": True,
    "rented": False,
    "verification": "verified",
    "reliability2": 0.99,
    "geolocation": "Bavaria, DE",
    "hosting_type": 0,
    "datacenter": False,
    "cpu_cores": 64,
    "cpu_cores_effective": 16.0,
    "cpu_ram": 257_000,
}


def archive(**files: bytes) -> bytes:
    """Provider → its file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for provider, content in files.items():
            zipped.writestr(f"{provider}.csv", content)
    return buffer.getvalue()


def answer(*offers: dict[str, Any]) -> bytes:
    """What Vast's search would say."""
    return json.dumps({"offers": list(offers)}).encode()
