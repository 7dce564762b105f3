"""Ink thinned to lines one pixel wide, and these lines as a graph.

Nodes are ends and junctions, edges the chains of pixels between them. Thinning leaves traces of its
own, which `Graph` mends: spurs in corners, and two junctions in place of one where lines cross.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Path = Float[np.ndarray, "_ 2"]  # points (x, y) in pixels, y down

Pixel = tuple[int, int]  # (row, column)
End = tuple[int, int]  # (number of an edge, 0 for where its path begins or 1 for where it ends)

# Eight neighbours (row, column), clockwise from the north.
AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
STRAIGHT = -0.5  # the cosine between directions away from a junction, below which they are one line
REACH = 0.7  # of half the ink's width, by which strokes are drawn on at their tips


def thin(ink: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The ink thinned to connected lines (Zhang and Suen 1984, "A fast parallel algorithm for
    thinning digital patterns"); its outermost pixels must be empty."""
    ink = ink.copy()
    removed = True
    while removed:
        removed = False
        for first in (True, False):
            n, ne, e, se, s, sw, w, nw = _neighbours(ink)
            ring = np.stack([n, ne, e, se, s, sw, w, nw, n])
            count = ring[:-1].sum(0)
            rises = (~ring[:-1] & ring[1:]).sum(0)
            corner = ~(n & e & s) & ~(e & s & w) if first else ~(n & e & w) & ~(n & s & w)
            drop = ink & (count >= 2) & (count <= 6) & (rises == 1) & corner
            removed |= bool(drop.any())
            ink &= ~drop
    return ink


def _neighbours(ink: np.ndarray) -> list[np.ndarray]:
    """For each of AROUND, whether a pixel's neighbour there is ink."""
    return [np.roll(ink, (-row, -column), (0, 1)) for row, column in AROUND]


@dataclass
class Edge:
    """A line between two nodes; path runs from the node a to the node b, both ends included."""

    a: int
    b: int
    path: Path

    @property
    def length(self) -> float:
        return float(np.linalg.norm(np.diff(self.path, axis=0), axis=1).sum())

    def seen_from(self, end: int) -> Path:
        """The path away from its first (0) or last (1) point."""
        return self.path[::-1] if end else self.path


class Graph:
    """Lines of a thinned image: where nodes are, and the edges between them."""

    def __init__(self, places: dict[int, np.ndarray], edges: list[Edge]) -> None:
        self.places = places
        self.edges = edges

    @classmethod
    def of(cls, skeleton: Bool[np.ndarray, "h w"]) -> "Graph":
        """The graph of a thinned image; a closed line has a node of its own."""
        linked = _links(skeleton)
        nodes = [pixel for pixel, near in linked.items() if len(near) != 2]
        seen: set[frozenset[Pixel]] = set()
        graph = cls({}, [])
        number = {pixel: i for i, pixel in enumerate(nodes)}
        for pixel in nodes:
            for towards in linked[pixel]:
                if frozenset((pixel, towards)) not in seen:
                    graph._add(_walk(pixel, towards, linked, number, seen), number)
            if not linked[pixel]:
                graph._add([pixel, pixel], number)
        closed = set(linked) - {p for link in seen for p in link} - set(nodes)
        while closed:
            start = min(closed)
            number[start] = len(number)
            chain = _walk(start, min(linked[start]), linked, number, seen)
            graph._add(chain, number)
            closed -= set(chain)
        return graph

    def _add(self, chain: list[Pixel], number: dict[Pixel, int]) -> None:
        path = np.array(chain, float)[:, ::-1]  # (row, column) to (x, y)
        a, b = number[chain[0]], number[chain[-1]]
        self.places |= {a: path[0], b: path[-1]}
        self.edges.append(Edge(a, b, path))

    def ends(self) -> dict[int, list[End]]:
        """For each node the edges that end there: (number of the edge, which of its ends)."""
        found: dict[int, list[End]] = defaultdict(list)
        for i, edge in enumerate(self.edges):
            found[edge.a].append((i, 0))
            found[edge.b].append((i, 1))
        return found

    def remove_spurs(self, depth: np.ndarray, least: float) -> None:
        """Remove lines from a junction to an end whose ink protrudes from the ink around the
        junction by less than `least`.

        depth: of each pixel, how far the nearest pixel without ink is.
        """
        while True:
            ends = self.ends()
            spurs = []
            for i, edge in enumerate(self.edges):
                for tip, junction in ((edge.a, edge.b), (edge.b, edge.a)):
                    if len(ends[tip]) == 1 and len(ends[junction]) >= 3:
                        there, here = (self._at(depth, node) for node in (tip, junction))
                        if (protrudes := edge.length + there - here) < least:
                            spurs.append((protrudes, i))
            if not spurs:
                return
            del self.edges[min(spurs)[1]]
            self._join_pairs()

    def _at(self, field: np.ndarray, node: int) -> float:
        column, row = self.places[node].round().astype(int)
        return float(field[row, column])

    def _join_pairs(self) -> None:
        """Make one edge of two that meet where nothing else does."""
        for ends in self.ends().values():
            if len(ends) == 2 and ends[0][0] != ends[1][0]:
                (i, end_i), (j, end_j) = ends
                first, second = self.edges[i], self.edges[j]
                path = np.concatenate([first.seen_from(end_i)[::-1], second.seen_from(end_j)[1:]])
                a = first.a if end_i else first.b
                b = second.a if end_j else second.b
                self.edges = [e for k, e in enumerate(self.edges) if k not in (i, j)]
                self.edges.append(Edge(a, b, path))
                return self._join_pairs()

    def merge_junctions(self, distance: float) -> None:
        """Make one junction of two that a line shorter than `distance` connects.

        Lines of that length that then lead from a junction to itself go.
        """
        while True:
            ends = self.ends()
            short = [
                (edge.length, i)
                for i, edge in enumerate(self.edges)
                if edge.a != edge.b
                and edge.length < distance
                and min(len(ends[edge.a]), len(ends[edge.b])) >= 3
            ]
            if not short:
                break
            edge = self.edges.pop(min(short)[1])
            self.places[edge.a] = (self.places[edge.a] + self.places[edge.b]) / 2
            for other in self.edges:
                other.a = edge.a if other.a == edge.b else other.a
                other.b = edge.a if other.b == edge.b else other.b
        self.edges = [
            edge
            for edge in self.edges
            if edge.a != edge.b or edge.length >= distance or len(self.ends()[edge.a]) == 2
        ]

    def strokes(self, width: float) -> list[Path]:
        """Every edge once, in lines that go straight on at junctions.

        width: of the ink; within half of it from a junction the thinned line is not the pen's.
        """
        paths = [self._anchored(edge, width / 2) for edge in self.edges]
        goes_on: dict[End, End] = {}
        for ends in self.ends().values():
            goes_on |= self._continuations(ends, width)
        strokes, used = [], set()
        starts = [(i, end) for i in range(len(paths)) for end in (0, 1)]
        for start in sorted(starts, key=lambda start: start in goes_on):  # closed lines come last
            if start[0] in used:
                continue
            parts: list[Path] = []
            at: End | None = start
            while at is not None and at[0] not in used:
                i, end = at
                used.add(i)
                part = paths[i][::-1] if end else paths[i]
                parts.append(part if not parts else part[1:])
                at = goes_on.get((i, 1 - end))
            strokes.append(np.concatenate(parts))
        return strokes

    def _anchored(self, edge: Edge, radius: float) -> Path:
        """The path of an edge, straight to junctions where it is nearer than `radius` to them, and
        on beyond its tips: a line ends by `radius` before its ink does."""
        ends = self.ends()
        path = edge.path
        for node, at in ((edge.a, 0), (edge.b, -1)):
            place = self.places[node]
            far = np.linalg.norm(path - place, axis=1) > radius
            if len(ends[node]) >= 3 and far.any():
                kept = np.flatnonzero(far)
                path = path[kept[0] :] if at == 0 else path[: kept[-1] + 1]
            if len(ends[node]) >= 3:
                path = np.concatenate([[place], path] if at == 0 else [path, [place]])
            elif len(ends[node]) == 1 and len(path) > 1:
                outwards = -_direction(path if at == 0 else path[::-1], 2 * radius)
                tip = path[at] + REACH * radius * outwards
                path = np.concatenate([[tip], path] if at == 0 else [path, [tip]])
        return path

    def _continuations(self, ends: list[End], width: float) -> dict[End, End]:
        """Which end goes on as which other, of those at one node: the straightest first."""
        if len(ends) == 2 and ends[0][0] == ends[1][0]:  # one closed line
            return {}
        directions = [_direction(self.edges[i].seen_from(end), width) for i, end in ends]
        pairs = sorted(
            (float(directions[p] @ directions[q]), p, q) for p in range(len(ends)) for q in range(p)
        )
        found: dict[End, End] = {}
        for cosine, p, q in pairs:
            if cosine < STRAIGHT and ends[p] not in found and ends[q] not in found:
                found |= {ends[p]: ends[q], ends[q]: ends[p]}
        return found


def _links(skeleton: np.ndarray) -> dict[Pixel, list[Pixel]]:
    """The neighbours of each pixel of a line; diagonal ones where no pixel lies between."""
    pixels = {(int(row), int(column)) for row, column in np.argwhere(skeleton)}
    linked = {}
    for row, column in pixels:
        near = []
        for down, right in AROUND:
            between = {(row + down, column), (row, column + right)} - {(row, column)}
            diagonal = down and right
            if (row + down, column + right) in pixels and not (diagonal and between & pixels):
                near.append((row + down, column + right))
        linked[row, column] = near
    return linked


def _walk(
    start: Pixel,
    towards: Pixel,
    linked: dict[Pixel, list[Pixel]],
    number: dict[Pixel, int],
    seen: set[frozenset[Pixel]],
) -> list[Pixel]:
    """The chain from a node towards a neighbour, up to the next node. Adds its links to `seen`."""
    chain = [start, towards]
    seen.add(frozenset(chain))
    while chain[-1] not in number:
        chain.append(next(p for p in linked[chain[-1]] if p != chain[-2]))
        seen.add(frozenset(chain[-2:]))
    return chain


def _direction(path: Path, width: float) -> np.ndarray:
    """The unit vector away from a junction, from half to one and a half widths along the path."""
    distance = np.linalg.norm(path - path[0], axis=1)
    near = path[min(int(np.argmax(distance >= 0.5 * width)), len(path) - 1)]
    beyond = distance >= 1.5 * width
    far = path[int(np.argmax(beyond))] if beyond.any() else path[-1]
    along = far - near if np.any(far != near) else path[-1] - path[0]
    return along / max(float(np.linalg.norm(along)), 1e-9)
