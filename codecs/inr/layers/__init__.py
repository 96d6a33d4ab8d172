"""Building blocks of INR networks."""
