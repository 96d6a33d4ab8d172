"""The ruler: quality of frames, and the Bjontegaard delta between curves."""
