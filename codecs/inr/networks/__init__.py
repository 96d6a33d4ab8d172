"""Networks, how their sizes are solved, and the layers that they share."""
