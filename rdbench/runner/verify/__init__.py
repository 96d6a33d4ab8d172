"""`rdbench verify`: a folder of records, decoded and measured again."""
