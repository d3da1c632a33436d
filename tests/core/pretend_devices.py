"""Devices of hosts and slices that are not there, enough of them for meshes to be laid out."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PretendDevice:
    """One device."""

    id: int
    process_index: int
    slice_index: int | None
    platform: str = "cpu"
    device_kind: str = "cpu"


def pretend_devices(slices: int, hosts: int, each: int) -> list[PretendDevice]:
    """``slices`` of ``hosts`` with ``each`` so many devices."""
    count = slices * hosts * each
    return [PretendDevice(i, i // each, i // (hosts * each) if slices > 1 else None) for i in range(count)]
