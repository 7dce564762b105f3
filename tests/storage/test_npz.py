"""Files that are damaged: read as they were, or one of UNREADABLE."""

import numpy as np

from storage import npz

ARRAYS = {"a": np.arange(12.0).reshape(3, 4), "b": np.array('{"step": 3}')}


def test_whatever_bit_is_flipped_a_file_is_read_right_or_refused(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", **ARRAYS)
    content, path, refused = (tmp_path / "whole.npz").read_bytes(), tmp_path / "flipped.npz", 0
    for bit in range(0, 8 * len(content), 11):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            npz.stand_ins(path)
            found = npz.read(path)
        except npz.UNREADABLE:
            refused += 1
            continue
        for name in ARRAYS.keys() & found.keys():  # a name has no checksum
            np.testing.assert_array_equal(found[name], ARRAYS[name])
    assert refused > len(content) / 4
