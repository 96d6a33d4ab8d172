"""The codecs that rdbench ships; `menu.py` lists them."""
