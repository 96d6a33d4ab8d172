"""The published curves that rdbench ships, as CSV files; `README.md` beside them says what they are."""
