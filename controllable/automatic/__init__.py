"""Automatic classifier guidance: the guidance, its calibration measurements and its gain."""
