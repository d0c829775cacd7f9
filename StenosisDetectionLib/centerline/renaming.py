"""Rename a branch: a tree and two names come in, the tree in which everything below follows goes out."""

import re
from dataclasses import replace

from ..anatomy import BRANCH_KINDS, branch_name
from ..errors import InputError
from ..study import Vessel, VesselTree
from .segments import RENAMED_FLAG, dominance_of, with_segments

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,15}")


def rename_vessel(tree: VesselTree, name: str, new_name: str) -> VesselTree:
    """Return the tree with one vessel renamed; panel and batch use this one call.

    Where another vessel has the new name already, the two exchange their names. Branches that are named after the
    vessel they leave follow: diagonals and septals of the LAD become marginals when it is called LCX, and so on.
    Segments and dominance are made anew. The order of the vessels and all paths stay.

    Raises
    ------
    InputError : there is no vessel of that name, or the new name is not made of letters, digits, - and _.
    """
    known = [v.name for v in tree.vessels]
    if name not in known:
        raise InputError(f"there is no vessel '{name}' in this tree: choose one of {', '.join(known) or 'none'}")
    new_name = new_name.strip()
    if not _NAME.fullmatch(new_name):
        raise InputError(f"'{new_name}' cannot name a vessel: use up to 16 letters, digits, - and _, a letter first")
    if new_name == name:
        return tree
    chosen = {name: new_name, new_name: name}
    names = _names_below(tree, {n: chosen[n] for n in known if n in chosen})
    vessels = [
        replace(
            v,
            name=names[v.name],
            parent=None if v.parent is None else names[v.parent],
            flags=tuple(dict.fromkeys((*v.flags, RENAMED_FLAG))) if v.name in chosen else v.flags,
        )
        for v in tree.vessels
    ]
    return VesselTree(with_segments(vessels, tree.flags), dominance_of(vessels, tree.flags), tree.flags)


def _names_below(tree: VesselTree, names: dict[str, str]) -> dict[str, str]:
    """Return the new name of every vessel, given those that were chosen."""
    names = dict(names)
    used = set(names.values())
    followers: list[Vessel] = []
    for vessel in tree.vessels:
        if vessel.name in names:
            continue
        if vessel.parent is not None and names[vessel.parent] != vessel.parent and _named_after(vessel):
            names[vessel.name] = ""  # found below, when all that keep their name are known
            followers.append(vessel)
        else:
            names[vessel.name] = vessel.name
            used.add(vessel.name)
    order = {v.name: n for n, v in enumerate(tree.vessels)}
    followers.sort(key=lambda v: (order[str(v.parent)], v.parent_distance_mm or 0.0))
    for vessel in followers:
        new = branch_name(names[str(vessel.parent)], used)
        names[vessel.name] = new
        used.add(new)
    return names


def _named_after(vessel: Vessel) -> bool:
    """Whether a branch is named after the vessel it leaves."""
    kinds = BRANCH_KINDS.get(str(vessel.parent), ())
    return vessel.name.rstrip("0123456789") in kinds or vessel.name.startswith(str(vessel.parent))
