"""The contract of a codec as checks that any package can run: `pytest --rdbench-codec NAME`, or from Python.

    subject = Subject("x265", folder=tmp_path)
    outcomes = Outcomes(subject)
    for check in CHECKS:
        print(check.name, outcomes.of(check.name))  # None, a ContractError, or why it does not apply

`contract.py` has the checks of what a codec says of itself, `bitstreams.py` those of what it writes and reads,
`plugin.py` hands them to pytest. Nothing here is imported before a codec is checked.
"""
