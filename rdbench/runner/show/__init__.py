"""What two codecs show at equal bits: records decoded again, frames and crops chosen, a figure or a part of a page."""
