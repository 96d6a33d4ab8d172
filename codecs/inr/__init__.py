"""What the INR codecs share."""
